"""Provenance: a run written by hand for the numbers, runs on the surrogate for the histories."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import FULL, run, steps, surrogate
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lineage import compose
from lineage.agent.prompt import escape
from lineage.commands.fork import changes, configured, find_fork, other_world
from lineage.commands.provenance import register
from lineage.core.config import Config
from lineage.core.edits import Change, Edit, Limits, apply, overflow
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge, Origin
from lineage.core.text import visible
from lineage.inspect.diff import difference, entries, words
from lineage.inspect.provenance import Help, Provenance, provenance
from lineage.inspect.snapshots import Snapshots
from lineage.log.schema import KNOWLEDGE_SCHEMA, WORLD_SCHEMA, Step, step_id, table
from lineage.log.views.connect import connect, read_record
from lineage.log.views.gathering import gathered

THREE = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1,smollm2-135m@r1]"
HOSTILE = "[red]x[/red] \x1b[31m\u202eend"
LIMITS = Limits(200, 200, 200)
VERSIONS = ("m@r0", "m@r1")
A, B = "code/pump A", "code/pump B"
# By generation: what the own world holds. Pump A drifts.
FACTS = ({A: "1111", B: "2222"}, {A: "3333", B: "2222"})
RIGHT = "The code of pump A is 1111."
# Of each generation: world, fact asked for, score of inherit, score of cold.
PROBES: tuple[tuple[tuple[str, str, float | None, float | None], ...], ...] = (
    (
        ("home", A, 1.0, 0.0),
        ("home", A, 1.0, 1.0),
        ("home", A, 1.0, None),
        ("home", B, 0.0, 1.0),
        ("elsewhere", A, 0.0, 1.0),
    ),
    (("home", A, 0.0, 1.0),),
)


class Log:
    """The steps and snapshots of one generation, as a run would log them."""

    def __init__(self, arm: str, generation: int, start: Knowledge = EMPTY) -> None:
        self.arm, self.generation, self.start = arm, generation, start
        self.now = start
        self.steps: list[Step] = []
        self.snapshots = {start.id: start}

    def step(self, phase: str, episode: str, number: int, kind: str, **more: Any) -> None:
        lineage = f"000-{self.arm}"
        id = step_id("hand-1", lineage, self.generation, episode, number)
        version = VERSIONS[self.generation]
        self.steps.append(
            Step(
                "hand-1", self.arm, 0, lineage, self.generation, version, phase, episode, number,
                id, kind, **more,
            )
        )  # fmt: skip

    def edit(self, phase: str, episode: str, *edits: Edit) -> None:
        origin = Origin(self.generation, VERSIONS[self.generation], episode)
        self.changed(phase, episode, apply(self.now, edits, origin, LIMITS))

    def changed(self, phase: str, episode: str, made: Sequence[Change]) -> None:
        for number, change in enumerate(made, start=1):
            edit = change.outcome.edit
            self.step(
                phase, episode, number, "edit", entry=change.outcome.entry,
                detail=change.outcome.detail, completion=edit.text or edit.title,
                knowledge_before=change.before.id, knowledge_after=change.after.id,
            )  # fmt: skip
            self.snapshots.setdefault(change.after.id, change.after)
            self.now = change.after

    def migrated(self, kind: str, before: Knowledge) -> None:
        about = {"knowledge_before": before.id, "knowledge_after": self.now.id}
        self.step("migrate", "migrate", 0, "migrate", detail=kind, **about)

    def probes(self) -> None:
        for number, (world, fact, mine, cold) in enumerate(PROBES[self.generation]):
            about = {"knowledge_before": self.now.id, "knowledge_after": self.now.id}
            about |= {"world": world, "task": f"{world}/{fact}", "family": "same"}
            episode = f"p{number}"
            echo = "m1" if self.arm == "inherit" and mine == 1.0 else ""
            if self.arm == "inherit" and self.now.docs:
                self.step("probe", episode, 0, "open", entry=self.now.docs[0].id, **about)
            self.step(
                "probe", episode, 1, "probe", facts=(fact,), entry=echo,
                score=mine if self.arm == "inherit" else cold, **about,
            )  # fmt: skip
        if self.arm == "inherit":
            about = {"knowledge_before": self.start.id, "knowledge_after": self.now.id}
            self.step("reward", "reward", 0, "handoff", **about)


OPEN = ExitStack()
"""The logs that are opened; they are closed after the last test."""


@cache
def opened(folder: Path) -> Snapshots:
    """Return the snapshots of a run, out of tables that are asked faster than its files: opened
    once for all tests that read it.
    """
    return Snapshots(OPEN.enter_context(gathered(folder)))


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    opened.cache_clear()
    OPEN.close()


def fork_config(run: Path, at: str, overrides: Sequence[str]) -> Config:
    """Return the configuration of the fork of `run` at the snapshot `at`, with `overrides`."""
    return configured(run, find_fork(opened(run), at), overrides)


def history() -> list[Log]:
    """Two generations: m1 is right, then stale; m2 is merged into it; m3 is dropped."""
    first = Log("inherit", 0)
    first.edit("handoff", "h0", Edit("add", text=RIGHT), Edit("add", text="pump B: ask"))
    first.edit("handoff", "h1", Edit("add", text=RIGHT), Edit("revise", id="m1", text=""))
    first.edit("handoff", "h2", Edit("add", text=HOSTILE))
    # Named so that it sorts before the memories, though it was written after them.
    first.edit("handoff", "d0", Edit("write", title="pumps", body=f"{RIGHT}\nAsk."))
    first.probes()
    second = Log("inherit", 1, first.now)
    emptied = first.now.evolve(docs=())
    second.snapshots[emptied.id] = second.now = emptied
    merge = Edit("merge", ids=("m1", "m2"), text=RIGHT + " B: ask")
    second.edit("migrate", "migrate-fit", merge)
    second.migrated("rebuild", first.now)
    second.edit("handoff", "h0", Edit("drop", id="m9"))
    dropped = overflow(second.now, lambda k: len(k.memories) < 2, frozenset({"m1"}))
    second.changed("handoff", "handoff-overflow", dropped)
    second.probes()
    cold = [Log("cold", 0), Log("cold", 1)]
    for log in cold:
        log.probes()
    return [first, second, *cold]


def build(folder: Path, logs: Sequence[Log], worlds: bool = True) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"baseline": "cold"}))
    for log in logs:
        place = f"arm={log.arm}/generation={log.generation}/000-{log.arm}.parquet"
        common = {"lineage": f"000-{log.arm}", "pair": 0}
        snapshots = [
            {
                "knowledge": k.id, "parent": k.parent, "memories": len(k.memories),
                "docs": len(k.docs), "content": k.canonical(), **common,
            }
            for k in log.snapshots.values()
        ]  # fmt: skip
        facts = [
            {
                "world": "home", "key": key, "value": value,
                "text": f"The {key.replace('/', ' of ')} is {value}.", **common,
            }
            for key, value in FACTS[log.generation].items()
        ]  # fmt: skip
        tables = {
            "steps": table(log.steps),
            "knowledge": pa.Table.from_pylist(snapshots, schema=KNOWLEDGE_SCHEMA),
            "worlds": pa.Table.from_pylist(facts, schema=WORLD_SCHEMA),
        }
        for name in ("steps", "knowledge", "worlds") if worlds else ("steps", "knowledge"):
            file = folder / name / place
            file.parent.mkdir(parents=True)
            pq.write_table(tables[name], file)
    return folder


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("hand") / "run", history())


def of(folder: Path, entry: str, lineage: str = "") -> Provenance:
    return provenance(opened(folder), read_record(folder), entry, lineage)


def told(found: Provenance) -> list[tuple[int, str, str, str]]:
    """Return generation, phase, operation and verdict of each change, oldest first."""
    events = [change.event for change in reversed(found.changes)]
    return [(e.generation, e.phase, e.op, e.verdict) for e in events]


def test_who_wrote_an_entry_and_who_changed_it(hand: Path) -> None:
    found = of(hand, "m1")
    assert (found.lineage, found.kind, found.alive, found.whole) == (
        "000-inherit", "memory", True, True,
    )  # fmt: skip
    assert found.created == Origin(0, "m@r0", "h0") and found.text == RIGHT + " B: ask"
    assert told(found) == [
        (0, "handoff", "add", "applied"),
        (0, "handoff", "revise", "empty"),
        (1, "migrate", "merge", "applied"),
    ]
    newest = found.changes[0]
    assert (newest.old, newest.new) == (RIGHT, RIGHT + " B: ask")
    assert (found.changes[1].old, found.changes[1].new) == (RIGHT, RIGHT)


def test_how_entries_end(hand: Path) -> None:
    merged, dropped, thrown = of(hand, "m2"), of(hand, "m3"), of(hand, "d4")
    assert told(merged)[-1] == (1, "migrate", "merge", "applied")
    assert merged.changes[0].event.entry == "m1" and merged.changes[0].new is None
    assert told(dropped)[-1] == (1, "handoff", "drop", "overflow")
    # No edit says so: it is the migration as a whole that threw the docs away.
    assert told(thrown) == [
        (0, "handoff", "write", "applied"),
        (1, "migrate", "rebuild", "applied"),
    ]
    assert not (merged.alive or dropped.alive or thrown.alive)


def test_use_and_help_by_hand(hand: Path) -> None:
    memory, doc = of(hand, "m1"), of(hand, "d4")
    assert (memory.use.working, memory.use.probes, memory.use.echoed) == (0, 6, 3)
    assert (doc.use.probes, doc.use.opened, doc.use.echoed) == (5, 5, 0)
    # Three probes of generation 0 ask for pump A; cold failed at one. In another world, and in
    # generation 1, the entry does not state what is asked for.
    expected = Help("cold", needed=3, n=2, with_entry=1.0, without=0.5, difference=0.5, reason=None)
    assert memory.help == expected == doc.help
    assert of(hand, "m2").help == Help(
        "cold", 0, 0, None, None, None, "no probe needed a fact that it states"
    )


def test_where_help_is_undefined_it_says_why(tmp_path: Path) -> None:
    logs = history()
    without = of(build(tmp_path / "schema1", logs, worlds=False), "m1").help
    assert without.difference is None and "no worlds" in str(without.reason)
    alone = of(build(tmp_path / "alone", logs[:2]), "m1").help
    assert (alone.needed, alone.n) == (3, 0) and "scored" in str(alone.reason)
    for log in logs[2:]:
        log.steps = [replace(step, version="other") for step in log.steps]
    other = of(build(tmp_path / "other", logs), "m1").help
    assert (other.needed, other.n, other.difference) == (3, 0, None)


def test_unknown_names_are_answered_with_the_nearest(hand: Path) -> None:
    snapshots = opened(hand)
    for ask, expected in (
        (lambda: of(hand, "m17"), "m1"),
        (lambda: of(hand, "m1", "000-inhert"), "000-inherit"),
        (lambda: of(hand, "m1", "000-cold"), "000-inherit have one"),
        (lambda: snapshots.find("000-inherit@7"), "000-inherit@1"),
        (lambda: snapshots.find("xyz"), "4 hex digits"),
        (lambda: snapshots.find(EMPTY.id[:3]), "4 hex digits"),
        (lambda: snapshots.find(EMPTY.id[:6] + "zz"), "4 hex digits"),
        (lambda: snapshots.find(EMPTY.id[:-1] + "0"), EMPTY.id),
        (lambda: snapshots.came_from(EMPTY.id), "first Knowledge"),
    ):
        with pytest.raises(LineageError) as caught:
            ask()
        assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_prefix_must_be_of_one_snapshot(tmp_path: Path) -> None:
    logs = history()
    ids = ["abcd0000000000aa", "abcd0000000000bb", "abce000000000000"]
    logs[0].snapshots |= {id: Renamed(id) for id in ids}  # type: ignore[misc]
    snapshots = Snapshots(connect(build(tmp_path / "run", logs)))
    assert snapshots.find("abce") == ids[2] and snapshots.find("ABCD0000000000a") == ids[0]
    with pytest.raises(LineageError, match="abcd0000000000aa, abcd0000000000bb"):
        snapshots.find("abcd")


class Renamed(Knowledge):
    """A snapshot whose id was chosen."""

    def __new__(cls, id: str) -> Any:
        made = replace(EMPTY, next_id=2, parent=EMPTY.id)
        made.__dict__["id"] = id
        return made


def test_the_chain_of_a_snapshot(hand: Path) -> None:
    snapshots = opened(hand)
    links = snapshots.log(snapshots.find("000-inherit@1"), "000-inherit")
    assert links[-1].knowledge == EMPTY.id and links[-1].made is None
    assert [link.made.entry if link.made else None for link in links] == [
        "m3", "m1", None, "d4", "m3", "m2", "m1", None,
    ]  # fmt: skip
    assert links[0].left_by == ("000-inherit@1",) and links[3].left_by == ("000-inherit@0",)
    assert (links[3].memories, links[3].docs) == (3, 1)


def test_what_a_generation_changed(hand: Path) -> None:
    snapshots = opened(hand)
    before, after = snapshots.came_from("000-inherit@1"), snapshots.find("000-inherit@1")
    assert before == snapshots.find("000-inherit@0")
    assert snapshots.came_from("000-inherit@0") == EMPTY.id
    old, new = snapshots.get(before), snapshots.get(after)
    assert old is not None and new is not None
    found = {d.entry: (d.change, d.origin.generation) for d in difference(old, new)}
    assert found == {
        "m1": ("revised", 1), "m2": ("dropped", 0), "m3": ("dropped", 0), "d4": ("dropped", 0),
    }  # fmt: skip


# ---- pure parts ----

TEXT = st.text(alphabet="ab 1.\n\x1b\u202e", max_size=12)
EDITS = st.lists(
    st.builds(
        Edit,
        op=st.sampled_from(["add", "revise", "merge", "drop", "write"]),
        id=st.sampled_from(["m1", "m2", "d1", "d2", "m3"]),
        ids=st.just(("m1", "m2")),
        text=TEXT,
        title=TEXT,
        body=TEXT,
    ),
    max_size=8,
)


@given(TEXT, TEXT)
def test_words_make_both_texts(old: str, new: str) -> None:
    pieces = words(old, new)
    assert "".join(piece for kind, piece in pieces if kind != "new") == old
    assert "".join(piece for kind, piece in pieces if kind != "old") == new
    assert (old == new) == all(kind == "same" for kind, _ in pieces)


def test_words_are_whole() -> None:
    assert words("is 1234 now", "is 1934 now") == (
        ("same", "is "), ("old", "1234"), ("new", "1934"), ("same", " now"),
    )  # fmt: skip


@given(EDITS, EDITS, st.booleans())
def test_a_difference_leads_from_one_to_the_other(
    first: list[Edit], second: list[Edit], by_text: bool
) -> None:
    def edited(knowledge: Knowledge, edits: list[Edit]) -> Knowledge:
        made = apply(knowledge, edits, Origin(0, "m@r0", "h0"), LIMITS)
        return made[-1].after if made else knowledge

    before = edited(EMPTY, first)
    after = edited(before, second)
    found = difference(before, after, by_text)
    if by_text:
        assert all(one.change != "revised" for one in found)
        left = {e.text for e in entries(before).values()}
        left -= {one.old for one in found if one.old}
        gained = {one.new for one in found if one.new}
        assert left | gained == {e.text for e in entries(after).values()}
        assert not left & gained
        return
    texts: dict[str, str | None] = {id: e.text for id, e in entries(before).items()}
    for one in found:
        assert texts.get(one.entry) == one.old != one.new
        texts[one.entry] = one.new
    left = {id: text for id, text in texts.items() if text is not None}  # type: ignore[assignment]
    assert left == {id: e.text for id, e in entries(after).items()}


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in visible(text))


# ---- runs on the surrogate ----


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose lineages are migrated at every generation, one of them poisoned."""
    tmp = tmp_path_factory.mktemp("real")
    arms = (
        "{inherit: {receives: inherit, migration: distil},"
        "rebuild: {receives: inherit, migration: rebuild, poisoned: true},"
        "rewrite: {receives: inherit, migration: rewrite, policy: rewrite-all}}"
    )
    config = surrogate(
        tmp,
        *("experiment.lineages=2", "experiment.episodes=3", "run.name=real", THREE),
        "agent.memory_budget=140",  # more than three generations fill, of some arms
        "experiment.probes={same: 2, similar: 0, dissimilar: 0}",
        "arms.names=[inherit,rebuild,rewrite,shuffled,cold]",
        "arms.ceiling=inherit",
        f"+arms.defined={arms}",
        "migration.when=always",
        "poison.generation=1",
        "migration.distil_share=0.2",  # too little for what one generation writes
    )
    run(config, tmp / "runs" / "real")
    return tmp / "runs" / "real"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one arm and two pairs, which a command opens in a moment."""
    tmp = tmp_path_factory.mktemp("pairs")
    config = surrogate(
        tmp,
        *("experiment=tiny", "experiment.lineages=2", THREE, "agent.memory_budget=320"),
        *("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit"),
    )
    run(config, tmp / "runs" / "pairs")
    return tmp / "runs" / "pairs"


def test_every_snapshot_descends_from_nothing_by_logged_events(real: Path) -> None:
    snapshots = opened(real)
    assert len(snapshots.left) == 2 * 3 * 3
    for place, id in snapshots.left.items():
        links = snapshots.log(id, place.lineage)
        assert links[-1].knowledge == EMPTY.id
        for link in links[:-1]:
            if link.made is None:  # rebuild empties Knowledge before its first edit
                assert place.arm == "rebuild" and link.memories == link.docs == 0
                continue
            assert link.made.lineage == place.lineage
            assert link.made.before == link.parent and link.made.verdict in ("applied", "overflow")


def test_histories_add_up(real: Path) -> None:
    snapshots, record = opened(real), read_record(real)
    verdicts = set()
    for lineage in ("000-inherit", "000-rebuild", "001-rewrite"):
        last = snapshots.get(snapshots.find(f"{lineage}@2"))
        assert last is not None
        ids = {id for k in snapshots.of_lineage(lineage).values() for id in entries(k)}
        assert len(ids) == last.next_id - 1 == len({int(id[1:]) for id in ids})
        for id in sorted(ids)[:: 2 if FULL else 3]:
            found = provenance(snapshots, record, id, lineage)
            text: str | None = None
            for change in reversed(found.changes):
                assert change.old == text
                text = change.new
                verdicts.add(change.event.verdict)
            ends = entries(last).get(found.entry)
            assert found.whole and text == (ends.text if ends else None)
            assert found.alive == (ends is not None)
            origin = found.changes[-1].event
            expected = Origin(origin.generation, origin.version, origin.episode)
            assert found.created == expected or origin.phase == "plant"
    assert {"applied", "overflow"} <= verdicts


def test_a_memory_is_counted_in_every_prompt_that_holds_it(real: Path) -> None:
    found = of(real, "m1", "000-inherit")
    texts = {escape(change.new) for change in found.changes if change.new}
    mine = [row for row in steps(real) if row["lineage"] == "000-inherit"]
    held = [row["kind"] for row in mine if texts & notes(row["prompt"])]
    assert found.use.probes > 0
    assert [found.use.working, found.use.probes] == [held.count("act"), held.count("probe")]


def notes(prompt: str) -> set[str]:
    """Return the lines of the block of memories in a prompt."""
    return set(prompt.partition("<notes ")[2].partition("</notes>")[0].splitlines())


# ---- forks ----


def test_a_fork_keeps_the_settings_of_its_run(real: Path) -> None:
    snapshots = opened(real)
    id = snapshots.find("001-rewrite@1")
    config = fork_config(real, "001-rewrite@1", ["migration=verify", "agent.memory_budget=99"])
    start = config.start
    assert (start.run, start.knowledge, start.pair, start.generation) == (str(real), id, 1, 1)
    changed = {key: new for key, _, new in changes(real, config) if not key.startswith("start.")}
    # migration.when is no choice of `verify`, so the run's own value stays.
    assert changed == {"migration.kind": "verify", "agent.memory_budget": 99, "run.name": None}
    assert not other_world(changes(real, config))
    drifting = fork_config(real, id[:8], ["suite.drift=0.5", "experiment.seed=3"])
    assert other_world(changes(real, drifting)) == ["experiment.seed", "suite.drift"]


def test_groups_that_reach_further(real: Path) -> None:
    shipped = compose.load(["arms=migrations"])
    reached = fork_config(real, "000-inherit@1", ["engine=vllm", "arms=migrations"])
    assert (reached.engine.kind, reached.engine.vllm) == ("vllm", shipped.engine.vllm)
    assert reached.arms.names == shipped.arms.names
    config = fork_config(real, "000-inherit@1", ["log.journal_steps=7", "engine=surrogate"])
    assert config.log.journal_steps == 7  # values come after groups


@pytest.mark.parametrize(
    "override, expected",
    [
        ("migration=verfy", "verify"),
        ("agent.memory_bugdet=1", "agent.memory_budget"),
        ("agent.memory_budget.x=1", "agent.memory_budget"),
        ("suite.drift=2", "between 0 and 1"),
        ("suite.drift=0.1,0.2", "sweep"),
        ("~suite.drift", "only sets"),
        ("experiment=tiny", "keeps its experiment"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_wrong_override_is_one_line(real: Path, override: str, expected: str) -> None:
    with pytest.raises(LineageError) as caught:
        fork_config(real, "000-inherit@1", [override])
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_which_of_several_generations_a_fork_is_from(real: Path, hand: Path) -> None:
    snapshots = opened(hand)
    within = snapshots.log(snapshots.find("000-inherit@1"), "000-inherit")[1].knowledge
    fork = find_fork(snapshots, within)
    # It was made by a migration: generation 0 might as well have left it.
    assert (fork.knowledge, fork.generation) == (within, 0) and "no generation" in fork.notes[0]
    cold = find_fork(opened(real), EMPTY.id)
    assert cold.generation == -1


def test_a_fork_of_one_that_many_left(tmp_path: Path) -> None:
    # Without episodes to learn from, the second generation leaves what it got.
    logs = history()
    again = Log("inherit", 1, logs[0].now)
    again.probes()
    snapshots = Snapshots(connect(build(tmp_path / "run", [logs[0], again, *logs[2:]])))
    first = find_fork(snapshots, logs[0].now.id)
    assert first.generation == 0 and "2 generations" in first.notes[0]
    second = find_fork(snapshots, "000-inherit@1")
    assert (second.generation, second.knowledge, second.notes) == (1, first.knowledge, ())


# ---- the commands ----


def command(*arguments: str) -> str:
    """Return what a command prints without a terminal."""
    parser = argparse.ArgumentParser()
    out = io.StringIO()

    def execute(
        options: argparse.Namespace, config: Config, folder: Path, console: Console
    ) -> None:
        run(config, folder)
        console.print(str(folder), soft_wrap=True)

    register(parser.add_subparsers(), execute)
    options = parser.parse_args(arguments)
    options.command(options, Console(file=out, width=80))
    return out.getvalue()


def test_log_shows_text_as_data(hand: Path) -> None:
    shown = command("log", str(hand), "m3") + command("log", str(hand), "000-inherit@0")
    shown += command("diff", str(hand), "000-inherit@1") + command("log", str(hand), "m1")
    assert shown.count("[red]x[/red]") == 5
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    assert "[-.-]" not in shown and "1111.{+ B: ask+}" in shown
    assert "revise: empty" in shown and "helped by +0.50" in shown


def test_control_characters_are_visible(tmp_path: Path) -> None:
    logs = history()
    origin = Origin(0, "m@r0\x1b]0;", "h\x07")
    raw = replace(
        logs[0].now,
        memories=(replace(logs[0].now.memories[0], text=HOSTILE, created=origin, edited=origin),),
    )
    logs[1].start = logs[1].now = raw
    logs[1].snapshots, logs[1].steps = {raw.id: raw}, []
    logs[1].probes()
    folder = build(tmp_path / "run", logs)
    shown = command("log", str(folder), "m1") + command("diff", str(folder), raw.id, EMPTY.id)
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    assert r"\x1b[31m\u202eend" in shown and "[red]x[/red]" in shown


def test_json_is_one_document(hand: Path) -> None:
    entry = json.loads(command("log", str(hand), "m1", "--json"))
    assert (entry["entry"], len(entry["changes"]), entry["help"]["n"]) == ("m1", 3, 2)
    chain = json.loads(command("log", str(hand), "000-inherit@1", "--json"))["chain"]
    assert [link["parent"] for link in chain] == [*(c["knowledge"] for c in chain[1:]), ""]
    diff = json.loads(command("diff", str(hand), "000-inherit@1", "--json"))
    assert {one["change"] for one in diff["differences"]} == {"revised", "dropped"}
    same = json.loads(command("diff", str(hand), "000-inherit@1", "000-inherit@1", "--json"))
    assert same["differences"] == [] and same["same"] == 1


def test_an_entry_of_several_lineages_is_said(pairs: Path) -> None:
    shown = command("log", str(pairs), "m1")
    assert "memory of 000-inherit" in shown and "001-inherit" in shown and "--lineage" in shown
    chosen = command("log", str(pairs), "m1", "--lineage", "001-inherit")
    assert "memory of 001-inherit" in chosen and "--lineage" not in chosen
    across = command("diff", str(pairs), "000-inherit@1", "001-inherit@1")
    assert "matched by their text" in across


def test_a_dry_fork_runs_nothing(pairs: Path) -> None:
    before = sorted(pairs.parent.iterdir())
    fork = ("fork", str(pairs), "--dry-run", "--at", "000-inherit@1", "arms.names=[inherit,cold]")
    shown = command(*fork, "agent.memory_budget=99")
    assert "agent.memory_budget: 320 → 99" in shown and "start.generation: 0 → 1" in shown
    assert sorted(pairs.parent.iterdir()) == before


def test_a_fork_goes_on_from_the_snapshot(pairs: Path) -> None:
    link = pairs.parent / "link"
    link.symlink_to(pairs.name)
    arguments = ("arms.names=[inherit,cold]", "--at", "001-inherit@0", "agent.memory_budget=200")
    folder = Path(command("fork", str(link), *arguments).splitlines()[-1])
    assert folder.name.endswith("-tiny-fork")
    config = compose.load_file(folder / "config.yaml")
    assert config.start.run == str(pairs) and config.agent.memory_budget == 200
    logged = steps(folder)
    assert {row["lineage"] for row in logged} == {"001-inherit", "001-cold"}
    assert {row["generation"] for row in logged} == {1, 2}
    forked, origin = opened(folder), opened(pairs)
    received = origin.find("001-inherit@0")
    assert forked.came_from("001-inherit@1") == received
    chain = forked.chain(forked.find("001-inherit@2"), "001-inherit")
    assert received in chain and chain[-1] == EMPTY.id
    content = origin.get(received)
    assert content is not None
    came = of(folder, content.memories[0].id)
    # Ancestors are logged with each lineage of a fork, but `cold` never had it.
    assert came.lineage == "001-inherit" and not came.whole and not came.others
    assert "came from elsewhere" in command("log", str(folder), came.entry)
    assert "made by no step" in command("log", str(folder), "001-inherit@1")


def test_each_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("log", "diff", "fork"):
        with pytest.raises(SystemExit):
            command(name, "--help")
        assert f"lineage {name} runs/latest" in capsys.readouterr().out
