"""The view `runs`: a row a run or training, with the settings that tell them apart as columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from lineage.log.schema import Columns
from lineage.log.sittings import met, worked_seconds
from lineage.log.views.places import Opened
from lineage.log.views.settings import differing

_FAULTS = pa.map_(pa.string(), pa.int64())
_SITTINGS = pa.list_(
    pa.struct(
        [
            *(("began", pa.float64()), ("seconds", pa.float64())),
            *(("faults", _FAULTS), ("ended", pa.bool_())),
        ]
    )
)
_RUN: Columns = (
    ("folder", pa.string(), "where the run is; metrics go by it"),
    ("kind", pa.string(), "run | training"),
    ("run", pa.string(), "id of the run: experiment name and config hash"),
    ("experiment", pa.string(), "its name; of a training, that of the version made"),
    ("config_hash", pa.string(), "hash of what decides the results"),
    ("arms", pa.list_(pa.string()), "what successors receive, in order"),
    ("families", pa.list_(pa.string()), "of probes, in order"),
    ("schedule", pa.list_(pa.string()), "the version of each generation"),
    ("baseline", pa.string(), "the arm that gains are taken over"),
    ("ceiling", pa.string(), "the arm that stands for the possible"),
    ("defined", pa.string(), "what each arm is, as JSON"),
    ("confidence", pa.float64(), "level of an interval"),
    (
        "engine",
        pa.string(),
        "what served it: vllm | surrogate, which is a stand-in and no language model",
    ),
    ("origin", pa.string(), "commit, machine, command, device and precision of the run, as JSON"),
    ("correction", pa.string(), "of stars for there being many: none | holm | bh"),
    (
        "sittings",
        _SITTINGS,
        "when each began, the seconds that it worked (null: not timed), what failed meanwhile and "
        "was mended, and whether it ended by itself",
    ),
    ("faults", _FAULTS, "how often what failed and was mended, in all sittings; null: not noted"),
    ("began", pa.timestamp("us"), "when it did, in UTC"),
    ("seconds", pa.float64(), "that its sittings worked; null: one was not timed"),
    ("commit", pa.string(), "of the code that began it"),
    ("settings", pa.string(), "every key of its configuration by dotted name, as JSON"),
    ("sweep", pa.string(), "the folder of the sweep that it is a point of; empty: of none"),
    ("point", pa.int64(), "its number in the sweep; null: it is of none"),
)
RUN_SCHEMA = pa.schema([(name, kind) for name, kind, _ in _RUN])
RECORD_DOCS = {name: doc for name, _, doc in _RUN}
ORIGIN = ("began", "commit", "dirty", "machine", "command", "engine", "others", "given_up")
"""Of a record, what says where the figures come from."""


def runs_table(whole: Sequence[Opened]) -> pa.Table:
    """Return a row a run.

    After the columns of `RUN_SCHEMA` come the keys that sweeps vary, then other settings whose
    values differ.
    """
    found = pa.Table.from_pylist([_row(one) for one in whole], schema=RUN_SCHEMA)
    swept = dict.fromkeys(key for one in whole for key in one.swept)
    several = differing([one.settings for one in whole]) if len(whole) > 1 else ()
    for key in dict.fromkeys((*swept, *several)):
        if key not in found.column_names:
            values = [one.swept.get(key, one.settings.get(key)) for one in whole]
            found = found.append_column(key, _values(values))
    return found


def _row(one: Opened) -> dict[str, Any]:
    record, settings = one.record, one.settings
    training, began = "training" in record, record.get("began")
    row = {name: record.get(name) for name in RUN_SCHEMA.names}
    return row | {
        "folder": one.folder,
        "kind": "training" if training else "run",
        "experiment": record.get("training" if training else "experiment"),
        "config_hash": record.get("training_hash" if training else "config_hash"),
        "defined": json.dumps(record.get("defined") or {}),
        "confidence": record.get("confidence", settings.get("log.confidence")),
        "engine": settings.get("engine.kind") or (record.get("engine") or {}).get("kind"),
        "origin": json.dumps({name: record[name] for name in ORIGIN if name in record}),
        "sittings": [asdict(sitting) for sitting in one.sittings],
        "faults": met(one.sittings),
        "correction": record.get("correction", settings.get("log.correction", "none")),
        "began": None if began is None else datetime.fromtimestamp(began, UTC).replace(tzinfo=None),
        "seconds": worked_seconds(one.sittings),
        "settings": json.dumps(settings),
        "sweep": one.sweep,
        "point": one.point,
    }


def _values(values: list[Any]) -> pa.Array:
    """Return the values of one setting as a column: as they are, or as JSON where kinds differ."""
    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        found = None
    plain = found is not None and not pa.types.is_nested(found.type)
    return found if plain else pa.array([json.dumps(value) for value in values])
