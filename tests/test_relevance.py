"""Relevance: how much of a query notes and docs cover, and the gate that is fitted on it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from helpers import FULL, run, surrogate
from hypothesis import given
from hypothesis import strategies as st

from lineage.cli import main
from lineage.compose import config_hash
from lineage.core.errors import LineageError
from lineage.inspect import gate as gate_module
from lineage.inspect.gate import Search, fit, searches
from lineage.search.relevance import Passages

NOTES = ("The code of pump Birch is 4711.", "The code of valve Elder is")
DOCS = (
    (
        "d1",
        "valve Elder, pump Ash",
        "The code of valve Elder is 12.\nThe zone of pump Ash is north.",
    ),
    ("d2", "pump Birch", "The code of pump Birch is 4711."),
    ("d3", "people", "Anna likes tea."),
)
IDS = tuple(id for id, _, _ in DOCS)


def test_a_doc_is_worth_what_its_best_line_covers_and_no_note_does() -> None:
    passages = Passages(NOTES, DOCS)
    worth = passages.worth("What is the code of valve Elder?", IDS)
    assert worth == {"d1": 1.0, "d2": 0.0, "d3": 0.0}  # the note of it was cut off
    assert passages.worth("What is the code of pump Birch?", IDS) == dict.fromkeys(IDS, 0.0)


def test_what_notes_and_docs_cover_is_told_apart() -> None:
    noted, shares = Passages(NOTES, DOCS).coverage("What is the code of pump Birch?", IDS)
    assert noted == shares["d2"] == 1.0
    assert 0 < shares["d1"] < 1
    assert shares["d3"] == 0.0


def test_a_word_that_nobody_wrote_down_lowers_what_is_covered() -> None:
    passages = Passages((), DOCS)
    known = passages.worth("zone of pump Ash", IDS)["d1"]
    unknown = passages.worth("zone of pump Ash in Oslo", IDS)["d1"]
    assert known == 1.0
    assert 0 < unknown < known
    for gate, opened in ((unknown, True), (known, False)):
        assert ("d1" in passages.through("zone of pump Ash in Oslo", IDS, gate)) is opened


def test_words_of_several_lines_do_not_add_up() -> None:
    lines = [("d1", "", "The code of pump Ash is 3.\nThe zone of valve Elder is north.")]
    parted = Passages((), lines).worth("zone of pump Ash", ["d1"])["d1"]
    one = [("d1", "", "The code of pump Ash is 3. The zone of valve Elder is north.")]
    assert parted < Passages((), one).worth("zone of pump Ash", ["d1"])["d1"] == 1.0


@given(
    st.lists(st.text(), max_size=3),
    st.lists(st.text(), min_size=1, max_size=3),
    st.text(),
    st.floats(0, 1),
)
def test_any_text_has_a_share_and_the_gate_parts_by_it(
    notes: list[str], bodies: list[str], query: str, gate: float
) -> None:
    docs = [(f"d{number}", body[:5], body) for number, body in enumerate(bodies)]
    ids, passages = [id for id, _, _ in docs], Passages(notes, docs)
    worth = passages.worth(query, ids)
    assert all(0 <= share <= 1 + 1e-9 for share in worth.values())
    through = passages.through(query, ids, gate)
    assert set(through) == {id for id in ids if worth[id] > 0 and worth[id] >= gate}
    assert [worth[id] for id in through] == sorted((worth[id] for id in through), reverse=True)


def _search(pair: int, worth: float, right: bool, needed: bool) -> Search:
    return Search(pair, "m@r0", worth, right, needed, opened=True, opened_right=right)


def test_the_threshold_parts_what_is_needed_from_what_is_not() -> None:
    found = [
        _search(pair, worth, right, right)
        for pair in range(6)
        for worth, right in ((0.8, True), (0.62, True), (0.41, False), (0.0, False))
    ]
    fitted = fit(found, 0.95)
    assert fitted.threshold == 0.6  # the highest that still lets 0.62 through
    held, run = fitted.held_out, fitted.as_run
    assert held.when_needed and held.in_vain and run.in_vain
    assert (held.when_needed.mean, held.in_vain.mean, run.in_vain.mean) == (1.0, 0.0, 1.0)
    assert fitted.by_threshold[0.0].in_vain.mean == 0.5  # type: ignore[union-attr]
    assert (fitted.searches, fitted.needed, fitted.pairs) == (24, 12, 6)


@pytest.mark.parametrize("needed", [True, False])
def test_nothing_is_fitted_where_one_kind_of_episode_is_missing(needed: bool) -> None:
    with pytest.raises(LineageError, match="needed a doc: nothing can be fitted"):
        fit([_search(0, 0.5, needed, needed)], 0.95)


SMALL = (
    *("agent.docs=true", "experiment.lineages=2", "arms.names=[inherit]"),
    *("agent.memory_budget=96", "arms.baseline=inherit", "arms.ceiling=inherit"),
    "schedule.versions=[smollm2-135m@r0,smollm2-135m@r0,smollm2-135m@r1]",
    *("experiment.probes.same=2", "experiment.probes.similar=2", "experiment.probes.dissimilar=1"),
    f"experiment.episodes={6 if FULL else 4}",
)


def test_a_run_by_the_gate_opens_what_is_needed_and_little_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for opening, pairs in (("first", 1 + FULL), ("gate", 2)):
        few = (f"agent.opening={opening}", f"experiment.lineages={pairs}")
        run(surrogate(tmp_path, *SMALL, *few), tmp_path / opening)
    # The same is asked twice: as a document, and as text with a picture.
    read = cache(searches)
    monkeypatch.setattr(gate_module, "searches", read)
    first = fit(searches(tmp_path / "first"), 0.95).as_run
    with pytest.raises(SystemExit):
        main(["gate", str(tmp_path / "gate"), "--json"])
    document = json.loads(capsys.readouterr().out)
    gate = document["as_run"]
    assert first.in_vain and first.when_needed
    assert gate["in_vain"]["mean"] < 0.5 < first.in_vain.mean == 1.0
    assert min(gate["when_needed"]["mean"], first.when_needed.mean) > 0.85
    # What the log says of any run at a threshold is what a run by that threshold opens.
    told = document["by_threshold"]["0.05"]["in_vain"]
    assert told["mean"] == pytest.approx(gate["in_vain"]["mean"])
    assert re.fullmatch(r"0\.95", str(document["confidence"]))

    with pytest.raises(SystemExit) as ended:
        main(["gate", str(tmp_path / "gate"), "--picture", str(tmp_path / "gate.svg")])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and read.cache_info().hits == 1
    assert said.startswith(f"A gate of {document['threshold']:g} opens the needed doc in")
    assert "<svg" in (tmp_path / "gate.svg").read_text()
    with pytest.raises(LineageError, match="no search of m@none"):
        searches(tmp_path / "first", "m@none")


def test_a_version_opens_by_a_gate_of_its_own(tmp_path: Path) -> None:
    few = ("experiment.lineages=1", "experiment.episodes=6")
    config = surrogate(tmp_path, *SMALL, *few, "agent.opening=gate")
    versions = dict(config.model.versions)
    versions["smollm2-135m@r1"] = replace(versions["smollm2-135m@r1"], gate=1.0)
    own = replace(config, model=replace(config.model, versions=versions))
    assert config_hash(own) != config_hash(config)
    run(own, tmp_path / "own")
    found = searches(tmp_path / "own", "smollm2-135m@r1")
    worths = [one.worth for one in found if one.opened]
    # By the gate of all versions it would open these too.
    assert any(config.agent.gate <= one.worth < 1.0 for one in found)
    assert worths and all(worth == 1.0 for worth in worths)
