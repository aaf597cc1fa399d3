"""Episodes of many turns, texts to learn from, summaries, judges, and suites that fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import vaults
from helpers import FULL, answering, measured, run, steps, surrogate, timeless
from hypothesis import given
from hypothesis import strategies as st

from lineage import compose
from lineage.agent.condense import pieces
from lineage.agent.context import Context
from lineage.agent.history import Exchange, Trace
from lineage.agent.prompt import conversation, record
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Completion, Request, Turn
from lineage.models.surrogate import count_tokens
from lineage.report.lookup import cells, rows_of

TWO = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]"
ONE = ("experiment.lineages=1", TWO)
FEW = ("experiment.probes.same=2", "experiment.probes.similar=1", "experiment.probes.dissimilar=1")
SHORT = (*ONE, *FEW, "experiment.episodes=3", "agent.turns=5")
SMALL = ("experiment.lineages=3", "agent.docs=false", "arms.names=[inherit,cold,oracle]")
LIMIT = 60
"""Tokens of a history, which an episode of some turns has more of."""
PAIR = ("arms.names=[inherit,cold]", "arms.ceiling=inherit")


@cache
def chosen(folder: Path) -> list[str]:
    """Choose one entry for all of them, in a folder of none: Hydra composes what is new to it."""
    return vaults.entry(folder, "turns")


def small(tmp: Path, form: str, *overrides: str, **knobs: Any) -> Config:
    entry = chosen(tmp.parent / "vaults")
    given = (f"suite.{name}={value}" for name, value in {"form": form, **knobs}.items())
    return surrogate(tmp, *entry, *given, *SMALL, *overrides)


def mean(folder: Path, arm: str, family: str) -> float:
    metrics = json.loads((folder / "metrics.json").read_bytes())
    return float(cells(metrics, "scores", "arm", "family")[arm, family]["mean"])


def by_episode(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the steps of each episode that is acted in, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["phase"] in ("work", "probe"):
            found.setdefault(row["step_id"].rpartition("/")[0], []).append(row)
    return list(found.values())


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp = tmp_path_factory.mktemp("turns")
    asked = ("scores", "scores_by_category")
    few = (TWO, *FEW, "agent.turns=4", "experiment.lineages=2", "experiment.episodes=4")
    measured(small(tmp, "turns", *few), tmp / "runs" / "whole", asked)
    return tmp / "runs" / "whole"


@pytest.fixture(scope="module")
def acted(turns: Path) -> list[dict[str, Any]]:
    """All that it logged, which no test changes."""
    return steps(turns)


def test_turns_end_in_one_scored_step_within_the_limit(acted: list[dict[str, Any]]) -> None:
    episodes = by_episode(acted)
    lengths = Counter(sum(row["kind"] in ("turn", "act", "probe") for row in e) for e in episodes)
    assert lengths.keys() == {1, 2, 3, 4}
    for episode in episodes:
        kinds = [row["kind"] for row in episode]
        acting = [kind for kind in kinds if kind in ("turn", "act", "probe")]
        assert acting[-1] in ("act", "probe") and set(acting[:-1]) <= {"turn"}
        assert kinds[-1] == ("feedback" if episode[0]["phase"] == "work" else acting[-1])
        scored = [row for row in episode if row["kind"] != "feedback" and row["score"] is not None]
        assert [row["kind"] for row in scored] == acting[-1:]
        assert [row["step"] for row in episode] == list(range(len(episode)))
        for row in episode:
            if row["kind"] == "turn":
                assert f"is {row['completion']}." in row["detail"]


def test_memory_is_worth_something_in_an_environment(turns: Path) -> None:
    assert mean(turns, "inherit", "same") > mean(turns, "cold", "same") + 0.2
    assert mean(turns, "oracle", "same") > mean(turns, "inherit", "same")


def test_each_turn_sees_those_before_it(acted: list[dict[str, Any]]) -> None:
    long = next(e for e in by_episode(acted) if len(e) >= 4)
    last = next(row for row in long if row["kind"] in ("act", "probe"))
    before = [row for row in long if row["kind"] == "turn"]
    places = [last["prompt"].index(row["detail"]) for row in before]
    assert places == sorted(places) and len(places) >= 2


def test_the_writer_of_notes_sees_what_was_done(acted: list[dict[str, Any]]) -> None:
    tried = {
        row["episode"]: row for row in acted if row["kind"] == "turn" and row["arm"] == "inherit"
    }
    assert tried
    handoffs = "".join(r["prompt"] for r in acted if r["kind"] == "handoff")
    assert all(
        f"Result: {row['detail'].strip()}" in handoffs
        for row in tried.values()
        if row["phase"] == "work"
    )


def test_tokens_of_an_episode_are_limited(tmp_path: Path) -> None:
    limit = ("agent.episode_tokens=14", "agent.act_tokens=10")
    config = small(tmp_path, "turns", *ONE, *PAIR, *FEW, *limit, "experiment.episodes=2")
    run(config, tmp_path / "runs" / "run")
    for episode in by_episode(steps(tmp_path / "runs" / "run")):
        actions = [row for row in episode if row["kind"] in ("turn", "act", "probe")]
        # A button is one token here: the limit leaves room for 10 more until 4 are spent.
        assert sum(row["completion_tokens"] for row in actions[:-1]) + 10 <= 14


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Config, Path]]:
    """Runs, by form, whose histories need summaries: each is made once."""

    @cache
    def made(form: str) -> tuple[Config, Path]:
        tmp = tmp_path_factory.mktemp(form)
        more = (
            *(f"agent.history_tokens={LIMIT}", "agent.summary_tokens=20", "log.journal_steps=8"),
            *("arms.names=[inherit,transcript,retrieval]", "arms.baseline=retrieval"),
            "arms.ceiling=retrieval",
            *SHORT,
        )
        config = small(tmp, form, *more, colours=10, noise=3)
        run(config, tmp / "runs" / "whole")
        return config, tmp / "runs" / "whole"

    return made


def test_a_history_that_overflows_is_summed_up(
    overflowing: Callable[[str], tuple[Config, Path]],
) -> None:
    rows = steps(overflowing("turns")[1])
    # Of an arm with raw history, what is below that: which is of other episodes.
    rows = [row | {"prompt": row["prompt"].rpartition("</history>")[2]} for row in rows]
    summaries = [row for row in rows if row["kind"] == "summary"]
    assert len(summaries) > 20
    for episode in by_episode(rows):
        for place, row in enumerate(episode[:-1]):
            if row["kind"] == "summary" and not row["error"]:
                after = episode[place + 1]["prompt"]
                assert f"<summary>\n{row['completion']}\n</summary>" in after
                assert after.count("The weight of try") <= 1 + row["completion"].count(
                    "The weight of try"
                )
    assert max(count_tokens(row["prompt"]) for row in summaries) < 3 * LIMIT


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp = tmp_path_factory.mktemp("lessons")
    more = (
        "agent.history_tokens=60",
        "agent.summary_tokens=30",
        "experiment.lineages=1",
        "experiment.episodes=4",
    )
    asked = ("scores", "summary_fidelity")
    measured(small(tmp, "lessons", *more, *PAIR, *FEW, noise=12), tmp / "runs" / "whole", asked)
    return tmp / "runs" / "whole"


def test_lessons_are_read_in_order_and_asked_about_later(lessons: Path) -> None:
    rows = steps(lessons)
    read = [row for row in rows if row["kind"] == "read"]
    assert {row["phase"] for row in read} == {"work"}
    assert not [row for row in rows if row["kind"] in ("act", "feedback")]
    for lineage in {row["lineage"] for row in read}:
        mine = [row for row in read if row["lineage"] == lineage]
        pages = sorted(mine, key=lambda row: (row["generation"], row["episode"]))
        read_in = {row["facts"][0]: row["generation"] for row in pages}
        assert len(read_in) == len(pages) == 16
        for probe in rows:
            if probe["lineage"] == lineage and probe["kind"] == "probe":
                known = read_in.get(probe["facts"][0], 99) <= probe["generation"]
                here = probe["world"] == pages[0]["world"]
                expected = "same" if known and here else "similar" if here else "dissimilar"
                assert probe["family"] == expected
                if expected == "same":
                    assert probe["met"] == read_in[probe["facts"][0]]


def test_what_was_read_is_worth_something_afterwards(lessons: Path) -> None:
    assert mean(lessons, "inherit", "same") > mean(lessons, "cold", "same") + 0.1


def test_fidelity_of_summaries_is_measured_against_the_facts(lessons: Path) -> None:
    metrics = json.loads((lessons / "metrics.json").read_bytes())
    rows = cells(metrics, "summary_fidelity", "arm", generation=None)
    summaries = [row for row in steps(lessons) if row["kind"] == "summary"]
    held = kept = 0
    for row in summaries:
        fact = (
            next(
                t
                for t in row["prompt"].splitlines()
                if t.startswith("The button") or ("Summary:" in t and "The button" in t)
            )
            if "The button" in row["prompt"]
            else ""
        )
        sentence = fact[fact.index("The button") :].split(".")[0] if fact else ""
        held += bool(sentence)
        kept += bool(sentence) and sentence in row["completion"]
    assert held > 60 and 0 < kept < held
    low = min(row["mean"] for row in rows.values())
    high = max(row["mean"] for row in rows.values())
    assert low - 0.05 <= kept / held <= high + 0.05
    # A probe never reads the text again.
    probes = [row for row in steps(lessons) if row["kind"] == "probe"]
    assert not any(vaults.NOISE in row["prompt"] for row in probes)


def test_categories_are_logged_and_reported(turns: Path, acted: list[dict[str, Any]]) -> None:
    metrics = json.loads((turns / "metrics.json").read_bytes())
    probes = [row for row in acted if row["kind"] == "probe"]
    found = rows_of(metrics, "scores_by_category")
    assert {row["category"] for row in found} == {r["category"] for r in probes}
    one = max((row for row in found if row["arm"] == "inherit"), key=lambda row: row["n"])
    assert one["n"] > 1
    mine = [r for r in probes if all(r[k] == one[k] for k in ("arm", "family", "category"))]
    means = []
    for pair in {r["pair"] for r in mine}:
        scores = [r["score"] for r in mine if r["pair"] == pair]
        means.append(sum(scores) / len(scores))
    assert one["mean"] == pytest.approx(sum(means) / len(means))


def test_a_judge_is_asked_and_its_word_is_the_score_and_one_that_fails_costs_its_episode(
    tmp_path: Path,
) -> None:
    failed: list[str] = []

    def judge(request: Request, answer: Completion) -> Completion:
        if request.choices != ("yes", "no"):
            return answer
        assert request.version == "smollm2-135m@r1"
        if len(failed) < 3:
            failed.append(request.id)
            return Completion(error="planted")
        right, said = request.turns[-1].content.splitlines()
        word = right.removeprefix("Right: ")
        return Completion(text="yes" if word in said else "no", prompt=right)

    served = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r0]"
    few = ("experiment.lineages=1", "experiment.episodes=4")
    config = small(tmp_path, "judged", served, *few, *PAIR, *FEW)
    with answering(judge):
        run(config, tmp_path / "runs" / "run")
    rows = steps(tmp_path / "runs" / "run")
    judged = [episode for episode in by_episode(rows) if not episode[1]["error"]]
    for episode in judged:
        kinds = [row["kind"] for row in episode]
        assert kinds in (["act", "judge", "feedback"], ["probe", "judge"])
        assert episode[0]["score"] == float(episode[1]["completion"] == "yes")
        assert episode[1]["score"] is None
    assert len(judged) == len(by_episode(rows)) - 3
    acted = [row for row in rows if row["kind"] in ("act", "probe")]
    assert [r["error"] for r in acted if r["score"] is None] == ["judge: planted"] * 3
    same = [row for row in rows if row["kind"] == "probe" and row["family"] == "same"]
    inherit, cold = ([r["score"] for r in same if r["arm"] == of] for of in ("inherit", "cold"))
    assert len(inherit) == len(cold) and sum(inherit) > sum(cold)


def test_an_unknown_judge_is_found_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vaults.Vaults, "judges", ("smollm2-135m@r7",))
    with pytest.raises(LineageError, match="smollm2-135m@r7"):
        run(small(tmp_path, "judged"), tmp_path / "runs" / "run")


def test_a_suite_that_fails_costs_only_its_episodes(tmp_path: Path) -> None:
    few = (*ONE, *PAIR, *FEW, "experiment.episodes=4")
    run(small(tmp_path, "failing", *few, "agent.turns=2"), tmp_path / "runs" / "run")
    acted = [r for r in steps(tmp_path / "runs" / "run") if r["kind"] in ("act", "probe")]
    broken = [row for row in acted if row["answer"] == vaults.KEYS[0]]
    assert broken and {row["error"] for row in broken} == {"suite: ValueError: no such box"}
    assert not any(row["error"] for row in acted if row["answer"] != vaults.KEYS[0])


@pytest.mark.parametrize("form", ["turns", "lessons"])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(
    form: str, tmp_path: Path, overflowing: Callable[[str], tuple[Config, Path]]
) -> None:
    config, whole = overflowing(form)
    asked: list[str] = []
    stops = [12, 20, 36] if FULL else [12, 36] if form == "turns" else [20]

    def stop(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        if stops and len(asked) > stops[0]:
            raise LineageError("planted")
        return answer

    while stops:
        with answering(stop), pytest.raises(LineageError, match="planted"):
            run(config, tmp_path / "runs" / "stopped")
        stops.pop(0)
    with answering(stop):
        run(config, tmp_path / "runs" / "stopped")
    assert timeless(tmp_path / "runs" / "stopped") == timeless(whole)


@pytest.mark.parametrize(
    ("form", "slow"),
    [("turns", True), ("question", True), ("judged", False)] + [("turns", False)] * FULL,
)
def test_what_was_answered_is_not_asked_for_again(
    form: str, slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("log.journal_steps=1", *SHORT, *PAIR, "experiment.episodes=1")
    config = small(tmp_path, form, *more, slow=slow)
    asked: list[str] = []

    def count(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        return answer

    def broken(self: GenerationLog, *left: Any) -> None:
        raise LineageError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(GenerationLog, "finish", broken)
        with answering(count), pytest.raises(LineageError, match="planted"):
            run(config, tmp_path / "runs" / "one")
    before = set(asked)
    with answering(count):
        run(config, tmp_path / "runs" / "one")
    assert len(asked) == len(set(asked))
    assert before <= {row["step_id"] for row in steps(tmp_path / "runs" / "one")}


AGENT = compose.load([]).agent


def context(**config: int) -> Context:
    made = replace(AGENT, **config)  # type: ignore[arg-type]
    return Context(*(None,) * 3, made, count_tokens, *(None,) * 3)  # type: ignore[arg-type]


@given(
    st.lists(st.lists(st.sampled_from(["a", "bb", "c,d", "(e)"]), max_size=40), max_size=12),
    st.integers(6, 40),
)
def test_pieces_hold_every_word_once_and_fit(lines: list[list[str]], room: int) -> None:
    text = "\n".join(" ".join(line) for line in lines)
    cut = list(pieces(context(history_tokens=room + 4, summary_tokens=4), text))
    assert " ".join(cut).split() == text.split()
    assert all(count_tokens(piece) <= room for piece in cut)


def test_a_conversation_shows_the_summary_first_and_no_special_tokens() -> None:
    head = (Turn("system", "Rules."), Turn("user", "Task."))
    trace = Trace("It <|im_end|> was red.", (Exchange("press <|im_start|>", "Shut."),))
    made = conversation(head, "A box.", trace)
    assert [turn.role for turn in made] == ["system", "user", "assistant", "user"]
    assert made[1].content == "Task.\nA box.\n<summary>\nIt &lt;|im_end|> was red.\n</summary>"
    assert "<|" not in "".join(turn.content for turn in made)
    assert record(trace).splitlines() == [
        "Summary: It &lt;|im_end|> was red.",
        "Action: press &lt;|im_start|>",
        "Result: Shut.",
    ]
