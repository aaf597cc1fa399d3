"""Finding the needed doc by words, by meaning and by both, in one run.

    python benchmarks/doc_ranking.py --worlds 20 --seed 0

Docs are ideal: each holds four facts of one world of a suite, as the suite words them. Each fact
is asked for twice: by a task of the suite, and in other words, which share few with the doc. Recall
is the share of questions whose needed doc is among the first 1 or 5, a mean over worlds with its
95% interval; the three rankings answer the same questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from lineage.compose import load_suite
from lineage.core.facts import truth_of
from lineage.core.intervals import SHARE, interval
from lineage.core.seeds import derive, rng
from lineage.core.tasks import World
from lineage.search import Entry, Library, make_ranker
from lineage.training.library import SHELF, title_of

SUITES = ("codebook", "warehouse")
RANKINGS = ("bm25", "dense", "hybrid")
DEPTHS = (1, 5)
OTHER_WORDS = {
    "code": "digits to key in for",
    "zone": "area or part of the site that holds",
    "key": "thing that unlocks",
    "pump": "machine that moves water,",
    "valve": "shut-off fitting",
}
"""By a word of a task what is said instead in its paraphrase."""


@dataclass(frozen=True)
class Question:
    """What is asked, in which words, and the ids of the docs that state what it needs."""

    text: str
    words: str
    docs: frozenset[str]


def shelf(world: World, seed: int) -> tuple[tuple[Entry, ...], list[Question]]:
    """Return docs of the facts that tasks of `world` ask for, and questions that need them."""
    tasks = [task for task in world.tasks if task.facts]
    draw = rng("doc_ranking", seed, world.id)
    tasks = draw.sample(tasks, len(tasks))
    shelves = [tasks[at : at + SHELF] for at in range(0, len(tasks), SHELF)]
    entries = []
    for number, its in enumerate(shelves, start=1):
        texts = dict.fromkeys(text for task in its for text in world.fact_texts(task.facts))
        entries.append(Entry(f"d{number}", title_of(its), "\n".join(texts)))
    truth = truth_of(world.facts)
    stated = {entry.id: truth.stated(f"{entry.title}\n{entry.body}") for entry in entries}
    questions = []
    for task in tasks:
        docs = frozenset(id for id, keys in stated.items() if set(task.facts) <= keys)
        if docs:
            questions.append(Question(task.prompt, "its own", docs))
            questions.append(Question(paraphrased(task.prompt), "others", docs))
    return tuple(entries), questions


def paraphrased(text: str) -> str:
    """Return `text` with the words of `OTHER_WORDS` said otherwise."""
    for word, other in OTHER_WORDS.items():
        text = text.replace(f" {word} ", f" {other} ")
    return text


Recalled = dict[tuple[str, str, int], dict[int, float]]
"""By ranking, words and depth: of each world the recall."""


def recalled(
    suite: str, worlds: int, seed: int, make: Callable[[str], Library]
) -> tuple[Recalled, dict[str, float], int]:
    """Return the recalls, the milliseconds of a search by ranking, and how many questions."""
    found: Recalled = {}
    seconds, asked = dict.fromkeys(RANKINGS, 0.0), 0
    made = load_suite(suite)
    libraries = {ranking: make(ranking) for ranking in RANKINGS}
    for number in track(range(worlds), f"{suite}: worlds", transient=True):
        entries, questions = shelf(made.world(derive("doc_ranking", seed, number), 0), seed)
        asked += len(questions)
        for ranking, library in libraries.items():
            library.search(entries, "warm", 1)  # embeds the docs
            began = time.perf_counter()
            hits = [[h.id for h in library.search(entries, q.text, max(DEPTHS))] for q in questions]
            seconds[ranking] += time.perf_counter() - began
            for words in ("its own", "others"):
                for depth in DEPTHS:
                    right = [
                        bool(question.docs & set(ids[:depth]))
                        for question, ids in zip(questions, hits, strict=True)
                        if question.words == words
                    ]
                    if right:
                        by_world = found.setdefault((ranking, words, depth), {})
                        by_world[number] = sum(right) / len(right)
    return found, {name: 1e3 * spent / max(asked, 1) for name, spent in seconds.items()}, asked


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the needed doc by words and by meaning.")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    args = parser.parse_args()
    console = Console(width=110)
    for suite in SUITES:
        found, spent, asked = recalled(
            suite,
            args.worlds,
            args.seed,
            lambda ranking: Library(make_ranker(ranking, None, args.cache)),
        )
        head = ("ranking", "asked in", *(f"recall@{depth}" for depth in DEPTHS), "ms a search")
        table = Table(*head, title=f"{suite}: {args.worlds} worlds, {asked} questions", box=None)
        for ranking in RANKINGS:
            for words in ("its own", "others"):
                cells = []
                for depth in DEPTHS:
                    its = interval(found[ranking, words, depth], 0.95, SHARE)
                    cells.append(f"{its.mean:.3f} [{its.low:.3f}, {its.high:.3f}]")
                table.add_row(ranking, f"{words} words", *cells, f"{spent[ranking]:.2f}")
        console.print(table)


if __name__ == "__main__":
    main()
