"""How often intervals hold the truth, and how often a star stands over nothing.

    python benchmarks/coverage.py                              the published method
    python benchmarks/coverage.py --method percentile          another: see METHODS
    python benchmarks/coverage.py --json                       its rows as JSON
    python benchmarks/coverage.py --pairs 10000                lineages on the surrogate: the truth

Two sources, the truth of both known. Simulated pairs score the mean of 16 probes, each right with a
chance of the pair, which is drawn from a beta distribution: its mean is the truth, its correlation
within a pair one of `ALIKE`. Lineages on the surrogate are run once; the mean over all of them is
the truth, and an experiment draws some of them, each anew, so that however few lineages there are
the truth is exact. A null is two arms of equal distribution. A ratio counts where it is defined.
A figure is skewed where its mean is far from the middle of its range, or, of lineages, by its third
moment; what is equal in all lineages is left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr, stdtrit

from lineage import compose
from lineage.core import intervals
from lineage.core.intervals import AMOUNT, DIFFERENCE, FREE, SHARE, Numbers, Range
from lineage.core.seeds import derive
from lineage.log.views.connect import connect
from lineage.runs.run import execute

SIZES = (4, 6, 8, 12, 24)
PROBES = 16
"""Of a pair."""
ALIKE = (0.02, 0.125, 0.3)
"""Correlation of the probes of a pair. With 0.125 Student's t holds the truth in 0.87 to 0.89."""
NOMINAL = 0.95
EXPERIMENTS, RESAMPLES = 10_000, 400
LOWEST, HIGHEST, LOWEST_SKEWED, MOST_FALSE = 0.93, 0.97, 0.91, 0.06
LEAST = 6
"""Pairs from which on the coverage is promised; stars are from `intervals.MIN_STARRED` on."""
SKEWED = 0.5
"""Third moment, of lineages, in units of the standard deviation."""
SCORES = {False: (0.5, 0.35), True: (0.1, 0.9), None: (0.02, 0.98)}
GAINS = {
    False: ((0.5, 0.5), (0.7, 0.3), (0.6, 0.5)),
    True: ((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.9, 0.02), (0.1, 0.02)),
    None: ((0.02, 0.02), (0.98, 0.02)),
}
"""Of the arm and of the baseline."""
RETENTIONS = {
    False: ((0.5, 0.8, 0.2), (0.5, 0.5, 0.1)),
    True: ((0.9, 0.9, 0.02), (0.1, 0.9, 0.02)),
}
"""Of the reader with another's Knowledge, with its own, and cold."""
HARMS = {False: ((0.5, 0.5),), True: ((0.1, 0.3), (0.02, 0.6))}
"""Share of what is solved cold that is failed, and share that is solved cold."""

Sides = tuple[Numbers, Numbers]
"""Bounds, an array each."""


