"""How many bad notes of a folder `lineage advise` finds, where it is known which are bad.

    python benchmarks/receipt.py                           the stand-in: says nothing of a model
    python benchmarks/receipt.py --folder planted engine=vllm

Makes a folder of 40 memories and 12 docs, and 60 tasks, from the facts of a codebook world. Planted
among them are stale memories (an old value beside the true one, before or after it), wrong ones
(a false value that nothing contradicts), useless ones (about what no task asks), a doc that is
wrong and one that is useless. Then it calls `lineage advise`, and compares what the receipt would
drop or revise with what was planted: precision (of what it says, how much was planted) and recall
(of what was planted, how much it says), each with its counts.

With 60 tasks and defaults about 2,800 completions are asked at most, of which 60 per memory that a
task is about; at 3.5 a second that is 14 minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from lineage.compose import load_suite
from lineage.core.seeds import rng
from lineage.core.tasks import Fact

MEMORIES, DOCS, IN_A_DOC, TASKS = 40, 12, 3, 60
STALE, WRONG, USELESS = 5, 5, 5
WORLD = ("suite.kinds=8", "suite.machines_per_kind=6")
NAME = "receipt"
"""Of the run: what was stopped goes on by the same command."""
GOOD = "good"
KINDS = ("stale", "wrong", "useless")


@dataclass(frozen=True)
class Planted:
    """What was planted: the kind of each memory by its text, and of each doc by its title."""

    memories: Mapping[str, str]
    docs: Mapping[str, str]

    def of(self, entry: Mapping[str, Any]) -> str:
        """Return what kind the `entry` of a receipt is of."""
        known = self.docs if entry["kind"] == "doc" else self.memories
        return known[entry["text"]]


def plant(folder: Path, tasks: Path, seed: int) -> Planted:
    """Write the folder and the file of tasks, which follow from `seed`; return what is planted."""
    draw = rng("receipt", seed)
    suite = load_suite("codebook", *WORLD)
    world = suite.world(seed, 0)
    asked = {task.facts[0]: task for task in world.tasks}
    true = MEMORIES - STALE - WRONG - USELESS
    shelves = DOCS - 1
    count = true + WRONG + shelves * IN_A_DOC + USELESS + IN_A_DOC
    facts = draw.sample(world.facts, count)

    def take(number: int) -> list[Fact]:
        return [facts.pop() for _ in range(number)]

    right, false, idle = take(true), take(WRONG), take(USELESS)
    shelved = [take(IN_A_DOC) for _ in range(DOCS)]
    notes = [(fact.text, GOOD) for fact in right]
    for fact in right[:STALE]:
        # Before or after the true one: which of them a model believes may hang on that.
        notes.insert(draw.randrange(len(notes) + 1), (_other(fact, world.facts, draw), "stale"))
    notes += [(_other(fact, world.facts, draw), "wrong") for fact in false]
    notes += [(fact.text, "useless") for fact in idle]
    bad = notes[true + STALE :]
    for one in bad:
        notes.remove(one)
        notes.insert(draw.randrange(len(notes) + 1), one)
    docs = {}
    for number, its in enumerate(shelved):
        kind = "wrong" if number == 0 else "useless" if number == DOCS - 1 else GOOD
        lines = [_other(f, world.facts, draw) if kind == "wrong" else f.text for f in its]
        title = f"Sheet {number + 1}: " + ", ".join(f.key.partition("/")[2] for f in its)
        docs[title] = kind
        write(folder / f"sheet-{number + 1:02d}.md", f"# {title}\n\n" + "\n".join(lines) + "\n")
    write(folder / "MEMORY.md", "".join(f"- {text}\n" for text, _ in notes))
    wanted = [*right, *false]
    # Docs share what is left of the tasks evenly: of some, a line is asked by none.
    in_turn = [shelf[line] for line in range(IN_A_DOC) for shelf in shelved[: DOCS - 1]]
    wanted += in_turn[: TASKS - len(wanted)]
    rows = [{"prompt": asked[f.key].prompt, "answer": asked[f.key].answer} for f in wanted]
    write(tasks, "".join(json.dumps(row) + "\n" for row in rows))
    return Planted(dict(notes), docs)


def compare(receipt: Mapping[str, Any], planted: Planted) -> dict[str, Any]:
    """Return counts by kind, and precision and recall of what `receipt` would drop or revise."""
    kinds: dict[str, dict[str, int]] = {}
    for entry in receipt["entries"]:
        row = kinds.setdefault(planted.of(entry), {"keep": 0, "revise": 0, "drop": 0})
        row[entry["advice"]] += 1
    told = {kind: row["revise"] + row["drop"] for kind, row in kinds.items()}
    found = sum(told.get(kind, 0) for kind in KINDS)
    every = sum(sum(kinds.get(kind, {}).values()) for kind in KINDS)
    said = sum(told.values())
    return {
        "by_kind": kinds,
        "found": found,
        "said": said,
        "planted": every,
        "precision": found / said if said else None,
        "recall": found / every if every else None,
    }


def write(file: Path, text: str) -> None:
    """Write `text`, and the folder that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _other(fact: Fact, facts: Sequence[Fact], draw: Random) -> str:
    """Return the sentence of `fact` with the value of another fact of its kind."""
    attribute = fact.key.partition("/")[0]
    values = {one.value for one in facts if one.key.partition("/")[0] == attribute}
    value = draw.choice(sorted(values - {fact.value}))
    return fact.text.replace(f"is {fact.value}.", f"is {value}.")


def main() -> None:
    """Plant, ask for the receipt, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="for the notes; default: one that goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="old", default="smollm2-135m@r0")
    parser.add_argument("--to", dest="new", default="smollm2-135m@r1")
    parser.add_argument("overrides", nargs="*", default=[], help="of conf/, engine=surrogate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.folder or Path(temporary)
        notes, tasks = place / "notes", place / "tasks.jsonl"
        planted = plant(notes, tasks, options.seed)
        words = ["--tasks", str(tasks), "--from", options.old, "--to", options.new]
        words += [f"run.root={place / 'runs'}", f"run.name={NAME}", *options.overrides]
        if not any(one.startswith("engine=") for one in options.overrides):
            words.append("engine=surrogate")
        subprocess.run([sys.executable, "-m", "lineage", "advise", str(notes), *words], check=True)
        receipt = json.loads((place / "runs" / NAME / "receipt.json").read_text("utf-8"))
    found = compare(receipt, planted)
    if options.folder:
        write(options.folder / "planted.json", json.dumps(found, indent=1) + "\n")
    show(receipt, found)


def show(receipt: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Print what was found."""
    console = Console()
    console.print(receipt["verdict"]["sentence"], highlight=False, markup=False)
    table = Table("planted as", "keep", "revise", "drop")
    for kind in (GOOD, *KINDS):
        row = found["by_kind"].get(kind, {})
        table.add_row(kind, *(str(row.get(word, 0)) for word in ("keep", "revise", "drop")))
    console.print(table)
    figures = {name: found[name] for name in ("precision", "recall")}
    shown = {name: "n/a" if one is None else f"{one:.2f}" for name, one in figures.items()}
    console.print(
        f"precision {shown['precision']} ({found['found']} of {found['said']}), recall "
        f"{shown['recall']} ({found['found']} of {found['planted']}); engine {receipt['engine']}; "
        f"{receipt['cost']['completions']:,} completions in {receipt['cost']['seconds']:,.0f} s",
        highlight=False,
    )


if __name__ == "__main__":
    main()
