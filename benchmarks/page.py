"""The page of the benchmarks: what of `docs/benchmarks.md` is made from their results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ratios import MISSED, Ratio, Results, answer

from lineage.core.errors import LineageError

NOTHING = "n/a"
BLOCK = re.compile(r"(?<=^<!-- ratios -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)
WHOLE = 100
"""From here on a figure is shown without decimals."""
COMMIT = 9
"""Digits of a commit that are shown."""


def filled(text: str, ratios: Sequence[Ratio], results: Results) -> str:
    """Return the page `text` with its block made of `results`; raises LineageError without one."""
    made, count = BLOCK.subn(lambda found: markdown(ratios, results), text)
    if count != 1:
        raise LineageError("the page needs one line <!-- ratios -->, and <!-- end --> below it")
    return made


def markdown(ratios: Sequence[Ratio], results: Results) -> str:
    """Return the sentence that answers, the tables, and where their figures come from."""
    lines = [answer(ratios, results), ""]
    lines += table(
        ("name", "ratio of", "ratio", "n", "above", "below", "target", "verdict"),
        (row(one, results.get(one.name)) for one in ratios),
    )
    if found := [one for one in ratios if results.get(one.name, {}).get("figures")]:
        rows = ((f"`{one.name}`", figures(results[one.name])) for one in found)
        lines += ["", *table(("name", "measured by the way"), rows)]
    lines += ["", *table(("measured", "names"), sources(ratios, results))]
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    """Return a table in Markdown, a line a row; the lines of a table that has no rows are none."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines] if lines else []


def row(ratio: Ratio, result: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the cells of a ratio; those of one that was never measured are n/a."""
    of = f"{ratio.above} / {ratio.below}"
    target = NOTHING if ratio.target is None else str(ratio.target)
    if result is None:
        return (f"`{ratio.name}`", of, *(NOTHING,) * 4, target, NOTHING)
    return (
        f"`{ratio.name}`",
        of,
        interval(result),
        str(result["n"]),
        f"{number(result['above'])} {result['unit']}",
        f"{number(result['below'])} {result['unit']}",
        target,
        result["verdict"] + (f": {ratio.reason or NOTHING}" * (result["verdict"] == MISSED)),
    )


def interval(result: Mapping[str, Any]) -> str:
    """Return a ratio with its bounds."""
    low, high = result["low"], result["high"]
    bounds = NOTHING if low is None or high is None else f"{number(low)}, {number(high)}"
    return f"{number(result['ratio'])} [{bounds}]"


def number(value: float) -> str:
    """Return a figure to three digits, or to whole ones where it has more."""
    return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.3g}"


def figures(result: Mapping[str, Any]) -> str:
    """Return what was measured by the way."""
    told = (
        f"{name} {one if isinstance(one, str) else number(one)}"
        for name, one in result["figures"].items()
    )
    return "; ".join(told)


def sources(ratios: Sequence[Ratio], results: Results) -> Iterator[tuple[str, str]]:
    """Yield where figures come from, each source with the names of what is from there."""
    found: dict[str, list[str]] = {}
    for ratio in ratios:
        if ratio.name in results:
            found.setdefault(source(results[ratio.name]), []).append(f"`{ratio.name}`")
    for told, names in found.items():
        yield told, ", ".join(names)


def source(result: Mapping[str, Any]) -> str:
    """Return the machine, the date, the commit and the versions behind a result."""
    machine, libraries = result.get("machine") or {}, result.get("libraries") or {}
    commit, others = result.get("commit"), result.get("others")
    versions = (f"{name} {version}" for name, version in sorted(libraries.items()))
    return ", ".join(
        (
            result.get("date") or NOTHING,
            f"{machine.get('processor', NOTHING)}, {machine.get('cores', NOTHING)} cores",
            f"other work {NOTHING if others is None else f'{others:.0%}'}",
            f"commit {commit[:COMMIT] if commit else NOTHING}"
            + (" and changes" if result.get("dirty") else ""),
            f"Python {machine.get('python', NOTHING)}",
            *versions,
        )
    )
