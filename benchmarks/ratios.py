"""What a ratio of the benchmarks is: two things measured in turn, an interval, a target, a verdict.

A benchmark has a function `ratios`, which measures some of those that `bench.py` registers:

    def ratios(setup: Setup) -> dict[str, Measured]

It may be asked for one of them, and gives all that it finds by the way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lineage.core.intervals import AMOUNT, SHARE, Range, optional, ratio_bounds

CONFIDENCE = 0.95
MET, MISSED, OPEN, FREE = "met", "not met", "open", "no target"
"""What came of a target; open: the interval holds it, so that it may be either."""


@dataclass(frozen=True)
class Target:
    """What a ratio shall be: `at` this, or better."""

    at: float
    more_is_better: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.more_is_better else '≤'} {self.at:g}"

    def verdict(self, low: float | None, high: float | None) -> str:
        """Return what came of it: only where a whole interval is on one side it is not open."""
        if low is None or high is None:
            return OPEN
        if self.more_is_better:
            return MET if low >= self.at else MISSED if high < self.at else OPEN
        return MET if high <= self.at else MISSED if low > self.at else OPEN


@dataclass(frozen=True)
class Ratio:
    """A ratio that is kept under `name`: of what stands `above`, both in `unit`.

    `module` measures it. It needs a real `engine`, or a run of one. `part`: what is above is part
    of what is below. `reason` says why its target is not met, where that is known.
    """

    name: str
    above: str
    below: str
    unit: str
    module: str
    target: Target | None = None
    engine: bool = False
    part: bool = False
    reason: str = ""

    @property
    def of(self) -> Range:
        """What is divided, as its interval takes it."""
        return SHARE if self.part else AMOUNT


@dataclass(frozen=True)
class Measured:
    """What was measured of both, a value each a repeat: `above[i]` beside `below[i]`.

    `figures` are others that explain the ratio, by what they are. `origin` has what is not of this
    process: of a run that was measured, its commit, machine, libraries, others and date.
    """

    above: tuple[float, ...]
    below: tuple[float, ...]
    figures: Mapping[str, float | str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """How much is measured. `small`: just enough to see that it works. `tick` is told each step.

    `run` is a finished run of a real engine, for what is measured of one; None: the newest.
    """

    repeats: int = 5
    small: bool = False
    run: Path | None = None
    tick: Callable[[str], None] = lambda said: None

    def size(self, whole: int, small: int) -> int:
        """Return the size of a benchmark."""
        return small if self.small else whole


def in_turn(
    first: Callable[[], float], second: Callable[[], float], setup: Setup, repeats: int = 0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what both gave, called in turn so often as `setup` says, or `repeats` is.

    Each is called once more before that: what comes first warms caches, and is left out.
    """
    found = []
    count = repeats or setup.repeats
    for number in range(count + 1):
        setup.tick("warm-up" if not number else f"{number} of {count}")
        found.append((first(), second()))
    above, below = zip(*found[1:])
    return above, below


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes by the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory() -> int:
    """Return the most bytes that this process has held (VmHWM in proc(5))."""
    # getrusage would count what the parent held when it forked.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) * 1024


def estimate(measured: Measured, of: Range) -> tuple[float, float | None, float | None]:
    """Return the ratio of both means and its bounds at 95%, None where there are none.

    The interval is that of Fieller over the repeats, which are paired; of a part in its whole that
    of a share (see `lineage.core.intervals`). Raises ValueError where nothing was measured, where
    one side has more values, or a value is not finite.
    """
    if not measured.above or len(measured.above) != len(measured.below):
        raise ValueError("a ratio needs as many values above as below, and one at least")
    above, below = (np.array(side, dtype=float) for side in (measured.above, measured.below))
    found, _ = ratio_bounds(above[None], below[None], CONFIDENCE, of)
    low, high = optional(found.low[0]), optional(found.high[0])
    return float(above.mean() / below.mean()), low, high


def result(ratio: Ratio, measured: Measured, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a ratio that was measured; `origin` says where and with what."""
    value, low, high = estimate(measured, ratio.of)
    verdict = FREE if ratio.target is None else ratio.target.verdict(low, high)
    return {
        "ratio": rounded(value),
        "low": None if low is None else rounded(low),
        "high": None if high is None else rounded(high),
        "n": len(measured.above),
        "unit": ratio.unit,
        "above": rounded(float(np.mean(measured.above))),
        "below": rounded(float(np.mean(measured.below))),
        "target": None if ratio.target is None else str(ratio.target),
        "verdict": verdict,
        "figures": {
            name: rounded(one) if isinstance(one, float) else one
            for name, one in measured.figures.items()
        },
        **origin,
        **measured.origin,
    }


def rounded(value: float) -> float:
    """Return `value` to four digits: more are noise."""
    return float(f"{value:.4g}")


Results = Mapping[str, Mapping[str, Any]]
"""What is kept, by name of the ratio."""


def answer(ratios: Sequence[Ratio], results: Results) -> str:
    """Return in one sentence how many targets are met."""
    aimed = [one for one in ratios if one.target is not None]
    came = [str(results[one.name]["verdict"]) for one in aimed if one.name in results]
    told = [f"{came.count(MET)} of {len(aimed)} targets are met"]
    if missed := came.count(MISSED):
        told.append(f"{missed} {'is' if missed == 1 else 'are'} not")
    if doubt := came.count(OPEN):
        told.append(f"{doubt} {'is' if doubt == 1 else 'are'} open: the interval holds the target")
    if absent := len(aimed) - len(came):
        told.append(f"{absent} {'was' if absent == 1 else 'were'} not measured yet")
    return "; ".join(told) + "."