@dataclass(frozen=True)
class Method:
    """Bounds of means and of ratios. `starred` is by the interval alone where it is None."""

    mean: Callable[[Numbers, Range], Sides]
    ratio: Callable[[Numbers, Numbers, Range], Sides]
    starred: Callable[[Numbers, Range], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: `cells` of one figure, kind and size together."""

    figure: str
    pairs: int
    skewed: bool
    nominal: float
    actual: float
    false_stars: float | None


@dataclass(frozen=True)
class Trial:
    """Experiments on one figure: values by experiment and pair, and what they should hold.

    Where there is a `below` the figure is a ratio, and `of` what is divided.
    """

    figure: str
    skewed: bool
    truth: float
    of: Range
    values: Numbers
    below: Numbers | None = None


def student(data: Numbers, of: Range) -> Sides:
    """Student's t over pairs."""
    mean = data.mean(axis=1)
    half = quantile(data) * data.std(axis=1, ddof=1) / np.sqrt(data.shape[1])
    return mean - half, mean + half


def fieller(above: Numbers, below: Numbers, of: Range) -> Sides:
    """The t test of above - v below, turned round."""
    means = above.mean(axis=1), below.mean(axis=1)
    by = quantile(above) ** 2 / above.shape[1]
    a, b = above - means[0][:, None], below - means[1][:, None]
    free = above.shape[1] - 1
    square = means[1] ** 2 - by * (b * b).sum(axis=1) / free
    cross = means[0] * means[1] - by * (a * b).sum(axis=1) / free
    plain = means[0] ** 2 - by * (a * a).sum(axis=1) / free
    root = np.sqrt(np.maximum(cross**2 - square * plain, 0))
    square[square <= 0] = np.nan
    return (cross - root) / square, (cross + root) / square


def pseudo(data: Numbers, of: Range) -> Sides:
    """Student's t with a twentieth of a pair added at either end of the range."""
    if of.low is None or of.high is None:
        return student(data, of)
    weight, pairs = 0.05, data.shape[1]
    total = pairs + 2 * weight
    mean = (data.sum(axis=1) + weight * (of.low + of.high)) / total
    squares = ((data - mean[:, None]) ** 2).sum(axis=1)
    squares += weight * ((of.low - mean) ** 2 + (of.high - mean) ** 2)
    half = quantile(data) * np.sqrt(squares / (total - 1) / total)
    return np.maximum(mean - half, of.low), np.minimum(mean + half, of.high)


def percentile(data: Numbers, of: Range) -> Sides:
    """The percentile bootstrap over pairs."""
    return tails(data @ drawn(data), (1 - NOMINAL) / 2)


def ratio_percentile(above: Numbers, below: Numbers, of: Range) -> Sides:
    """The percentile bootstrap over pairs, of a ratio of sums."""
    return tails(resampled_ratio(above, below), (1 - NOMINAL) / 2)


def widened(data: Numbers, of: Range) -> Sides:
    """The percentile bootstrap with its tails widened to those of Student's t (Hesterberg 2015)."""
    return tails(data @ drawn(data), wider(data))


def ratio_widened(above: Numbers, below: Numbers, of: Range) -> Sides:
    """As `widened`, of a ratio of sums."""
    return tails(resampled_ratio(above, below), wider(above))


def bootstrap_t(data: Numbers, of: Range) -> Sides:
    """The bootstrap of the t statistic; resamples without spread are left out."""
    weights, mean, pairs = drawn(data), data.mean(axis=1), data.shape[1]
    left = data - mean[:, None]
    change = left @ weights
    variance = (left**2 @ weights - change**2) / (pairs - 1)
    t = change / np.sqrt(np.where(variance > 1e-12, variance, np.nan))
    t[np.isnan(t).all(axis=1)] = 0.0
    error = data.std(axis=1, ddof=1) / np.sqrt(pairs)
    low, high = tails(t, (1 - NOMINAL) / 2)
    return mean - high * error, mean - low * error


def linear(mean: Callable[[Numbers, Range], Sides]) -> Callable[[Numbers, Numbers, Range], Sides]:
    """Return bounds of a ratio that are those of `mean` of the ratio linearised over pairs."""

    def of_ratio(above: Numbers, below: Numbers, of: Range) -> Sides:
        whole = below.mean(axis=1)
        divisor = np.where(whole == 0, np.nan, whole)[:, None]
        ratio = above.mean(axis=1)[:, None] / divisor
        return mean(ratio + (above - ratio * below) / divisor, FREE)

    return of_ratio


def published(data: Numbers, of: Range) -> Sides:
    """What lineage publishes."""
    found = intervals.bounds(data, NOMINAL, of)
    return found.low, found.high


def published_ratio(above: Numbers, below: Numbers, of: Range) -> Sides:
    """What lineage publishes, where it is defined."""
    found, defined = intervals.ratio_bounds(above, below, NOMINAL, of)
    low, high = (np.where(defined, side, np.nan) for side in (found.low, found.high))
    return low, high


def published_stars(data: Numbers, of: Range) -> NDArray[np.bool_]:
    """Which experiments lineage stars, each a table of one cell."""
    ps = intervals.bounds(data, NOMINAL, of).p
    pairs = data.shape[1]
    return np.array([intervals.stars([(p, pairs)], NOMINAL, "none")[0] for p in ps.tolist()])


METHODS = {
    "published": Method(published, published_ratio, published_stars),
    "student": Method(student, fieller),
    "percentile": Method(percentile, ratio_percentile),
    "widened": Method(widened, ratio_widened),
    "bootstrap-t": Method(bootstrap_t, linear(bootstrap_t)),
    "pseudo-pairs": Method(pseudo, linear(pseudo)),
}


def quantile(data: Numbers) -> float:
    return float(stdtrit(data.shape[1] - 1, (1 + NOMINAL) / 2))


def wider(data: Numbers) -> float:
    pairs = data.shape[1]
    return float(ndtr(-np.sqrt(pairs / (pairs - 1)) * quantile(data)))


def drawn(data: Numbers) -> Numbers:
    """Return the weight of each pair in each resample, the same for all experiments of one size."""
    pairs = data.shape[1]
    draw = generator("resamples", pairs)
    return draw.multinomial(pairs, [1 / pairs] * pairs, RESAMPLES).T / pairs


def resampled_ratio(above: Numbers, below: Numbers) -> Numbers:
    weights = drawn(above)
    whole = below @ weights
    return above @ weights / np.where(whole == 0, np.nan, whole)


def tails(values: Numbers, tail: float) -> Sides:
    """Return the quantiles of each row at both tails; what is NaN in it does not count."""
    ranked = np.sort(values, axis=1)
    last = np.maximum((~np.isnan(ranked)).sum(axis=1) - 1, 0)
    rows = np.arange(len(values))

    def quantile_at(share: float) -> Numbers:
        place = share * last
        under = np.floor(place).astype(int)
        low, high = ranked[rows, under], ranked[rows, np.minimum(under + 1, last)]
        return low + (place - under) * (high - low)

    return quantile_at(tail), quantile_at(1 - tail)


def generator(*ids: str | int) -> np.random.Generator:
    return np.random.default_rng(derive("coverage", *ids))


def chances(draw: np.random.Generator, mean: float, alike: float, pairs: int) -> Numbers:
    """Return the chance of a probe to be right, by experiment and pair."""
    both = 1 / alike - 1
    return draw.beta(mean * both, (1 - mean) * both, (EXPERIMENTS, pairs))


def simulated(pairs: int) -> Iterator[Trial]:
    """Yield experiments of so many simulated pairs."""
    for alike in ALIKE:
        draw = generator("simulated", pairs, str(alike))

        def scores(
            mean: float, draw: np.random.Generator = draw, alike: float = alike
        ) -> Numbers:
            return draw.binomial(PROBES, chances(draw, mean, alike, pairs)) / PROBES

        for skewed, means in SCORES.items():
            name = "score" if skewed is not None else "score near a bound"
            for mean in means:
                yield Trial(name, skewed is not False, mean, SHARE, scores(mean))
        for skewed, arms in GAINS.items():
            name = "gain" if skewed is not None else "gain near a bound"
            for arm, cold in arms:
                values = scores(arm) - scores(cold)
                yield Trial(name, skewed is not False, arm - cold, DIFFERENCE, values)
        for skewed, readers in RETENTIONS.items():
            for other, own, cold in readers:
                truth, none = (other - cold) / (own - cold), scores(cold)
                above, below = scores(other) - none, scores(own) - none
                yield Trial("retention", skewed, truth, DIFFERENCE, above, below)
        for skewed, shares in HARMS.items():
            for share, solved in shares:
                below = np.rint(scores(solved) * PROBES)
                failed = draw.binomial(below.astype(int), chances(draw, share, alike, pairs))
                yield Trial("harm", skewed, share, SHARE, failed.astype(float), below)


@dataclass(frozen=True)
class Lineages:
    """What each pair of a run has: scores by arm and family, memory tokens by generation."""

    scores: dict[tuple[str, str], Numbers]
    tokens: tuple[Numbers, Numbers]


def lineages(pairs: int) -> Lineages:
    """Run so many pairs on the surrogate, and return what each has."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp) / "runs" / "coverage"
        config = compose.load(
            [
                *("engine=surrogate", "experiment=tiny", f"experiment.lineages={pairs}"),
                *("arms.names=[inherit,cold,oracle]", "experiment.probes.dissimilar=0"),
                *(f"experiment.probes.{name}={PROBES // 2}" for name in ("same", "similar")),
                *(f"run.root={tmp}/runs", f"run.cache={tmp}/cache"),
            ]
        )
        execute(config, folder, Console(quiet=True), report=False)
        log = connect(folder)
        found = log.sql(
            "SELECT arm, family, list(value ORDER BY pair) FROM (SELECT arm, family, pair, "
            "avg(score ORDER BY step_id) AS value FROM steps WHERE kind = 'probe' GROUP BY ALL) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        tokens = log.sql(
            "SELECT list(memory_tokens::DOUBLE ORDER BY pair) FROM steps "
            "WHERE phase = 'reward' AND arm = 'inherit' GROUP BY generation ORDER BY generation"
        ).fetchall()
    scores = {(arm, family): np.array(values) for arm, family, values in found}
    before, after = (np.array(values) for (values,) in tokens)
    return Lineages(scores, (before, after))


def surrogate(of: Lineages, pairs: int) -> Iterator[Trial]:
    """Yield experiments, each of so many of the lineages."""
    draw = generator("lineages", pairs)
    places = draw.integers(0, len(of.tokens[0]), (EXPERIMENTS, pairs))

    def trial(name: str, values: Numbers, its: Range) -> Trial:
        return Trial(name, _skewed(values), float(values.mean()), its, values[places])

    varied = {place: values for place, values in of.scores.items() if values.std() > 0}
    for values in varied.values():
        yield trial("score of lineages", values, SHARE)
    for (arm, family), values in varied.items():
        cold = of.scores["cold", family]
        if arm != "cold":
            yield trial("gain of lineages", values - cold, DIFFERENCE)
        # The same arm in other worlds: what it scores is of equal distribution.
        other = values[draw.integers(0, len(values), places.shape)]
        yield Trial("null of lineages", _skewed(values), 0.0, DIFFERENCE, values[places] - other)
    for family in dict.fromkeys(family for _, family in of.scores):
        above, below = (
            of.scores[arm, family] - of.scores["cold", family] for arm in ("inherit", "oracle")
        )
        truth = float(above.mean() / below.mean())
        name = "retention of lineages"
        yield Trial(name, _skewed(above), truth, DIFFERENCE, above[places], below[places])
    before, after = of.tokens
    yield trial("tokens of lineages", after, AMOUNT)
    truth = float(after.mean() / before.mean())
    name = "tokens kept of lineages"
    yield Trial(name, _skewed(after), truth, AMOUNT, after[places], before[places])


def _skewed(values: Numbers) -> bool:
    spread = values.std()
    return bool(spread > 0 and abs(((values - values.mean()) ** 3).mean()) / spread**3 > SKEWED)


def held(method: Method, trial: Trial) -> tuple[float, float | None]:
    """Return how often the bounds of `trial` hold its truth, and how often a null is starred."""
    if trial.below is None:
        low, high = method.mean(trial.values, trial.of)
    else:
        low, high = method.ratio(trial.values, trial.below, trial.of)
        if trial.of == DIFFERENCE:
            under = method.mean(trial.below, trial.of)
            low = np.where(under[0] * under[1] > 0, low, np.nan)
    known = ~(np.isnan(low) | np.isnan(high))
    holds = (low <= trial.truth + 1e-12) & (trial.truth - 1e-12 <= high)
    actual = float(holds[known].mean()) if known.any() else float("nan")
    if trial.truth or trial.of != DIFFERENCE or trial.below is not None:
        return actual, None
    starred = method.starred
    stars = starred(trial.values, trial.of) if starred else low * high > 0
    return actual, float(stars.mean())


def measured(method: Method, trials: Iterator[Trial], pairs: int) -> list[tuple[Row, float]]:
    """Return a row a figure and kind, each with the least coverage of its cells."""
    cells: dict[tuple[str, bool], list[tuple[float, float | None]]] = {}
    for trial in trials:
        found = held(method, trial)
        if not np.isnan(found[0]):
            cells.setdefault((trial.figure, trial.skewed), []).append(found)
    rows = []
    for (figure, skewed), several in cells.items():
        actual = [one for one, _ in several]
        stars = [star for _, star in several if star is not None]
        share = round(float(np.mean(stars)), 4) if stars else None
        mean = round(float(np.mean(actual)), 4)
        rows.append((Row(figure, pairs, skewed, NOMINAL, mean, share), min(actual)))
    return rows


def fails(row: Row) -> bool:
    """Whether the row is outside what is promised."""
    if row.pairs < LEAST:
        return False
    low = row.actual < (LOWEST_SKEWED if row.skewed else LOWEST)
    # Near a bound, and of skewed figures, more than is due is no fault: they are discrete.
    high = not row.skewed and row.actual > HIGHEST
    return low or high or (row.false_stars or 0.0) > MOST_FALSE


def show(name: str, rows: list[tuple[Row, float]]) -> None:
    wrong = [row for row, _ in rows if fails(row)]
    console = Console(width=100)
    where = ", ".join(f"{row.figure} at {row.pairs}" for row in wrong[:6])
    console.print(
        f"{name}: within {LOWEST} to {HIGHEST} (skewed: {LOWEST_SKEWED} or more), false stars at "
        f"most {MOST_FALSE:.0%}, from {LEAST} pairs on: "
        + ("holds." if not wrong else f"does not hold in {len(wrong)} of {len(rows)} rows: {where}")
    )
    head = ("figure", "pairs", "skewed", "actual", "least of its cells", "false stars")
    table = Table(*head, box=None)
    for row, least in rows:
        star = "" if row.false_stars is None else f"{row.false_stars:.3f}"
        skewed, mark = "yes" if row.skewed else "no", " <" if fails(row) else ""
        actual = f"{row.actual:.3f}{mark}"
        table.add_row(row.figure, str(row.pairs), skewed, actual, f"{least:.3f}", star)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, default="published")
    parser.add_argument("--pairs", type=int, default=200, help="lineages on the surrogate; 0: none")
    parser.add_argument("--json", action="store_true", help="print the rows as a list of objects")
    options = parser.parse_args()
    method = METHODS[options.method]
    of = lineages(options.pairs) if options.pairs else None
    rows = []
    for pairs in SIZES:
        rows += measured(method, simulated(pairs), pairs)
        if of is not None:
            rows += measured(method, surrogate(of, pairs), pairs)
    rows.sort(key=lambda one: (one[0].figure, one[0].skewed, one[0].pairs))
    if options.json:
        print(json.dumps([vars(row) for row, _ in rows], indent=1))
    else:
        show(options.method, rows)


if __name__ == "__main__":
    main()
