"""A warehouse: which tables it has, which conventions they follow, and the cells of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineage.suites.warehouse.conventions import KEYS, KINDS, LOOKUPS, Kind
from lineage.suites.warehouse.mechanics import Readings
from lineage.suites.warehouse.sandbox import Table

NAMES = (
    "orders", "invoices", "parcels", "payments", "quotes", "shipments", "claims", "refunds",
    "transfers", "deliveries", "pallets", "receipts",
)  # fmt: skip
SITES = ("north", "south", "east", "west")
LINES = ("tools", "toys", "books")
BASE = (("id", "INTEGER"), ("site", "VARCHAR"), ("line", "VARCHAR"), ("quantity", "INTEGER"))


@dataclass(frozen=True, eq=False)
class Convention:
    """One convention of one table: its kind, the truth of the rows, and the ways to read them."""

    kind: Kind
    table: str
    hidden: Any
    readings: Readings

    @property
    def key(self) -> str:
        """The name of its fact, and of the group of tasks that fall under it."""
        return f"{self.kind.name}/{self.table}"


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table as it truly is: what every table has, and what its conventions hide."""

    name: str
    site: NDArray[np.str_]
    line: NDArray[np.str_]
    quantity: NDArray[np.int64]
    conventions: tuple[Convention, ...]

    @property
    def schema(self) -> str:
        """The table's name, its columns and their types, as a prompt shows them."""
        extra = (column for each in self.conventions for column in each.kind.columns)
        return f"{self.name}({', '.join(f'{name} {kind}' for name, kind in (*BASE, *extra))})"

    def stored(self, values: Mapping[str, str]) -> Table:
        """Return the table as the database holds it, under the `values` of the conventions."""
        rows = len(self.quantity)
        cells: dict[str, Sequence[Any]] = {
            "id": range(1, rows + 1),
            "site": self.site.tolist(),
            "line": self.line.tolist(),
            "quantity": self.quantity.tolist(),
        }
        kinds = dict(BASE)
        for each in self.conventions:
            value, options = values[each.key], each.kind.options
            cells |= each.kind.mechanic.store(each.hidden, value, options)
            kinds |= dict(each.kind.columns)
        return Table(self.name, tuple((n, kinds[n], tuple(cells[n])) for n in kinds))


def choose(draw: Random, tables: int, conventions: int, each: int) -> dict[str, list[Kind]]:
    """Return which kinds of convention each table follows, no kind twice.

    Every table gets at least `each` conventions that are conditions, since one question can
    combine many conditions but has only one measure.
    """
    names = draw.sample(NAMES, tables)
    kinds = draw.sample(KINDS, len(KINDS))
    conditions = [kind for kind in kinds if not kind.measure]
    drawn = sum(kind.measure for kind in kinds[:conventions])
    measures = max(min(drawn, conventions - tables * each), conventions - len(conditions))
    chosen = conditions[: conventions - measures]
    chosen += [kind for kind in kinds if kind.measure][:measures]
    made: dict[str, list[Kind]] = {name: [] for name in names}
    for place, kind in enumerate(chosen):
        made[names[place % tables]].append(kind)
    return made


def fill(draw: Random, name: str, kinds: Sequence[Kind], rows: int) -> Sheet:
    """Return the table `name` with `rows` rows that follow `kinds`."""
    site = np.array(draw.choices(SITES, k=rows))
    line = np.array(draw.choices(LINES, k=rows))
    quantity = np.array(draw.choices(range(1, 1000), k=rows), dtype=np.int64)
    made = []
    for kind in kinds:
        hidden = kind.mechanic.hidden(draw, rows, kind.options)
        readings = kind.mechanic.readings(hidden, kind.options)
        made.append(Convention(kind, name, hidden, readings))
    return Sheet(name, site, line, quantity, tuple(made))


def lookup(name: str) -> Table:
    """Return one of the tables that others have keys of."""
    column, first, rest = LOOKUPS[name]
    half = KEYS // 2
    groups = (*[first] * half, *[rest] * (KEYS - half))
    ids = tuple(range(1, KEYS + 1))
    return Table(name, (("id", "INTEGER", ids), (column, "VARCHAR", groups)))
