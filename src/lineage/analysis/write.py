"""What stands in a run folder beside the log: metrics.json, the figure, report.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineage.analysis.figure import score_figure
from lineage.analysis.measures import summarise
from lineage.analysis.report import report_html
from lineage.files import atomic_write


def write_report(run: Path, cache: Path) -> dict[str, Any]:
    """Compute the metrics of `run`, write them, the figure and the report; return the metrics.

    Raises LineageError where the run cannot be read.
    """
    summary = summarise(run)
    atomic_write(run / "metrics.json", json.dumps(summary, indent=1).encode())
    svg = score_figure(summary, cache, "svg")
    atomic_write(run / "scores.png", score_figure(summary, cache, "png"))
    atomic_write(run / "scores.svg", svg)
    atomic_write(run / "report.html", report_html(run, summary, svg).encode())
    return summary
