"""What a reader is shown: the answer first, n/a, stars, pairs, the engine, the provenance."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lineage.metrics import METRICS
from lineage.report.answer import answer, explained
from lineage.report.headline import banner, provenance
from lineage.report.run_text import show_summary
from lineage.report.sheet import Sheet, bounds, counted, gained, share, starred
from lineage.report.tables import inherited, more, scores

Cell = dict[str, Any]
NOTHING: Cell = {"mean": None, "low": None, "high": None, "n": 0}


def cell(mean: float, low: float | None, high: float | None, n: int = 12, **more: Any) -> Cell:
    sided = low is not None and high is not None and low * high > 0
    return {"mean": mean, "low": low, "high": high, "n": n, "excludes_zero": sided, **more}


def defined(**arms: dict[str, Any]) -> dict[str, dict[str, Any]]:
    plain = {"policy": "edit", "migration": "verbatim", "versions": ["m@r0", "m@r0", "m@r1"]}
    return {name: plain | {"receives": name} | arm for name, arm in arms.items()}


def made(arms: dict[str, dict[str, Any]], **figures: Any) -> dict[str, Any]:
    """A summary of these arms without any figure but `figures`."""
    empty: dict[str, Any] = {
        "run": "hand-1", "schedule": ["m@r0", "m@r0", "m@r1"], "confidence": 0.95,
        "engine": "vllm", "origin": {}, "arms": list(arms), "defined": defined(**arms),
        "families": ["same", "similar", "dissimilar"], "baseline": "cold", "ceiling": "oracle",
        "stars": {},
    }  # fmt: skip
    totals = ("pairs", "episodes", "steps", "errors", "prompt_tokens", "completion_tokens")
    metrics = {
        "scores": [{"arm": arm, "family": "same", **cell(0.5, 0.4, 0.6)} for arm in arms],
        "costs": [{"arm": arm, "cost": "prompt_tokens", **cell(10, 9, 11)} for arm in arms],
        "totals": [dict.fromkeys(totals, 1) | {"seconds": 90.0}],
    }
    metrics |= {name: figures.pop(name) for name in METRICS if name in figures}
    return empty | figures | {"metrics": metrics}


def gain(arm: str, family: str, *interval: Any, told: bool = True, n: int = 12) -> Cell:
    return {"inherited": told, "arm": arm, "family": family, **cell(*interval, n=n)}


def pooled(arm: str, *interval: Any, **more: Any) -> Cell:
    return {"arm": arm, "family": "same", **cell(*interval, **more)}


def contrast(arm: str, over: str, *interval: Any) -> Cell:
    return {"arm": arm, "over": over, "family": "same", **cell(*interval)}


# cells


def test_two_pairs_earn_no_star_and_five_do() -> None:
    assert gained(cell(0.75, 0.75, 0.75, n=2)) == "+0.75 [0.75, 0.75] "
    assert gained(cell(0.75, 0.75, 0.75, n=5)) == "+0.75 [0.75, 0.75]*"
    assert gained(cell(0.75, -0.1, 0.9, n=50)).endswith(" ")


def test_what_the_measures_say_of_a_star_holds() -> None:
    assert not starred(cell(0.5, 0.4, 0.6, starred=False))
    assert starred(cell(0.5, 0.4, 0.6, starred=True))


def test_what_was_not_computed_is_never_empty() -> None:
    for write in (gained, bounds, share):
        assert write(None) == write(NOTHING) == "n/a"


@pytest.mark.parametrize(
    ("counts", "head", "last", "note"),
    [
        ([[6, 6], [6]], ("a", "b"), "x", "n = 6 pairs in every cell"),
        ([[1, 0]], ("a", "b"), "x", "n = 1 pair in every cell"),
        ([[6, 6], [5, 5]], ("a", "b", "n"), "6", "n: pairs"),
        ([[6, 4], [5, 5]], ("a", "b", "n"), "6 4", "n: pairs, cell by cell"),
    ],
)
def test_a_table_says_how_many_pairs_are_behind_it(
    counts: list[list[int]], head: tuple[str, ...], last: str, note: str
) -> None:
    sheet = counted(Sheet("t", ("a", "b"), (("y", "x"),) * len(counts)), counts)
    assert (sheet.head, sheet.rows[0][-1], sheet.note) == (head, last, note)


# the headline


def upgraded() -> dict[str, Any]:
    """A run as `experiment=upgrade`: arms of other versions than the baseline's."""
    versions = {"r0-r1": ["m@r0", "m@r0", "m@r1"], "r1-r0": ["m@r1", "m@r1", "m@r0"]}
    old, new = ["m@r0"] * 3, ["m@r1"] * 3
    arms = {
        **{arm: {"receives": "inherit", "versions": of} for arm, of in versions.items()},
        "r0-r0": {"receives": "inherit", "versions": old},
        "r1-r1": {"receives": "inherit", "versions": new},
        "cold-r1": {"receives": "cold", "versions": new},
    }

    def crossed(writer: str, reader: str, retention: Cell) -> list[Cell]:
        some = cell(0.9, 0.8, 1.0)
        names = {"arm": f"{writer}-{reader}", "writer": f"m@{writer}", "reader": f"m@{reader}"}
        found = {"score": some, "gain": some, "retention": retention}
        return [{**names, "family": "same", "measure": m, **its} for m, its in found.items()]

    return made(
        arms,
        baseline="cold-r1",
        ceiling="r1-r1",
        inheritance_gain=[pooled("r1-r1", 0.9, 0.8, 1.0, share_of_possible=1.0, share_reason=None)],
        upgrade_matrix=[*crossed("r0", "r1", cell(0.91, 0.79, 1.1)), *crossed("r1", "r0", NOTHING)],
    )


