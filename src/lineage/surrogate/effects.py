"""What else a log says of recall and writing, for which the surrogate has no skill.

Recall: logistic regression of whether the note's value was said on all of `RECALL` at once, over
answers whose prompt held a note with the answer; writing: of whether a fact was stated whole, on
whether it was for a doc. Coefficients have a weak prior, normal with a deviation of 2.5 (after
Gelman et al. 2008), so that what parts perfectly has an end. Intervals are those of the sandwich
over pairs (Liang and Zeger 1986) with Student's t.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from lineage.surrogate.fitting import LEAST
from lineage.surrogate.outcomes import Answer, Outcome

Numbers = NDArray[np.float64]
DEVIATION = 2.5
STEPS = 50
RECALL = (
    "twice as many notes",
    "last of the notes, not first",
    "a bare sentence, nothing more",
    "a number, not a word",
    "a generation older",
)
DOC = "in a doc, not a note"
"""What recall is regressed on, and what a fact that is written may be."""
Odds = tuple[float | None, float | None, float | None, int]
"""Ratio, bounds and number of outcomes."""


@dataclass(frozen=True)
class Effect:
    """An odds ratio with its interval; None, n/a, where nothing in the log differs in that."""

    version: str
    skill: str
    what: str
    ratio: float | None
    low: float | None
    high: float | None
    outcomes: int


def effects(
    log: duckdb.DuckDBPyConnection,
    answers: Sequence[Answer],
    outcomes: Sequence[Outcome],
    confidence: float,
) -> list[Effect]:
    """Return the effects on recall and writing, by version."""
    found: list[Effect] = []
    recalled: dict[str, list[tuple[Answer, float]]] = defaultdict(list)
    for answer, age in zip(answers, _ages(log, answers), strict=True):
        if answer.source == "direct" and answer.ordered is None:
            recalled[answer.version].append((answer, age))
    for version, its in sorted(recalled.items()):
        rows = [
            (np.log2(a.notes), a.position, float(a.bare), float(a.number), age) for a, age in its
        ]
        pairs = [(a.folder, a.pair) for a, _ in its]
        said = [a.said for a, _ in its]
        several = _odds(np.array(rows), np.array(said, dtype=float), pairs, confidence)
        found += [
            Effect(version, "recall", what, *told)
            for what, told in zip(RECALL, several, strict=True)
        ]
    for version in sorted({o.version for o in outcomes}):
        written = [o for o in outcomes if o.version == version and o.skill == "write"]
        docs = np.array([[float(o.doc)] for o in written]).reshape(-1, 1)
        whole = np.array([o.success for o in written], dtype=float)
        (told,) = _odds(docs, whole, [(o.folder, o.pair) for o in written], confidence)
        found.append(Effect(version, "write", DOC, *told))
    return found


def _ages(log: duckdb.DuckDBPyConnection, answers: Sequence[Answer]) -> list[float]:
    """Return how many generations ago the note with the answer was written or edited last.

    0 where it is no memory: in a doc, or given to the arm.
    """
    asked = pa.table(
        {
            "at": list(range(len(answers))),
            "folder": [a.folder for a in answers],
            "knowledge": [a.knowledge for a in answers],
            "note": [a.note for a in answers],
            "now": [a.generation for a in answers],
        }
    )
    cursor = log.cursor()
    cursor.register("asked", asked)
    ages = [0.0] * len(answers)
    for at, age in cursor.execute(
        "SELECT a.at, a.now - max(m.edited_generation) FROM asked a JOIN memories m "
        "ON m.folder = a.folder AND m.knowledge = a.knowledge AND m.text = a.note "
        "WHERE a.note <> '' GROUP BY a.at, a.now"
    ).fetchall():
        ages[at] = float(age or 0)
    cursor.unregister("asked")
    return ages


def _odds(
    rows: Numbers, success: Numbers, pairs: Sequence[tuple[str, int]], confidence: float
) -> list[Odds]:
    """Return ratio, bounds and number of outcomes of each column of `rows`."""
    count, columns = len(success), rows.shape[1]
    told: list[Odds] = [(None, None, None, count)] * columns
    clusters, of = np.unique([f"{folder}\n{pair}" for folder, pair in pairs], return_inverse=True)
    if count < LEAST or len(clusters) < 2:
        return told
    varies = [c for c in range(columns) if np.ptp(rows[:, c]) > 0]
    if not varies:
        return told
    known = rows[:, varies]
    design = np.column_stack([np.ones(count), known - known.mean(axis=0)])
    # The level is what it is: the prior is on differences alone.
    prior = np.diag([1e-6, *[DEVIATION**-2] * len(varies)])
    at = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = expit(design @ at)
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + prior
        step = np.linalg.solve(bend, design.T @ (success - chance) - prior @ at)
        at += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            break
    scores = np.zeros((len(clusters), design.shape[1]))
    np.add.at(scores, of, design * (success - expit(design @ at))[:, None])
    inverse = np.linalg.inv(bend)
    spread = inverse @ (scores.T @ scores * len(clusters) / (len(clusters) - 1)) @ inverse
    # Where all outcomes are alike the scores say nothing, and the prior does.
    error = np.sqrt(np.maximum(np.diag(spread), np.diag(inverse) if np.ptp(success) == 0 else 0))
    half = stdtrit(len(clusters) - 1, (1 + confidence) / 2) * error
    for place, column in enumerate(varies, start=1):
        low, mid, high = np.exp(at[place] + half[place] * np.array((-1, 0, 1)))
        told[column] = (float(mid), float(low), float(high), count)
    return told
