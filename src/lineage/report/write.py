"""What stands in a run folder beside the log: metrics.json, a picture, report.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineage.core.files import atomic_write
from lineage.log.views.connect import read_record
from lineage.log.views.gathering import gathered
from lineage.metrics import summarise_all
from lineage.report.figures import picture_bytes, score_by_generation, use_cache
from lineage.report.run_page import report_html


def write_report(run: Path, cache: Path) -> dict[str, Any]:
    """Compute the metrics of `run`, write them, the picture of scores and the report; return them.

    Matplotlib keeps its own files in `cache`. Raises LineageError where the run cannot be read.
    """
    read_record(run)
    with gathered(run) as log:
        (summary,) = summarise_all(log).values()
        use_cache(cache)
        atomic_write(run / "metrics.json", json.dumps(summary, indent=1).encode())
        scores = score_by_generation(summary)
        if scores is not None:
            for kind in ("png", "svg"):
                atomic_write(run / f"scores.{kind}", picture_bytes(scores, kind))
        atomic_write(run / "report.html", report_html(run, summary, log).encode())
    return summary
