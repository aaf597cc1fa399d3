"""Run the published experiments, and make the tables of the documentation from what they left.

    python jobs/results.py                          whatever of them is not there yet
    python jobs/results.py --only arms --again      one of them, again
    python jobs/results.py --from runs/latest       from a run that is there, without an engine
    python jobs/results.py --write                  only the marked blocks of README.md and docs/
    python jobs/results.py --out /tmp/tables engine=surrogate experiment.lineages=4

Each experiment is a `lineage run` of its own, one after another: an engine starves beside other
work. A run that is finished under the same configuration is not run again. Each table is a file in
docs/results/; the figures of the stand-in are never written there.
"""

from __future__ import annotations

import argparse
import io
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lineage import compose
from lineage.core.errors import LineageError, nearest
from lineage.core.files import atomic_write, behind
from lineage.inspect.folders import listing
from lineage.inspect.listing import FINISHED
from lineage.log.views.connect import read_record
from lineage.log.views.settings import read_settings
from lineage.metrics import summarise
from lineage.report.figures import picture_bytes, score_by_generation
from lineage.report.publish.published import BY_NAME, EXPERIMENTS, TABLES
from lineage.report.publish.publishing import DEFAULT, fill
from lineage.report.publish.tablefile import command, read_tables, stored, to_json
from lineage.report.run_text import show_summary
from lineage.runs.origin import origin

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "results"
"""Where the published tables are."""
PICTURE = ROOT / "docs" / f"{DEFAULT}.png"
PUBLISHED_ENGINE = "vllm"
COLUMNS = 80
"""Of the terminal that the documentation shows."""


def main() -> None:
    options = _options()
    try:
        _work(options)
    except LineageError as error:
        sys.exit(f"results: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="default: %(default)s")
    parser.add_argument("--again", action="store_true", help="also what is finished already")
    parser.add_argument("--from", dest="runs", nargs="+", type=Path, metavar="RUN", default=())
    parser.add_argument("--write", action="store_true", help="only the blocks of the documentation")
    parser.add_argument("--out", type=Path, default=DOCS, help="another folder for the tables")
    options = parser.parse_args()
    options.out = options.out.resolve()
    return options


def _work(options: argparse.Namespace) -> None:
    if options.runs:
        for run in options.runs:
            collect(run, options.out)
    elif not options.write:
        chosen = options.only.split(",")
        for experiment in chosen:
            _check(experiment, options.overrides, options.out)
        for experiment in chosen:
            collect(_made(experiment, options.overrides, options.again), options.out)
    if options.out == DOCS:
        write(ROOT, DOCS)


def _check(experiment: str, overrides: Sequence[str], out: Path) -> None:
    """Raise LineageError where a run of `experiment` could not be published in `out`."""
    if experiment not in EXPERIMENTS:
        raise LineageError(
            f"no published experiment is named {experiment!r}{nearest(experiment, EXPERIMENTS)}"
        )
    _check_engine(compose.load([*BY_NAME[experiment].overrides, *overrides]).engine.kind, out)


def _check_engine(kind: str, out: Path) -> None:
    if out == DOCS and kind != PUBLISHED_ENGINE:
        raise LineageError(
            f"only figures of engine {PUBLISHED_ENGINE!r} are published, not of {kind!r}: choose "
            "another folder with --out"
        )


def _made(experiment: str, overrides: Sequence[str], again: bool) -> Path:
    """Return the folder of a finished run of `experiment`, which is run unless it is there."""
    words = [*BY_NAME[experiment].overrides, *overrides]
    config = compose.load(words)
    root, wanted = Path(config.run.root), compose.config_hash(config)
    found = None if again else _finished(root, wanted)
    if found is None:
        print(f"results: lineage run {shlex.join(words)}", flush=True)
        done = subprocess.run([sys.executable, "-m", "lineage", "run", *words], check=False)
        found = _finished(root, wanted)
        if done.returncode or found is None:
            raise LineageError(
                f"{experiment} did not finish: lineage resume goes on with it, then give its "
                "folder to --from"
            )
    print(f"results: {experiment} from {found}", flush=True)
    return found


def _finished(root: Path, config_hash: str) -> Path | None:
    """Return the newest run below `root` of a configuration that is finished."""
    runs = listing(root) if root.is_dir() else []
    folders = (root / one.folder for one in runs if one.state == FINISHED and one.kind == "run")
    return next((f for f in folders if read_record(f)["config_hash"] == config_hash), None)


def collect(run: Path, out: Path) -> None:
    """Write the tables of `run` to `out`; raises LineageError where they are not for there."""
    run = behind(run)
    record, engine = read_record(run), str(read_settings(run).get("engine.kind"))
    _check_engine(engine, out)
    tables = [table for table in TABLES if table.experiment == record["experiment"]]
    if not tables:
        raise LineageError(
            f"{run} is of experiment {record['experiment']!r}, which is not published: "
            f"TABLES in lineage.report.publish.published has {', '.join(EXPERIMENTS)}"
        )
    state = next(one.state for one in listing(run))
    if state != FINISHED:
        raise LineageError(f"{run} is {state}: finish it with lineage resume {run}")
    summary, computed = summarise(run), origin()
    for table in tables:
        output = printed(summary) if table.name == DEFAULT else ()
        made = stored(table, summary, record, engine, computed, output)
        if made["rows"]:
            atomic_write(out / f"{table.name}.json", to_json(made).encode())
        else:
            print(f"results: {run} has no figures for table {table.name}")
    if record["experiment"] == DEFAULT:
        picture = PICTURE if out == DOCS else out / PICTURE.name
        scores = score_by_generation(summary)
        if scores is not None:
            atomic_write(picture, picture_bytes(scores, "png"))
    print(f"results: {len(tables)} tables of {record['experiment']} in {out}")


def printed(summary: dict[str, Any]) -> list[str]:
    """Return the lines that `lineage run` ends with, in a terminal of the usual width."""
    if source := summary.get("origin"):
        # A page holds no path of the machine that it was made on.
        cleaned = {"command": command(source.get("command") or "")}
        summary = {**summary, "origin": {**source, **cleaned}}
    console = Console(file=io.StringIO(), width=COLUMNS, force_terminal=False, color_system=None)
    show_summary(summary, console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def write(root: Path, tables: Path) -> None:
    """Fill the marked blocks of the documentation below `root` from the files in `tables`."""
    records = read_tables(tables, tuple(BY_NAME))
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        filled = fill(text, BY_NAME, records)
        if filled != text:
            atomic_write(page, filled.encode())
            print(f"results: {page.relative_to(root)} is made again")


if __name__ == "__main__":
    main()
