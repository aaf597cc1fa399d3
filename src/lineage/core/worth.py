"""What each entry of a memory is worth, and what to do with it. Pure.

A note that answers two of sixty tasks cannot move the mean of all of them beyond chance. So an
entry is judged on the tasks that it is about, which its words tell before anything is asked: what
it said, what was answered, what was right, and what changed where it was left out. The interval
over all tasks is there too, and entries are tested together (false discovery rate: Benjamini and
Hochberg 1995): it tells of harm to tasks that an entry is not about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lineage.core.intervals import DIFFERENCE, Interval, interval, paired_difference, stars
from lineage.core.verdict import CORRECTION, Scores

KEEP, REVISE, DROP = "keep", "revise", "drop"


@dataclass(frozen=True)
class Evidence:
    """What is known of one entry; tasks are told by their numbers.

    It is `about` tasks, and `holds` the right answer of some of them; some were answered wrongly by
    what it says (`misled`). `rivals` are other entries that say something else of the same, and
    `settled` are tasks of `misled` or `about` whose right answer such another entry holds.
    `repeats` is an earlier entry that says the same, "" for none. `left_out` are the scores where
    it alone was left out; None where it was only in a group, whose leaving out moved no task that
    the group is about.
    """

    entry: str
    is_doc: bool
    tokens: int
    about: tuple[int, ...] = ()
    holds: tuple[int, ...] = ()
    misled: tuple[int, ...] = ()
    settled: tuple[int, ...] = ()
    rivals: tuple[str, ...] = ()
    repeats: str = ""
    left_out: Scores | None = None


@dataclass(frozen=True)
class Worth:
    """What an entry is worth and what to do with it.

    `on_about` is what the mean score of the tasks that it is about loses without it, None where it
    is about none or was not left out alone; `overall` is the same of all tasks. `real`: the latter
    is beyond chance. `marks` are `stale`, `contradicted`, `unused`, `repeated`.
    """

    of: Evidence
    on_about: float | None
    overall: Interval | None
    real: bool
    advice: str
    why: str
    marks: tuple[str, ...] = field(default=())


def weigh(found: Sequence[Evidence], with_all: Scores, confidence: float) -> list[Worth]:
    """Return what each entry of `found` is worth; `with_all` are the scores with all of them."""
    drops = {
        one.entry: paired_difference(with_all, one.left_out)
        for one in found
        if one.left_out is not None
    }
    overall = {e: interval(d, confidence, DIFFERENCE) for e, d in drops.items() if d}
    real = stars([(one.p, one.n) for one in overall.values()], confidence, CORRECTION)
    is_real = dict(zip(overall, real, strict=True))
    return [
        _weighed(one, with_all, drops.get(one.entry), overall.get(one.entry),
                 is_real.get(one.entry, False))
        for one in found
    ]  # fmt: skip


def _weighed(
    one: Evidence,
    with_all: Scores,
    drop: Mapping[int, float] | None,
    overall: Interval | None,
    real: bool,
) -> Worth:
    on_about = None
    if drop is not None and (told := [drop[task] for task in one.about if task in drop]):
        on_about = sum(told) / len(told)
    right = any(with_all.get(task, 0.0) > 0 for task in one.about)
    advice, why, marks = _advice(one, on_about, overall if real else None, right)
    return Worth(one, on_about, overall, real, advice, why, marks)


def _advice(
    one: Evidence, on_about: float | None, sure: Interval | None, right: bool
) -> tuple[str, str, tuple[str, ...]]:
    """Return what to do, why, and the marks; `sure` is what it is worth overall, where real.

    `right`: a task that it is about was answered rightly, at least in part.
    """
    if one.rivals and not one.holds and one.about and set(one.about) <= set(one.settled):
        said = f"{', '.join(one.rivals)} says otherwise, and is right"
        return DROP, said, ("stale", "contradicted")
    if one.misled and not one.holds:
        return REVISE, f"{_tasks(one.misled)} answered by it, wrongly", ("contradicted",)
    if one.misled:
        said = f"{_tasks(one.misled)} answered by it, wrongly; others need it"
        return REVISE, said, ("contradicted",)
    if sure is not None and sure.mean < 0:
        return DROP, "without it the score is higher, beyond chance", ()
    if one.repeats:
        return DROP, f"says what {one.repeats} says", ("repeated",)
    if not one.about:
        if sure is not None:
            return KEEP, "no task is about it, but without it the score is lower", ()
        said = "no task is about it, and none needs it"
        return (KEEP, f"{said}; a doc costs nothing unopened", ("unused",)) if one.is_doc else (
            DROP, said, ("unused",)
        )  # fmt: skip
    if on_about is not None and on_about > 0:
        return KEEP, f"needed on {_tasks(one.about)}", ()
    if right:
        return KEEP, "right with it, and without it too", ()
    if one.holds:
        denied = f"; {', '.join(one.rivals)} says otherwise" if one.rivals else ""
        return KEEP, f"holds the answer, and is not used{denied}", ("unused",)
    return REVISE, f"about {_tasks(one.about)}, and holds the answer of none", ("unused",)


def _tasks(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} task{'' if len(numbers) == 1 else 's'}"


def halves(group: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the two halves of a group of entries, the larger first; of one entry nothing."""
    middle = (len(group) + 1) // 2
    return (tuple(group[:middle]), tuple(group[middle:])) if len(group) > 1 else ()


def groups(
    entries: Sequence[str], related: frozenset[str], size: int, singly: int
) -> list[tuple[str, ...]]:
    """Return which entries are left out together at first.

    Those that no task is about come in groups of `size`: that a whole group is needed by nobody
    takes one look (Dorfman 1943, "The Detection of Defective Members of Large Populations"). Those
    that are `related` to some task mostly matter, and a group that matters costs more looks than
    its members; so up to so many of them go `singly`.
    """
    rest = [one for one in entries if one not in related]
    near = [one for one in entries if one in related]
    step = 1 if len(near) <= singly else size
    parts = [(near[i : i + step]) for i in range(0, len(near), step)]
    parts += [rest[i : i + size] for i in range(0, len(rest), size)]
    return [tuple(part) for part in parts]
