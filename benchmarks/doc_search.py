"""Finding one doc among many: lineage's BM25 beside a scan in DuckDB, in one run.

    python benchmarks/doc_search.py --docs 100000 --queries 1000 --seed 0

Each doc holds five facts of one world of the codebook suite. All worlds draw their machines from
the same names; only a site ("Harbour 4711") tells them apart, and its number is some machine's
code elsewhere. A question asks for one fact and needs one doc. Its words can hardly tell that doc
from the one with another fact of the same machine, so recall@1 stays far from 1. DuckDB counts
the words of the question in each doc, and answers the first few questions only; those are put to
both in turn.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import duckdb
import psutil
import pyarrow as pa
from ratios import Measured, Setup
from rich.console import Console
from rich.table import Table

from lineage.compose import load_suite
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Fact
from lineage.search import Entry, make_ranker
from lineage.search.bm25 import BOOSTS

FACTS_PER_DOC, SHOWN, ADDED, SCANNED = 5, 5, 100, 20
PLACES = ("Harbour", "Quarry", "Depot", "Mill", "Foundry", "Yard", "Works", "Plant")
SITES = [f"{place} {number}" for place in PLACES for number in range(1000, 10_000)]

Search = Callable[[str], list[str]]


@dataclass(frozen=True)
class Question:
    """A question and the id of the one doc that answers it."""

    text: str
    doc: str


@dataclass(frozen=True)
class Shelved:
    """A doc, and a question for each of its facts."""

    entry: Entry
    questions: tuple[Question, ...]


def shelf(seed: int) -> Iterator[Shelved]:
    """Yield docs, world by world, as long as there are sites: some 700,000."""
    draw, suite, numbers = rng("doc_search", seed), load_suite("codebook"), count(1)
    for at, site in enumerate(draw.sample(SITES, len(SITES))):
        world = suite.world(derive("doc_search", seed, at), 0)
        facts = draw.sample(world.facts, len(world.facts))
        for start in range(0, len(facts), FACTS_PER_DOC):
            yield doc(f"d{next(numbers)}", site, facts[start : start + FACTS_PER_DOC])


def doc(id: str, site: str, facts: list[Fact]) -> Shelved:
    """Return the doc of `facts`, titled by its machines."""
    keys = [fact.key.split("/") for fact in facts]
    machines = dict.fromkeys(machine for _, machine in keys)
    body = "\n".join((f"Site {site}.", *(fact.text for fact in facts)))
    questions = (f"What is the {what} of {machine} at site {site}?" for what, machine in keys)
    return Shelved(
        Entry(id, ", ".join(machines), body), tuple(Question(text, id) for text in questions)
    )


def scan(entries: list[Entry]) -> Search:
    """Return a search by DuckDB: the words of the question counted in each title and body."""
    connection = duckdb.connect()
    rows = {name: [getattr(entry, name) for entry in entries] for name in ("id", "title", "body")}
    connection.register("given", pa.table(rows))
    connection.execute("CREATE TABLE docs AS SELECT * FROM given")

    def search(query: str) -> list[str]:
        words = dict.fromkeys(re.findall(r"\w+", query.lower()))
        parts = [
            (f"{boost} * ({field} ILIKE ?)::INT", f"%{word}%")
            for word in words
            for field, boost in BOOSTS.items()
        ]
        sql = f"SELECT id FROM docs ORDER BY {' + '.join(part for part, _ in parts)} DESC, id"
        found = connection.execute(f"{sql} LIMIT {SHOWN}", [word for _, word in parts])
        return [id for (id,) in found.fetchall()]

    return search


@dataclass(frozen=True)
class Answers:
    """Seconds of each search, and the rank of its needed doc (None: not among those shown)."""

    seconds: tuple[float, ...]
    ranks: tuple[int | None, ...]

    def recall(self, at: int) -> float:
        """Return the share of searches whose needed doc is among the first `at`."""
        return sum(rank is not None and rank <= at for rank in self.ranks) / len(self.ranks)

    def rows(self) -> list[str]:
        """Return the measures as text; times in ms, the reciprocal rank of a miss as 0."""
        ms = sorted(second * 1e3 for second in self.seconds)
        reciprocal = statistics.mean(1 / rank if rank else 0.0 for rank in self.ranks)
        return [
            f"{len(ms):,}",
            f"{len(ms) / sum(self.seconds):,.0f}",
            f"{statistics.median(ms):.2f}",
            f"{ms[int(0.99 * (len(ms) - 1))]:.2f}",
            f"{self.recall(1):.3f}",
            f"{self.recall(SHOWN):.3f}",
            f"{reciprocal:.3f}",
        ]


def ask(questions: list[Question], *searches: Search) -> list[Answers]:
    """Put each question to each of `searches` in turn."""
    answers: list[list[tuple[float, int | None]]] = [[] for _ in searches]
    for question in questions:
        for search, given in zip(searches, answers, strict=True):
            began = time.perf_counter()
            found = search(question.text)
            seconds = time.perf_counter() - began
            rank = found.index(question.doc) + 1 if question.doc in found else None
            given.append((seconds, rank))
    return [Answers(*zip(*given, strict=True)) for given in answers]


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure one search beside DuckDB's scan: milliseconds for the same questions, in turn."""
    docs, draw = setup.size(100_000, 1_000), rng("doc_search", 0, "questions")
    setup.tick(f"{docs:,} docs")
    shelved = list(islice(shelf(0), docs))
    entries = [each.entry for each in shelved]
    ranker = make_ranker("bm25")
    ranker.put(entries)

    def search(query: str) -> list[str]:
        return [hit.id for hit in ranker.search(query, SHOWN)]

    questions = [draw.choice(draw.choice(shelved).questions) for _ in range(SCANNED + 1)]
    setup.tick(f"{SCANNED} questions")
    ours, theirs = ask(questions, search, scan(entries))
    recall = {"docs": float(docs), f"recall@{SHOWN}": ours.recall(SHOWN)}
    # The first question warms both up.
    above, below = (tuple(1e3 * one for one in each.seconds[1:]) for each in (ours, theirs))
    return {"doc-search": Measured(above, below, recall)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Find one doc among many.")
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    supply = shelf(args.seed)
    shelved = list(islice(supply, args.docs))
    entries = [each.entry for each in shelved]
    draw = rng("doc_search", args.seed, "questions")
    questions = [draw.choice(draw.choice(shelved).questions) for _ in range(args.queries)]
    ranker, process = make_ranker("bm25"), psutil.Process()

    def search(query: str) -> list[str]:
        return [hit.id for hit in ranker.search(query, SHOWN)]

    memory, began = process.memory_info().rss, time.perf_counter()
    ranker.put(entries)
    search(questions[0].text)
    built, grown = time.perf_counter() - began, process.memory_info().rss - memory
    began = time.perf_counter()
    scanned = scan(entries)
    copied = time.perf_counter() - began

    (alone,) = ask(questions, search)
    ours, theirs = ask(questions[:SCANNED], search, scanned)

    new = [each.entry for each in islice(supply, ADDED)]
    began = time.perf_counter()
    ranker.put(new)
    search(questions[0].text)
    added = time.perf_counter() - began

    names = ("queries", "a second", "median ms", "99% ms", "recall@1", f"recall@{SHOWN}", "MRR")
    table = Table(f"{args.docs:,} docs", *names, box=None)
    table.add_row("lineage", *alone.rows())
    table.add_row("lineage, in turn", *ours.rows())
    table.add_row("DuckDB scan, in turn", *theirs.rows())
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True))
    console = Console(width=100)
    console.print(table)
    console.print(f"one search: DuckDB / lineage = {ratio:,.0f} (median over the same questions)")
    console.print(f"build: {built:.2f} s, {grown / 2**20:,.0f} MiB (DuckDB's copy: {copied:.2f} s)")
    console.print(f"{ADDED} docs more, and a search: {added * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
