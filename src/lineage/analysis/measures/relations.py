"""The SQL that measures share: what a pair scores, and how it differs from the same pair elsewhere.

Each function returns SQL for rows of folder, some columns, pair and value, a row a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

ORDER = "generation, episode, step"
"""How the steps of one pair are ordered in a sum: as their ids are, in a fifth of the time.
Unordered, threads would add in any order, and the last digit would differ from call to call."""


def scored(by: str, which: str, source: str = "steps") -> str:
    """Return SQL for the mean score of each pair by the columns `by`, of the steps `which`."""
    return (
        f"SELECT folder, {by}, pair, avg(score ORDER BY {ORDER}) AS value FROM {source} "
        f"WHERE {which} AND score IS NOT NULL GROUP BY ALL"
    )


def over_baseline(cells: str, by: Sequence[str] = ()) -> str:
    """Return SQL for how each arm but the baseline differs from it, in `cells` by arm and `by`.

    Only pairs that both have are compared.
    """
    return f"{differences(cells, by)} WHERE a.arm <> r.baseline"


def possible(cells: str, by: Sequence[str] = ()) -> str:
    """Return SQL for how the ceiling arm differs from the baseline, as `over_baseline` does."""
    return f"{differences(cells, by)} WHERE a.arm = r.ceiling"


def differences(cells: str, by: Sequence[str] = ()) -> str:
    """Return SQL for how each arm (a) differs from the baseline of its run (r), itself too."""
    same = " AND ".join(f"b.{column} = a.{column}" for column in ("folder", *by, "pair"))
    keys = ", ".join(f"a.{column}" for column in ("folder", "arm", *by, "pair"))
    return (
        f"WITH cell AS MATERIALIZED ({cells}) SELECT {keys}, a.value - b.value AS value "
        "FROM cell a JOIN runs r ON r.folder = a.folder "
        f"JOIN cell b ON b.arm = r.baseline AND {same}"
    )
