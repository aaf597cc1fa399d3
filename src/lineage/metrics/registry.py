"""What a metric is: a function of a log, with its name, the columns of its rows and what it says.

`metric` stands above the function and is all that makes it one: `metrics.json`, `lineage compare`
and the list in the documentation ask `METRICS`, which `lineage.metrics` fills by its imports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

Measure = Callable[[duckdb.DuckDBPyConnection], pa.Table]

INTERVAL = ("mean", "low", "high", "n")
"""What a row holds of a mean over pairs, beside what it is by; n are the pairs behind it."""
TEST = ("p", "excludes_zero", "starred")
"""What it holds beside that where a mean of 0 says that there is nothing: see `cells.starred`."""
POOLED = (*INTERVAL, "values", "reason")
"""What a row holds of a mean over values: how many they are, and why there is none."""


@dataclass(frozen=True)
class Metric:
    """A metric: `columns` are those of a row, beside `folder`, the run; `doc` is one sentence."""

    name: str
    columns: tuple[str, ...]
    doc: str
    measure: Measure

    @property
    def theme(self) -> str:
        """The module that it stands in."""
        return self.measure.__module__.rpartition(".")[2]

    @property
    def own(self) -> tuple[str, ...]:
        """Its columns but those of INTERVAL, TEST and POOLED: what a row is by, and more."""
        return tuple(name for name in self.columns if name not in (*POOLED, *TEST))


METRICS: dict[str, Metric] = {}
"""Every metric by its name, in the order of the themes."""


def metric(*columns: str) -> Callable[[Measure], Measure]:
    """Register a function of a log as the metric of its name, with what its docstring begins with.

    It returns a table with `folder`, then these `columns`: first what a row is by, then INTERVAL or
    POOLED and what else it knows; plain counts have no mean. Raises ValueError where the name is
    taken, or there is no docstring.
    """

    def register(measure: Measure) -> Measure:
        name, told = measure.__name__, measure.__doc__
        if name in METRICS:
            raise ValueError(f"metric {name} is there already")
        if not told:
            raise ValueError(f"metric {name} has no docstring")
        doc = " ".join(told.partition("\n\n")[0].split()).removeprefix("Return ")
        METRICS[name] = Metric(name, columns, doc, measure)
        return measure

    return register
