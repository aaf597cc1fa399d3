"""The record of a training and the card made of it: what stands beside a version. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.intervals import Interval

BYTES = 2
"""A parameter's, as bfloat16."""
MEGABYTE = 1_000_000
PICTURE = "curve.png"


@dataclass(frozen=True)
class Estimate:
    """A mean and its bounds; None where fewer than two pairs give none."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: Interval) -> Estimate:
        """Return what `found` says, without its count."""
        return cls(found.mean, found.low, found.high)


@dataclass(frozen=True)
class HeldOut:
    """One measure in `pairs` worlds that training never drew: parent, version, and difference."""

    measure: str
    before: Estimate
    after: Estimate
    gain: Estimate
    pairs: int


@dataclass(frozen=True)
class Record:
    """What is `training.json` of a version: how it was made, and what that changed."""

    name: str
    parent: str
    base: str  # the model that the adapter is for, as its authors call it
    method: dict[str, Any]  # the node `method` of the configuration; the next ones alike
    train: dict[str, Any]
    curricula: dict[str, dict[str, Any]]  # those that were used
    reward: dict[str, Any]
    agent: dict[str, Any]
    seeds: dict[str, str]  # what worlds are hashed from, by what they are for
    steps: int
    parameters: int  # of the adapter
    minutes: float
    device: str  # cores, or the GPU
    libraries: dict[str, str]
    confidence: float  # of the intervals
    licence: str
    heldout: tuple[HeldOut, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self) | {"heldout": [asdict(one) for one in self.heldout]}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Record:
        """Return the record that `tree` holds. Raises LineageError where it holds none."""
        names = {field.name for field in fields(cls)}
        wrong = sorted(names ^ tree.keys())
        if wrong:
            what = "lacks" if wrong[0] in names else "has an unknown"
            raise LineageError(f"the record of a training {what} {wrong[0]!r}: train again")
        try:
            heldout = tuple(_held_out(one) for one in tree["heldout"])
        except (KeyError, TypeError) as error:
            raise LineageError("the record of a training has a torn 'heldout'") from error
        return cls(**{**tree, "heldout": heldout})


def card(record: Record, limits: str) -> str:
    """Return the model card of `record` as Markdown; `limits` is its last section."""
    size = f"{record.parameters * BYTES / MEGABYTE:.1f} MB"
    about = {
        "parent": f"`{record.parent}`",
        "base model": record.base,
        "method": _settings(record.method),
        "training": _settings(record.train, leave_out=("name", "parent", "curricula")),
        "curricula": _curricula(record.curricula),
        "data": "; ".join(f"{use}: worlds hashed from {of}" for use, of in record.seeds.items()),
        "reward": _settings(record.reward),
        "agent": _settings(record.agent),
        "cost": f"{record.minutes:.0f} minutes, {record.steps} steps, on {record.device}",
        "libraries": ", ".join(f"{name} {found}" for name, found in record.libraries.items()),
        "size": f"{size}: {record.parameters:,} parameters as bfloat16",
        "licence": record.licence,
    }
    sections = (
        f"# {record.name}\n\n{_opening(record)}",
        _table(("", ""), about.items()),
        f"## Reward before and after\n\n{_gains(record)}",
        f"## Curve\n\n![What each step of training changed]({PICTURE})",
        f"## Limits\n\n{limits.strip()}",
    )
    return "\n\n".join(sections) + "\n"


def _opening(record: Record) -> str:
    return (
        f"A LoRA on {record.base}, trained from `{record.parent}` to write memories and docs that "
        "its successors profit from. `training.json` has the whole record."
    )


def _gains(record: Record) -> str:
    if not record.heldout:
        return "Not measured: `train.held_out` was 0."
    head = ("measure", "worlds", record.parent, record.name, "gain")
    rows = (
        (
            one.measure,
            str(one.pairs),
            _bounds(one.before),
            _bounds(one.after),
            _bounds(one.gain, signed=True),
        )
        for one in record.heldout
    )
    return (
        "Worlds that training never drew, paired; mean "
        f"[{record.confidence:.0%} interval over worlds].\n\n{_table(head, rows)}"
    )


def _bounds(value: Estimate, signed: bool = False) -> str:
    sign = "+" if signed else ""
    text = f"{value.mean:{sign}.2f}"
    if value.low is None or value.high is None:
        return text
    return f"{text} [{value.low:.2f}, {value.high:.2f}]"


def _curricula(curricula: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"**{name}**: {_settings(found)}" for name, found in curricula.items())


def _settings(tree: Mapping[str, Any], leave_out: Iterable[str] = ()) -> str:
    shown = (f"{key} {_value(v)}" for key, v in tree.items() if key not in set(leave_out))
    return ", ".join(shown)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(_value(inner) for inner in value) + ")"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row(head), _row(("---",) * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    # A bar would end the cell, a line break the table.
    return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"


def _held_out(tree: Mapping[str, Any]) -> HeldOut:
    estimates = {key: Estimate(**tree[key]) for key in ("before", "after", "gain")}
    return HeldOut(measure=tree["measure"], pairs=tree["pairs"], **estimates)
