"""`sweep.html`: what a sweep found, in one file beside its record."""

from __future__ import annotations

from pathlib import Path

from lineage.core.files import atomic_write
from lineage.log.sweep import SWEEP
from lineage.report.figures import sweep_interactions, sweep_scores, use_cache
from lineage.report.headline import COMMIT, banner, engine_words
from lineage.report.page import drawn, page, pictured, text, warned
from lineage.report.sheet import NOT_COMPUTED
from lineage.report.sweep import Sweep, sweep_results
from lineage.report.sweep_tables import sweep_about, sweep_answer, sweep_sheets

PAGE = "sweep.html"
PAGES = ("report.html", "training.html")
"""Of a point, which its number leads to."""
LEGEND = "A ring is round the best point. Bars are intervals; what has not finished is left out."


def write_sweep_report(folder: Path, cache: Path) -> Sweep:
    """Read the sweep in `folder`, write its page and return what it found.

    Matplotlib keeps its own files in `cache`. Raises LineageError where the sweep's record is none
    or is damaged.
    """
    sweep = sweep_results(folder)
    use_cache(cache)
    atomic_write(folder / PAGE, sweep_html(folder, sweep).encode())
    return sweep


def sweep_html(folder: Path, sweep: Sweep) -> str:
    """Return the page for the sweep in `folder`: self-contained, everything escaped."""
    first, *more = sweep_sheets(sweep)
    shown = pictured([sweep_scores(sweep), sweep_interactions(sweep)], "sweep")
    record = text((folder / SWEEP).read_text(encoding="utf-8"))
    return page(
        f"sweep {sweep.name}",
        warned(banner(sweep.engine, sweep.versions)),
        f'<p class="answer">{text(sweep_answer(sweep))}</p>',
        f"<p><small>{text(sweep_about(sweep))}</small></p>",
        f"<p>Engine: {text(engine_words(sweep.engine))}. {text(_origin(sweep))}</p>",
        _links(folder, sweep),
        drawn(first),
        f"{shown}<p><small>{text(LEGEND)}</small></p>" if shown else "",
        *map(drawn, more),
        f'<h2 id="record">The record</h2><details><summary>{SWEEP}</summary>'
        f"<pre>{record}</pre></details>",
    )


def _links(folder: Path, sweep: Sweep) -> str:
    """Return links to the pages of the points that have one."""
    found = [
        f'<a href="{text(one.point.folder)}/{name}">{text(one.point.folder)}</a>'
        for one in sweep.results
        for name in PAGES
        if (folder / one.point.folder / name).exists()
    ]
    return f"<nav>Pages of the points: {' '.join(found)}</nav>" if found else ""


def _origin(sweep: Sweep) -> str:
    origin = sweep.record.origin
    commit = str(origin.get("commit") or NOT_COMPUTED)[:COMMIT]
    if (dirty := origin.get("dirty")) is not None:
        commit += " (dirty)" if dirty else " (clean)"
    return f"Commit {commit}; command: {origin.get('command') or NOT_COMPUTED}"
