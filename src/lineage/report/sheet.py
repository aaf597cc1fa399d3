"""A table as a value, and how its cells are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

LARGE = 20
"""From here on a cell needs no decimals: tokens, not scores."""
NOT_COMPUTED = "n/a"
"""Stands in every cell for which nothing was computed: an empty cell reads as nothing found."""
STARRED_FROM = 5
"""Pairs below which no interval earns a star: two equal pairs exclude 0, and tell nothing."""


Cell = Mapping[str, Any]
"""A row of a metric: a mean with its interval."""
Writer = Callable[[Cell | None], str]
"""How a cell is written."""


@dataclass(frozen=True)
class Sheet:
    """One table. The first `left` columns are names; a row of "" parts two sections."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    left: int = 1


def noted(*parts: str) -> str:
    """Return the parts of a note as one; those that are "" are left out."""
    return "; ".join(filter(None, parts))


def counted(sheet: Sheet, counts: Sequence[Iterable[int]]) -> Sheet:
    """Return `sheet` with the number of pairs behind its cells, `counts` a row.

    In the note where all cells have as many, else in a last column `n`: one number where the cells
    of a row agree, or one a cell. Cells without any (0) are n/a and say so themselves.
    """
    known = [[count for count in row if count] for row in counts]
    several = {count for row in known for count in row}
    if not several:
        return sheet
    if len(several) == 1:
        (n,) = several
        said = f"n = {n} {'pair' if n == 1 else 'pairs'} in every cell"
        return replace(sheet, note=noted(sheet.note, said))
    column = (" ".join(map(str, row if len(set(row)) > 1 else row[:1])) for row in known)
    rows = tuple((*row, cell) for row, cell in zip(sheet.rows, column, strict=True))
    said = "n: pairs" + (", cell by cell" if any(len(set(row)) > 1 for row in known) else "")
    return replace(sheet, head=(*sheet.head, "n"), rows=rows, note=noted(sheet.note, said))


def table(
    title: str,
    head: tuple[str, ...],
    found: Sequence[tuple[tuple[str, ...], Sequence[Cell | None]]],
    written: Writer | Sequence[Writer],
    note: str = "",
    undefined: str = "",
) -> Sheet:
    """Return a table with a row of names, then cells as `written`, for each of `found`; counted.

    `written` may be one writer a column; `undefined` says why cells are n/a, where any is.
    """
    writers: Iterable[Writer] = written if isinstance(written, Sequence) else repeat(written)
    rows = tuple((*names, *(w(c) for w, c in zip(writers, cells))) for names, cells in found)
    if undefined and any(NOT_COMPUTED in row for row in rows):
        note = noted(note, f"{NOT_COMPUTED}: {undefined}")
    sheet = Sheet(title, head, rows, note, left=len(found[0][0]) if found else 1)
    return counted(sheet, [map(pairs_of, cells) for _, cells in found])


def pairs_of(cell: Cell | None) -> int:
    """Return how many pairs are behind a cell; 0 where nothing was computed."""
    return 0 if cell is None or cell["mean"] is None else int(cell["n"])


def starred(cell: Cell) -> bool:
    """Whether a difference earns a star.

    As the measures say (`starred`); where they do not, at least `STARRED_FROM` pairs with an
    interval that excludes 0.
    """
    if cell.get("starred") is not None:
        return bool(cell["starred"])
    low, high = cell["low"], cell["high"]
    return cell["n"] >= STARRED_FROM and low is not None and high is not None and low * high > 0


def share(cell: Cell | None) -> str:
    """Return "85% [80, 90]"."""
    if cell is None or cell["mean"] is None:
        return NOT_COMPUTED
    if cell["low"] is None:
        return f"{cell['mean']:.0%}"
    return f"{cell['mean']:.0%} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"


def name(version: str) -> str:
    """Return a version's name without what stands before the @."""
    return version.partition("@")[2] or version


def short(schedule: Iterable[str]) -> list[str]:
    """Return the versions of a schedule without what they have in common before the @."""
    versions = list(schedule)
    families = {version.partition("@")[0] for version in versions}
    return [name(version) for version in versions] if len(families) == 1 else versions


def gained(gain: Cell | None) -> str:
    """Return a signed gain with its bounds, and * where it is `starred`."""
    if not gain or gain["mean"] is None:
        return NOT_COMPUTED
    return bounds(gain, signed=True) + ("*" if starred(gain) else " ")


def bounds(value: Cell | None, signed: bool = False) -> str:
    """Return "0.52 [0.40, 0.63]", and whole numbers where the mean is a large one."""
    if value is None or value["mean"] is None:
        return NOT_COMPUTED
    sign, digits = "+" if signed else "", 0 if abs(value["mean"]) >= LARGE else 2
    text = f"{value['mean']:{sign}.{digits}f}"
    if value["low"] is None:
        return text
    return f"{text} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
