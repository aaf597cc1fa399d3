"""How long do ten million steps take to read, in how much memory, and what is compacting worth?

    python benchmarks/log_queries.py [--steps N] [--root FOLDER]

A run of the surrogate is written again and again as other pairs of one large run, by the writer's
own calls: same files, records and folders, a third file for every generation. In each copy the
digits of texts and ids are exchanged, so that codes, prompts and ids differ from copy to copy. Then
every query is a process of its own, which opens the log, asks, and says how long that took and the
most memory that it held. First over the files as they were written, then over compacted ones; the
metrics only over these, for each of their queries would open every file again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from ratios import Measured, Setup, in_turn, peak_memory
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lineage
from lineage import compose
from lineage.core.files import atomic_write
from lineage.core.seeds import rng
from lineage.log.compaction import compact, size
from lineage.log.place import Place
from lineage.log.reader import Record, read_records, rows_of
from lineage.log.writer import write_generation
from lineage.metrics import METRICS, summarise
from lineage.runs.run import execute

OF_STEP = (
    *("step_id", "world", "task", "prompt", "completion", "answer"),
    *("knowledge_before", "knowledge_after"),
)
EXCHANGED = {
    "worlds": ("world", "value", "text"),
    "knowledge": ("knowledge", "parent"),
    "steps": OF_STEP,
}
"""The columns whose digits are exchanged. Not the JSON of snapshots: 07 is no number there."""
GIB = 2**30


def template(root: Path) -> Path:
    """Run the surrogate: five pairs, five generations, three arms, many probes."""
    probes = {"same": 240, "similar": 240, "dissimilar": 120}
    versions = ",".join(f"smollm2-135m@r{number}" for number in (0, 0, 1, 1, 1))
    config = compose.load(
        [
            *("engine=surrogate", "experiment.lineages=5", "experiment.episodes=12"),
            *("suite.machines_per_kind=12", "experiment.revisit=0.3"),
            *(f"experiment.probes.{family}={number}" for family, number in probes.items()),
            *(f"schedule.versions=[{versions}]", f"run.root={root}", f"run.cache={root / 'cache'}"),
        ]
    )
    execute(config, root / "template", Console(quiet=True))
    return root / "template"


def generations(run: Path) -> list[tuple[Record, dict[str, pa.Table]]]:
    """Return every generation of `run` with its rows by dataset."""
    return [
        (one, {name: rows_of(run, name, one.place) for name in EXCHANGED})
        for one in read_records(run)
    ]


def exchange(digits: bytes) -> bytes:
    """Return the table for bytes.translate that puts `digits` for 0 to 9."""
    return bytes.maketrans(b"0123456789", digits)


def other(table: pa.Table, name: str, place: Place, digits: bytes) -> pa.Table:
    """Return `table` as rows of `place`, other digits in its texts."""
    for at, field in enumerate(table.schema):
        if field.name == "pair":
            column = pa.array([place.pair] * table.num_rows, field.type)
        elif field.name == "lineage":
            column = pa.array([place.lineage] * table.num_rows, field.type)
        elif field.name in EXCHANGED[name]:
            column = pa.chunked_array([exchanged(c, digits) for c in table[at].chunks], field.type)
        else:
            continue
        table = table.set_column(at, field, column)
    return table


def exchanged(texts: pa.Array, digits: bytes) -> pa.Array:
    """Return `texts` with other digits: all their bytes at once."""
    valid, offsets, data = texts.buffers()
    changed = pa.py_buffer(data.to_pybytes().translate(digits)) if data else data
    return pa.Array.from_buffers(texts.type, len(texts), [valid, offsets, changed])


def write(target: Path, source: Path, wanted: int, console: Console) -> int:
    """Write copies of `source` to `target` until there are `wanted` steps; return how many."""
    made = generations(source)
    pairs = 1 + max(record.place.pair for record, _ in made)
    each = sum(record.steps for record, _ in made)
    copies = -(-wanted // each)
    for name in ("run.json", "config.yaml"):
        atomic_write(target / name, (source / name).read_bytes())
    for copy in track(range(copies), "writing", console=console, transient=True):
        order = rng("log_queries", copy).sample(range(10), 10) if copy else range(10)
        digits = exchange("".join(map(str, order)).encode())
        for record, tables in made:
            place, pair = record.place, copy * pairs + record.place.pair
            here = Place(place.arm, pair, f"{pair:05d}-{place.arm}", place.generation)
            rows = {name: other(table, name, here, digits) for name, table in tables.items()}
            left = record.knowledge.encode().translate(digits).decode()
            write_generation(target, here, rows, left, config_hash="")
    return copies * each


def history(run: Path) -> str:
    log = lineage.open(run)
    found = log.sql(
        "SELECT * FROM steps WHERE lineage = ? ORDER BY generation, episode, step",
        params=[f"{count_pairs(run) // 2:05d}-inherit"],
    ).to_arrow_table()
    return f"{found.num_rows:,} steps"


def full_text(run: Path) -> str:
    log = lineage.open(run)
    (found, lineages) = log.execute(
        "SELECT count(*), count(DISTINCT lineage) FROM steps "
        "WHERE prompt ILIKE '%zone of pump%' AND prompt ILIKE '%crane Birch%'"
    ).fetchone() or (0, 0)
    return f"{found:,} prompts of {lineages:,} lineages"


def scores(run: Path) -> str:
    log = lineage.open(run)
    found = log.execute("SELECT arm, family, avg(score) FROM probes GROUP BY ALL").fetchall()
    return f"{len(found)} means"


def metrics(run: Path) -> str:
    found = summarise(run)
    (totals,) = found["metrics"]["totals"]
    return f"{len(METRICS)} metrics, {totals['steps']:,} steps"


def count_pairs(run: Path) -> int:
    return 1 + max(int(file.name[:5]) for file in (run / "done").iterdir())


ONCE = "all metrics of the run"
QUERIES = {
    "one lineage's history": history,
    "mean score by arm and family": scores,
    "full text over prompts": full_text,
    ONCE: metrics,
}


def ask(name: str, run: Path) -> None:
    """Answer one query, in a process of its own; print what came of it as JSON."""
    began = time.perf_counter()
    found = QUERIES[name](run)
    seconds = time.perf_counter() - began
    print(json.dumps({"found": found, "seconds": seconds, "memory": peak_memory()}))


def asked(name: str, run: Path) -> dict[str, Any]:
    """Let another process answer; what it says."""
    done = subprocess.run(
        [sys.executable, __file__, "--ask", name, "--root", str(run)],
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


RATIO = {
    "one lineage's history": "query-history",
    "mean score by arm and family": "query-scores",
    "full text over prompts": "query-text",
}
"""By query the name of the ratio: its seconds over a compacted log and over one as written."""


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure what compacting a log is worth to each query: seconds in the process that asks."""
    with tempfile.TemporaryDirectory(prefix="lineage-log-") as name:
        written, compacted = Path(name) / "written", Path(name) / "compacted"
        setup.tick("writing")
        quiet = Console(quiet=True)
        steps = write(written, template(Path(name)), setup.size(1_000_000, 1), quiet)
        shutil.copytree(written, compacted)
        setup.tick("compacting")
        compact(compacted)
        sizes = {
            "steps": float(steps),
            "files": float(size(written).files),
            "files, compacted": float(size(compacted).files),
        }
        found = {}
        for query, ratio in RATIO.items():
            times = (partial(seconds, query, run) for run in (compacted, written))
            found[ratio] = Measured(*in_turn(*times, setup), sizes)
    return found


