"""`lineage simulate`: very many lineages of the surrogate, without text, as Parquet."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.commands.flags import with_folder
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.text import one_line, say, unfolded
from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    import duckdb

EXAMPLES = """\
examples:
  lineage simulate agent.docs=false --to sim --lineages 100000       arm inherit of an experiment
  lineage simulate agent.docs=false suite.drift=0.1 --to drift       any key that has such a form
  lineage simulate agent.docs=false engine=calibrated --config-dir mine --to mine/sim
                                                                     with skills fitted to a run
"""
SCORES = ("work", "same", "similar", "dissimilar")
MEANS = """\
SELECT generation, any_value(version) AS version, count(*) AS n, {means}
FROM read_parquet('{folder}/*.parquet') GROUP BY generation ORDER BY generation
"""
WIDE = 1.96
"""Standard errors on either side: there are thousands of lineages."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "simulate very many lineages of the surrogate, without text"
    parser = add_command(commands, "simulate", what, EXAMPLES)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="where the Parquet files go"
    )
    parser.add_argument(
        "--lineages", type=int, default=10_000, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "-cd", "--config-dir", metavar="DIR", help="a conf folder of your own, beside conf/"
    )
    parser.set_defaults(command=_simulate, more=())


def _simulate(options: argparse.Namespace, console: Console) -> None:
    # Arrow and DuckDB take a moment to load, which `lineage --help` need not wait for.
    from lineage import compose
    from lineage.log.views.open import new_connection
    from lineage.surrogate import chunks
    from lineage.surrogate.setting import Setting

    for name in ("lineages", "workers"):
        if getattr(options, name) < 1:
            raise LineageError(f"--{name} is {getattr(options, name)}: it must be 1 or more")
    overrides = with_folder([*options.overrides, *options.more], options.config_dir)
    own_engine = any(text.startswith("engine=") for text in overrides)
    config = compose.load(overrides if own_engine else ["engine=surrogate", *overrides])
    versions = tuple(dict.fromkeys(config.schedule.versions))
    setting = Setting.of(config)
    sweep = chunks.Sweep(setting, versions, options.lineages, config.experiment.seed)
    begun, done = time.monotonic(), 0
    with busy(console, f"simulating {options.lineages} lineages"):
        for count in chunks.run(sweep, options.to, options.workers):
            done += count
    seconds = time.monotonic() - begun
    unfolded(console)
    log = new_connection()
    say(console, Text(one_line(_answer(log, options.to, done, seconds)), "bold"))
    show_sheet(_sheet(log, options.to), console)
    say(console, f"rows: {options.to}/*.parquet")


def _answer(log: duckdb.DuckDBPyConnection, folder: Path, done: int, seconds: float) -> str:
    *_, last = log.execute(_sql(folder)).fetchall()
    same = NOT_COMPUTED if last[5] is None else f"{last[5]:.3f}"
    return (
        f"After {last[0] + 1} generations {last[2]} lineages of the surrogate score {same} on same "
        f"tasks; {done} of them were simulated now, in {seconds:.1f} s. No language model was "
        "asked."
    )


def _sql(folder: Path) -> str:
    names = [*SCORES, "memories", "stated", "memory_tokens"]
    # A score that nothing was probed for is NaN, which DuckDB would make the mean of.
    known = [f'"{name}"::DOUBLE' for name in names]
    means = ", ".join(
        f"{figure}({one}) FILTER (NOT isnan({one}))"
        for one in known
        for figure in ("avg", "stddev_samp")
    )
    return MEANS.format(means=means, folder=str(folder).replace("'", "''"))


def _sheet(log: duckdb.DuckDBPyConnection, folder: Path) -> Sheet:
    rows = []
    for generation, version, count, *found in log.execute(_sql(folder)).fetchall():
        cells = []
        for mean, spread in zip(found[::2], found[1::2], strict=True):
            half = WIDE * (spread or 0.0) / count**0.5
            cells.append(bounds(_cell(mean, half) if mean is not None else None))
        rows.append((str(generation), version, *cells))
    head = ("generation", "version", *SCORES, "notes", "of them true", "tokens")
    note = "means over lineages [95% interval]; arm inherit of the surrogate; cold scores 0"
    return Sheet("simulated", head, tuple(rows), note, left=2)


def _cell(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}
