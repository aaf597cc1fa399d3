"""What `metrics.json` holds, by what it is of: where tables and pictures look their figures up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Summary = Mapping[str, Any]
"""What `metrics.summarise` returns."""
Row = dict[str, Any]
HEADLINE, FAMILY = "gain_by_inheritance", "same"
"""The metric of a run's headline, and the family of probes that it is of."""


def rows_of(summary: Summary, metric: str, **which: object) -> list[Row]:
    """Return the rows of a metric, in the order of the run; none where it is not there.

    `which` has the values that columns must have, such as generation=None: over all of them.
    """
    found = summary["metrics"].get(metric, ())
    return [row for row in found if all(row[name] == value for name, value in which.items())]


def cells(summary: Summary, metric: str, *by: str, **which: object) -> dict[Any, Row]:
    """Return `rows_of` by their values of the columns `by`: a tuple, of one column its value."""
    return {
        row[by[0]] if len(by) == 1 else tuple(row[name] for name in by): row
        for row in rows_of(summary, metric, **which)
    }


def headline_gains(summary: Summary) -> list[Row]:
    """Return the gains that stand for a run, the first that counts first: on tasks met before, of
    generations that inherited; that of inherit, then those of other arms in the order of the run.
    """
    gains = rows_of(summary, HEADLINE, family=FAMILY, inherited=True)
    arms = [row for row in gains if row["arm"] != summary["ceiling"]]
    return sorted(arms, key=lambda row: bool(row["arm"] != "inherit"))


def headline_arm(summary: Summary) -> str:
    """Return the arm that stands for a run: that of its headline gain. Without one it is inherit,
    or else the first that is neither baseline nor ceiling.
    """
    for gain in headline_gains(summary)[:1]:
        return str(gain["arm"])
    apart = {summary["baseline"], summary["ceiling"]}
    arms = [arm for arm in summary["arms"] if arm not in apart] or list(summary["arms"])
    return str(min(arms, key=lambda arm: bool(arm != "inherit")))


def lost(unscored: Iterable[Mapping[str, Any]]) -> str:
    """Return in words the probes that were over-long and missing, of each arm and family with any.

    `unscored` are the rows of that metric.
    """
    return ", ".join(
        f"{row['arm']} {row['family']} {row['overlong']} + {row['missing']}"
        for row in unscored
        if row["overlong"] or row["missing"]
    )


def totals(summary: Summary) -> Row:
    """Return the one row of the metric `totals`."""
    return rows_of(summary, "totals")[0]
