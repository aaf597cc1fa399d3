"""The report of a sweep, as `lineage report` writes and shows it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from lineage import compose
from lineage.core.errors import LineageError
from lineage.core.text import one_line
from lineage.report.terminal import show_banner, show_sheet


def report_sweep(folder: Path, console: Console, where: str) -> None:
    """Write the page of the sweep in `folder`, known as `where`, and show its tables."""
    from lineage.report.sweep_page import PAGE, write_sweep_report
    from lineage.report.sweep_tables import sweep_about, sweep_answer, sweep_sheets

    sweep = write_sweep_report(folder, _cache(folder))
    show_banner(sweep.engine, sweep.versions, console)
    console.print(Text(one_line(sweep_answer(sweep))), style="bold", highlight=False)
    console.print(Text(one_line(sweep_about(sweep))), style="dim", highlight=False)
    for sheet in sweep_sheets(sweep, more=False):
        show_sheet(sheet, console)
    console.print(f"{where}/{PAGE}", highlight=False, markup=False)


def _cache(folder: Path) -> Path:
    """Return where the sweep's points keep what can be made again, or else where conf says."""
    from lineage.runs.folder import at_home

    for file in sorted(folder.glob("*/config.yaml")):
        try:
            return Path(at_home(compose.load_file(file), file.parent).run.cache_folder)
        except (LineageError, OSError):
            continue
    return Path(compose.shipped_run().cache_folder)