def seconds(query: str, run: Path) -> float:
    """Return how long another process takes to answer."""
    return float(asked(query, run)["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write and read a large log.")
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--root", type=Path, help="where; default: a folder that goes afterwards")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        ask(args.ask, args.root)
        return
    root = args.root or Path(tempfile.mkdtemp(prefix="lineage-log-"))
    try:
        measure(root, args.steps)
    finally:
        if not args.root:
            shutil.rmtree(root, ignore_errors=True)


def measure(root: Path, steps: int) -> None:
    console = Console(width=100)
    run = root / "large"
    began = time.perf_counter()
    if not run.exists():
        written = write(run, template(root), steps, console)
        console.print(f"{written:,} steps written in {time.perf_counter() - began:,.0f} s")
    rows = {name: [asked(name, run)] for name in QUERIES if name != ONCE}
    before, began = size(run), time.perf_counter()
    compact(run, lambda files: track(files, "compacting", console=console, transient=True))
    after = size(run)
    console.print(
        f"compacted in {time.perf_counter() - began:,.0f} s: {before.files:,} files of "
        f"{before.bytes / GIB:.2f} GiB are now {after.files:,} of {after.bytes / GIB:.2f} GiB"
    )
    table = Table("query", "found", "seconds as written", "compacted", "peak GiB", box=None)
    for name in QUERIES:
        answers = [*rows.get(name, []), asked(name, run)]
        found = {answer["found"] for answer in answers}
        assert len(found) == 1, (name, found)
        seconds = [f"{answer['seconds']:,.1f}" for answer in answers]
        memory = max(answer["memory"] for answer in answers) / GIB
        table.add_row(name, *found, *([""] * (2 - len(seconds))), *seconds, f"{memory:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