def test_an_arm_of_other_versions_has_no_gain_and_not_no_star() -> None:
    sheet = scores(upgraded())
    rows = {row[0]: row[1] for row in sheet.rows}
    assert rows["r0-r1"] == "0.50 [0.40, 0.60] n/a"
    assert rows["r1-r1"] == "0.50 [0.40, 0.60]*"
    assert rows["cold-r1"] == "0.50 [0.40, 0.60] "
    assert "served by other versions than cold-r1; see writer x reader" in sheet.note
    assert "versions by arm" in sheet.title
    # Nor is it said to be nothing where retention is undefined, or no harm could be done.
    (of_upgrade,) = (s for s in more(upgraded()) if s.title.startswith("upgrade"))
    assert of_upgrade.rows[1][-2:] == ("n/a", "n/a")


def test_no_cell_of_any_table_is_empty() -> None:
    arms = {"inherit": {}, "cold": {}, "oracle": {}}
    share_of = {"share_of_possible": None, "share_reason": "the interval holds 0"}
    equal = made(arms, inheritance_gain=[pooled("inherit", 0.1, 0, 1, **share_of)])
    for summary in (upgraded(), equal):
        for sheet in (scores(summary), *more(summary)):
            assert all(cell for row in sheet.rows if any(row) for cell in row), sheet.title
            assert "n = " in sheet.note or "n" in sheet.head
    assert "of possible n/a: same tasks, the interval holds 0" in scores(summary).note


def test_generation_0_stands_apart_from_those_that_inherited() -> None:
    rows = [
        gain("inherit", "same", 0.4, 0.3, 0.5, told=False),
        gain("inherit", "same", 0.7, 0.6, 0.8),
    ]
    sheet = inherited(made({"inherit": {}, "cold": {}}, gain_by_inheritance=rows))
    assert [(row[0], row[2]) for row in sheet.rows] == [
        ("0", "+0.40 [0.30, 0.50]*"),
        ("1-2", "+0.70 [0.60, 0.80]*"),
    ]
    assert "generation 0 inherits nothing" in sheet.note
    only = made({"inherit": {}, "cold": {}}, gain_by_inheritance=rows[:1])
    assert not inherited(only).rows, "where nothing was inherited, nothing is said to profit"
    assert answer(only) != answer(made({"inherit": {}, "cold": {}}, gain_by_inheritance=rows))


def test_stars_by_chance_and_probes_without_a_score_stand_below_the_scores() -> None:
    arms = {"inherit": {}, "cold": {}}
    stars = {"inheritance_gain": {"cells": 27, "by_chance": 1.35, "correction": "holm"}}
    lost = [{"arm": "inherit", "family": "same", "overlong": 3, "missing": 0}]
    note = scores(made(arms, stars=stars, unscored=lost)).note
    assert "of 27 gains 1.4 would have a star by chance (correction: holm)" in note
    assert "inherit same 3 + 0" in note
    lost[0]["overlong"] = 0
    assert "over-long" not in scores(made(arms, unscored=lost)).note


