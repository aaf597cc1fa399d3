"""The one figure of a run that a sweeper is told, as `log.objective` names it. Pure."""

from __future__ import annotations

from typing import Any

from lineage.core.config import ObjectiveConfig
from lineage.core.errors import LineageError, nearest
from lineage.metrics import METRICS
from lineage.report.lookup import HEADLINE, Row, Summary, headline_gains, rows_of

SHOWN = 3
"""Rows that an error names."""


def name(wanted: ObjectiveConfig) -> str:
    """Return what `wanted` is of, in words: a metric, its figure and the values of columns."""
    where = (f"{column}={_text(value)}" for column, value in (wanted.where or {}).items())
    return " ".join((f"{wanted.metric or HEADLINE}.{wanted.figure}", *where))


def check_objective(wanted: ObjectiveConfig) -> None:
    """Raise LineageError where no run could have the figure `wanted`: there is no such column."""
    metric = wanted.metric or HEADLINE
    if metric not in METRICS:
        raise LineageError(
            f"log.objective.metric is {metric!r}, which is no metric{nearest(metric, [*METRICS])}"
        )
    columns = METRICS[metric].columns
    for key, column in (("figure", wanted.figure), *(("where", one) for one in wanted.where or ())):
        if column not in columns:
            raise LineageError(
                f"log.objective.{key} names {column!r}, which metric {metric} has not"
                f"{nearest(column, columns)}"
            )


def objective(wanted: ObjectiveConfig, summary: Summary) -> float | None:
    """Return the figure of the run of `summary` that is `wanted`; None where it was not computed.

    Raises LineageError where several rows could be meant, or the figure is no number.
    """
    rows = _rows(wanted, summary)
    if not rows:
        return None
    if len(rows) > 1:
        by = [one for one in rows[0] if len({_text(row[one]) for row in rows}) > 1]
        options = {f"{by[0]}: {_text(row[by[0]])}" for row in rows}
        raise LineageError(
            f"log.objective means {len(rows)} rows of {wanted.metric or HEADLINE}: add to "
            f"log.objective.where one of {', '.join(sorted(options)[:SHOWN])}"
        )
    found = rows[0].get(wanted.figure)
    if found is not None and not isinstance(found, (int, float)):
        raise LineageError(
            f"log.objective.figure is {wanted.figure!r}, which is no number but {found!r}"
        )
    return None if found is None else float(found)


def _rows(wanted: ObjectiveConfig, summary: Summary) -> list[Row]:
    where = wanted.where or {}
    if wanted.metric is not None:
        return [row for row in rows_of(summary, wanted.metric) if _fits(row, where)]
    return [row for row in headline_gains(summary) if _fits(row, where)][:1]


def _fits(row: Row, where: dict[str, Any]) -> bool:
    return all(_text(row.get(column)) == _text(value) for column, value in where.items())


def _text(value: object) -> str:
    """Return `value` as an override has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
