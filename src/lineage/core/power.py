"""How many tasks it takes to tell a difference of two scores on the same tasks. Pure.

    n = (z(1 - a / 2) + z(power))² s² / d²

with s² the variance over tasks of the difference, d the smallest difference that matters, and z the
quantiles of the normal distribution: the power calculation of paired data (Dupont and Plummer 1990,
"Power and Sample Size Calculations", Controlled Clinical Trials 11), as Miller 2024 has it for
evaluations ("Adding Error Bars to Evals", arXiv 2411.00640, section 5). d is what matters and not
what was seen: the power for the difference that was seen says no more than its p does (Hoenig and
Heisey 2001, "The Abuse of Power").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

SOURCE = "n = (z(1 - a/2) + z(power))² s² / d² (Miller 2024, arXiv 2411.00640)"
"""The formula and where it is from, in a line."""
RARE = 3.0
"""Of n tasks of which none differs, so many in n may differ all the same, at 95% (the rule of
three: Hanley and Lippman-Hand 1983): less variance than that is not to be believed of few tasks."""


def tasks_needed(
    differences: Sequence[float], smallest: float, confidence: float, power: float
) -> int:
    """Return how many tasks tell a mean difference of `smallest` from 0.

    `differences` are those of the tasks that were asked, one at least. With so many a two-sided
    test at `confidence` finds it with probability `power`. Raises ValueError where there is none.
    """
    data = np.asarray(differences, dtype=float)
    if not data.size:
        raise ValueError("a power calculation needs a difference")
    spread = float(data.var(ddof=1)) if data.size > 1 else 1.0
    variance = max(spread, min(RARE / data.size, 1.0))
    quantiles = float(ndtri((1 + confidence) / 2) + ndtri(power))
    return math.ceil(quantiles**2 * variance / smallest**2)
