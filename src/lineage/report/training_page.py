"""What stands in the folder of a training: training.json, curve.png, training.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineage.core.config import LogConfig
from lineage.core.files import atomic_write
from lineage.log.views.settings import read_settings
from lineage.metrics.training import summarise_training
from lineage.report.figures import picture_bytes, reward_by_step, training_by_step, use_cache
from lineage.report.headline import banner
from lineage.report.page import configuration, drawn, page, pictured, text, warned
from lineage.report.training_tables import training_sheets


def write_training(folder: Path, cache: Path, log: LogConfig) -> dict[str, Any]:
    """Compute the figures of the training in `folder`, write them and return them.

    `curve.png` and `training.html` show them, `training.json` holds them. Matplotlib keeps its
    own files in `cache`. Raises LineageError where no step is finished or a file is torn.
    """
    summary = summarise_training(folder, log)
    use_cache(cache)
    curve = training_by_step(summary)
    assert curve is not None, "what has no step has no summary"
    atomic_write(folder / "training.json", (json.dumps(summary, indent=1) + "\n").encode())
    atomic_write(folder / "curve.png", picture_bytes(curve, "png"))
    atomic_write(folder / "training.html", training_html(folder, summary).encode())
    return summary


def training_html(folder: Path, summary: dict[str, Any]) -> str:
    """Return the page for the training in `folder`: self-contained, everything escaped."""
    settings = read_settings(folder) if (folder / "config.yaml").exists() else {}
    signs = "".join(f"<li>{text(line)}</li>" for line in summary["signs"])
    alternatives = sum(step["alternatives"] for step in summary["by_step"])
    return page(
        f"training {folder.resolve().name}",
        warned(banner(settings.get("engine.kind"), [str(settings.get("train.parent", ""))])),
        f"<p>{len(summary['by_step'])} steps, {alternatives} alternatives.</p>",
        f"<p>Look at the samples of these:</p><ul>{signs}</ul>" if signs else "",
        pictured([reward_by_step(summary), training_by_step(summary)]),
        "".join(drawn(sheet) for sheet in training_sheets(summary)),
        configuration(folder),
    )