# where figures come from


def test_the_stand_in_is_marked_and_vllm_is_not() -> None:
    assert banner("surrogate", ["smollm2-135m@r0", "smollm2-135m@r1"]) == (
        "STAND-IN: a deterministic behavioural model, no language model; figures say nothing "
        "about smollm2-135m"
    )
    assert banner("vllm", ["m@r0"]) == banner(None, ["m@r0"]) == ""
    assert "on surrogate (stand-in)" in scores(made({"cold": {}}, engine="surrogate")).title
    assert "hand-1 on vllm: " in scores(made({"cold": {}})).title


def test_one_line_says_where_figures_come_from_and_what_nobody_noted() -> None:
    origin = {
        "commit": "0123456789abcdef", "dirty": True, "began": 1_700_000_000.0, "others": 0.031,
        "machine": {"processor": "Toy 9000", "cores": 2, "memory_gib": 8},
        "engine": {"kind": "vllm", "device": "cpu", "dtype": "bfloat16"}, "command": "lineage run",
    }  # fmt: skip
    line = provenance(made({"cold": {}}, origin=origin))
    assert line == (
        "commit 0123456 (dirty); 2023-11-14; Toy 9000, 2 cores, 8 GiB; engine vllm, device cpu, "
        "precision bfloat16; 1.5 minutes; other work 3%; command: lineage run"
    )
    old = provenance(made({"cold": {}}, engine=None))
    parts = ("commit", "date", "machine", "engine", "device", "precision", "other work", "command:")
    assert all(f"{part} n/a" in old for part in parts)


# the answer first

INHERIT = {"inherit": {}, "cold": {}, "oracle": {}}


def test_what_an_inheritance_is_worth() -> None:
    gains = [
        gain("inherit", "same", 0.65, 0.58, 0.7),
        gain("inherit", "similar", -0.3, -0.4, -0.2),
        gain("inherit", "dissimilar", 0.0, -0.02, 0.02),
        gain("inherit", "same", 0.1, 0.05, 0.2, told=False),
        gain("oracle", "same", 1.0, 0.9, 1.0),
    ]
    held = [
        {"arm": "inherit", "generation": 0, "version": "m@r0", "measure": "docs", **cell(3, 2, 4)}
    ]
    assert answer(made(INHERIT, gain_by_inheritance=gains, memory_size=held)) == (
        "Inheriting memories and docs raised the score over cold by +0.65 [0.58, 0.70] on same "
        "tasks; it lowered the score under cold by -0.30 [-0.40, -0.20] on similar tasks; it made "
        "no measurable difference on dissimilar tasks (+0.00 [-0.02, 0.02]) (12 pairs)."
    )
    two = [gain("inherit", "same", 0.75, 0.75, 0.75, n=2)]
    few = answer(made(INHERIT, gain_by_inheritance=two))
    assert few.startswith("Inheriting memories changed") and "too few pairs to tell" in few
    assert "(2 pairs)" in few


def test_which_arm_is_best_and_what_inherit_is_worth_over_parts_of_it() -> None:
    arms = {"inherit": {}, "memories": {}, "transcript": {}, "cold": {}, "oracle": {}}
    gains = [
        gain("inherit", "same", 0.6, 0.5, 0.7),
        gain("memories", "same", 0.5, 0.4, 0.6),
        gain("transcript", "same", 0.7, 0.6, 0.8),
        gain("oracle", "same", 0.9, 0.8, 1.0),
    ]
    found = [
        contrast("inherit", "memories", 0.1, 0.05, 0.15),
        # The other way round, as a run has it whose arms stand in another order.
        contrast("transcript", "inherit", 0.1, -0.05, 0.25),
    ]
    assert answer(made(arms, gain_by_inheritance=gains, contrasts=found)) == (
        "transcript gained most over cold on same tasks: +0.70 [0.60, 0.80] (12 pairs). There "
        "inherit scored -0.10 [-0.25, 0.05] (no measurable difference) against transcript and "
        "+0.10 [0.05, 0.15] against memories."
    )
    assert "n/a against memories" in answer(made(arms, gain_by_inheritance=gains))


