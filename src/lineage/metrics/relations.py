"""The SQL that measures share: what a pair scores, and how it differs from the same pair elsewhere.

Each function returns SQL for rows of folder, some columns, pair and value, a row a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

ORDER = "generation, episode, step"
"""How the steps of one pair are ordered in a sum: as their ids are, in a fifth of the time.
Unordered, threads would add in any order, and the last digit would differ from call to call."""

SOLVED = 1.0
"""The score of a probe that counts as solved."""


def scored(by: str, which: str, source: str = "steps") -> str:
    """Return SQL for the mean score of each pair by the columns `by`, of the steps `which`."""
    return (
        f"SELECT folder, {by}, pair, avg(score ORDER BY {ORDER}) AS value FROM {source} "
        f"WHERE {which} AND score IS NOT NULL GROUP BY ALL"
    )


def over_baseline(which: str, by: Sequence[str] = (), source: str = "steps") -> str:
    """Return SQL for how each arm but the baseline differs from it in the probes `which`, by `by`.

    Only probes that both have a score of are compared.
    """
    return differences(which, by, "a.arm <> r.baseline", source)


def differences(
    which: str, by: Sequence[str] = (), arms: str = "true", source: str = "steps"
) -> str:
    """Return SQL for how each arm (a) differs from the baseline of its run (r), itself too.

    `which` are the steps that are compared, `arms` the arms. A probe that one side has no score of
    is missing in both: of what is left, each pair's means are compared.
    """
    same = same_probe("b", "a", *by)
    keys = ", ".join(f"a.{column}" for column in ("folder", "arm", *by, "pair"))
    return (
        f"WITH probe AS MATERIALIZED ({probes(which, by, source)}) SELECT {keys}, "
        f"{mean('a.score', 'a')} - {mean('b.score', 'a')} AS value "
        "FROM probe a JOIN runs r ON r.folder = a.folder "
        f"JOIN probe b ON b.arm = r.baseline AND {same} WHERE {arms} GROUP BY ALL"
    )


def worth(cells: str, keys: str, mine: str, which: str, by: Sequence[str] = ()) -> str:
    """Return SQL for what Knowledge is worth in each of the `cells`, a table c, by `keys`.

    A cell has the arms `cold` and `own`, which it is told by ("" for none); `mine` joins its probes
    s, of `which`. Beside value, its score, a row has its gain over cold and, over the probes that
    all three have a score of, above and below: the gains of it and of own over cold.
    """
    cold, both = "b.score IS NOT NULL", "b.score IS NOT NULL AND o.score IS NOT NULL"
    return (
        f"WITH probe AS MATERIALIZED ({probes(which, by)}) SELECT {keys}, "
        f"{mean('s.score', 's')} AS value, "
        f"{mean('s.score', 's', cold)} - {mean('b.score', 's', cold)} AS gain, "
        f"{mean('s.score', 's', both)} - {mean('b.score', 's', both)} AS above, "
        f"{mean('o.score', 's', both)} - {mean('b.score', 's', both)} AS below "
        f"FROM {cells} c JOIN probe s ON {mine} "
        f"LEFT JOIN probe b ON {same_probe('b', 's', *by)} AND b.arm = c.cold AND b.arm <> c.arm "
        f"LEFT JOIN probe o ON {same_probe('o', 's', *by)} AND o.arm = c.own GROUP BY ALL"
    )


def harm(cells: str, keys: str, mine: str, which: str, by: Sequence[str] = ()) -> str:
    """Return SQL for the share of the probes solved cold that a cell fails; see `worth`."""
    return (
        f"WITH probe AS MATERIALIZED ({probes(which, by)}) "
        f"SELECT {keys}, avg((s.score < {SOLVED})::DOUBLE ORDER BY s.episode) AS value "
        f"FROM {cells} c JOIN probe s ON {mine} "
        f"JOIN probe b ON {same_probe('b', 's', *by)} AND b.arm = c.cold "
        f"WHERE c.arm <> c.cold AND b.score = {SOLVED} GROUP BY ALL"
    )


def probes(which: str, by: Sequence[str] = (), source: str = "steps") -> str:
    """Return SQL for the steps `which` that have a score, with what `same_probe` asks for."""
    columns = dict.fromkeys(
        ("folder", "arm", *by, "pair", "generation", "episode", "step", "task", "score")
    )
    return f"SELECT {', '.join(columns)} FROM {source} WHERE {which} AND score IS NOT NULL"


def same_probe(one: str, other: str, *by: str) -> str:
    """Return SQL for whether `one` and `other` are one probe, met by two arms of a run."""
    columns = dict.fromkeys(("folder", "pair", "generation", "episode", "task", *by))
    return " AND ".join(f"{one}.{column} = {other}.{column}" for column in columns)


def mean(value: str, of: str, which: str = "") -> str:
    """Return SQL for the mean of `value` over the steps `of`, added in the order of `ORDER`."""
    order = ", ".join(f"{of}.{column}" for column in ORDER.split(", "))
    return f"avg({value} ORDER BY {order})" + (f" FILTER ({which})" if which else "")
