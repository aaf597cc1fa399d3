"""What stands in the folder of a training: training.json, curve.png, training.html."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lineage.analysis.report import drawn, text
from lineage.analysis.training import summarise_training
from lineage.analysis.training_figure import QUESTION, training_figure
from lineage.analysis.training_tables import training_sheets
from lineage.config import LogConfig
from lineage.files import atomic_write


def write_training(folder: Path, cache: Path, log: LogConfig) -> dict[str, Any]:
    """Compute the figures of the training in `folder`, write them and return them.

    `curve.png` and `training.html` show them, `training.json` holds them. Matplotlib keeps its
    own files in `cache`. Raises LineageError where no step is finished or a file is torn.
    """
    summary = summarise_training(folder, log)
    picture = training_figure(summary, cache)
    atomic_write(folder / "training.json", (json.dumps(summary, indent=1) + "\n").encode())
    atomic_write(folder / "curve.png", picture)
    atomic_write(folder / "training.html", training_html(folder, summary, picture).encode())
    return summary


def training_html(folder: Path, summary: dict[str, Any], picture: bytes) -> str:
    """Return the page for the training in `folder`: self-contained, everything escaped."""
    page = Template(
        files("lineage.analysis").joinpath("training.template.html").read_text("utf-8")
    )
    config = folder / "config.yaml"
    signs = "".join(f"<li>{text(line)}</li>" for line in summary["signs"])
    alternatives = sum(step["alternatives"] for step in summary["by_step"])
    return page.substitute(
        title=text(f"training {folder.resolve().name}"),
        totals=text(f"{len(summary['by_step'])} steps, {alternatives} alternatives."),
        signs=f"<p>Look at the samples of these:</p><ul>{signs}</ul>" if signs else "",
        question=text(QUESTION),
        figure=base64.b64encode(picture).decode(),
        tables="".join(drawn(sheet) for sheet in training_sheets(summary)),
        config=text(config.read_text(encoding="utf-8") if config.exists() else ""),
    )