def test_what_an_upgrade_keeps() -> None:
    assert answer(upgraded()) == (
        "On same tasks what r0 wrote kept 91% [79, 110] of its worth to r1 and what r1 wrote kept "
        "n/a of its worth to r0 (which gains nothing measurable from its own), against what the "
        "reader wrote itself (12 pairs)."
    )


def test_which_migration_keeps_most_after_the_last_handoff() -> None:
    kinds = ("verbatim", "rewrite", "none")
    arms = {kind: {"receives": "inherit", "migration": kind} for kind in kinds} | {"cold": {}}

    def kept(measure: str, arm: str, k: int, mean: float) -> Cell:
        return {"measure": measure, "arm": arm, "k": k, **cell(mean, mean - 0.1, mean + 0.1)}

    rows = [
        kept("score", "none", 1, 0.99), kept("score", "verbatim", 8, 1.0),
        kept("score", "rewrite", 8, 0.8), kept("score", "none", 8, 0.1),
        kept("tokens", "rewrite", 8, 0.5),
    ]  # fmt: skip
    assert answer(made(arms, ceiling="verbatim", kept=rows)) == (
        "After 8 handoffs rewrite kept most: 80% [70, 90] of the gain that verbatim has on same "
        "tasks, and 50% [40, 60] of the tokens of the memories (12 pairs)."
    )
    assert "n/a" in answer(made(arms, ceiling="verbatim"))


def test_which_policy_scores_and_keeps_fresh() -> None:
    arms = {kind: {"receives": "inherit", "policy": kind} for kind in ("append", "edit")}
    stale = {"arm": "append", "over": "edit", **cell(0.05, 0.02, 0.08)}
    summary = made(
        arms | {"cold": {}},
        contrasts=[contrast("append", "edit", 0.01, -0.1, 0.12)],
        staleness_contrasts=[stale],
    )
    assert answer(summary) == (
        "On same tasks edit scored -0.01 [-0.12, 0.10] (no measurable difference) against append "
        "and had -5 [-8, -2] points of stale memories (12 pairs)."
    )


def test_how_long_a_poisoned_entry_lives() -> None:
    arms = {kind: {"receives": "inherit", "migration": kind} for kind in ("verbatim", "verify")}
    lives = [
        {"arm": "verbatim", **cell(4.0, 4.0, 4.0, n=6)},
        {"arm": "verify", **cell(1, 0, 2, n=6)},
    ]
    found = answer(made(arms | {"cold": {}}, poison_life=lives))
    assert found == (
        "A poisoned entry lived 1.00 [0.00, 2.00] generations under verify and 4.00 [4.00, 4.00] "
        "generations under verbatim (longest) (6 pairs)."
    )


def test_without_a_gain_the_answer_says_why() -> None:
    found = answer(made({"cold": {}, "other": {"versions": ["m@r9"] * 3}}))
    assert found.startswith("Gain over cold: n/a, no arm is served by the versions of cold.")
    first = made(INHERIT, inheritance_gain=[pooled("inherit", 0.4, 0.3, 0.5)])
    assert "no generation that inherited" in answer(first)


def test_only_the_arms_and_families_that_occur_are_explained() -> None:
    line = explained(made({"verify": {"receives": "inherit"}, "cold": {}}))
    assert line.startswith("verify: reads the memories and docs that were handed over; cold: ")
    assert "dissimilar: tasks of another world" in line and "oracle" not in line


def test_the_terminal_begins_with_the_warning_and_the_answer_at_80_columns() -> None:
    arms = INHERIT
    gains = [gain("inherit", "same", 0.65, 0.58, 0.7)]
    out = io.StringIO()
    summary = made(arms, engine="surrogate", gain_by_inheritance=gains)
    show_summary(summary, Console(file=out, width=80))
    text = " ".join(out.getvalue().split())
    assert text.startswith("STAND-IN: a deterministic behavioural model")
    assert text.index("+0.65 [0.58, 0.70]") < text.index("hand-1 on surrogate (stand-in)")
    assert "commit n/a" in text
    assert max(map(len, out.getvalue().splitlines())) <= 80
