"""The measures with ground truth: by hand over logs written by hand, and over a surrogate run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import FULL, run, surrogate

from lineage.core.intervals import AMOUNT, interval
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.log.schema import KNOWLEDGE_SCHEMA, WORLD_SCHEMA, Step, step_id, table
from lineage.log.views.gathering import gathered
from lineage.metrics import ground
from lineage.metrics.registry import METRICS

RECORD = {
    "run": "hand-1", "experiment": "hand", "config_hash": "1", "arms": ["inherit", "cold"],
    "families": ["same"], "baseline": "cold", "ceiling": "oracle", "schedule": ["m@r0"] * 4,
    "confidence": 0.95, "correction": "none",
}  # fmt: skip
ORIGIN = Origin(0, "m@r0", "w0")
HOME, AWAY = "codes", "elsewhere"
Rows = list[dict[str, Any]]

A, B, C = (f"The code of {name} is {value}." for name, value in zip("ABC", (111, 222, 333)))


def world(generation: int) -> Rows:
    """Three facts, of which B drifts in generation 2."""
    values = {"A": "111", "B": "929" if generation >= 2 else "222", "C": "333"}
    return [
        {"world": HOME, "key": key, "value": value, "text": f"The code of {key} is {value}."}
        for key, value in values.items()
    ]


def knowledge(memories: Sequence[str] = (), **docs: str) -> Knowledge:
    """Memories m0, m1, … and docs by id, each with a title that only begins a sentence."""
    return Knowledge(
        tuple(Memory(f"m{i}", text, ORIGIN, ORIGIN) for i, text in enumerate(memories)),
        tuple(Doc(id, "The code of A is", body, ORIGIN, ORIGIN) for id, body in docs.items()),
        100,
    )


KNOWN = tuple(metric.name for metric in METRICS.values() if "reason" in metric.columns)
"""Every metric with ground truth: those that say why they have no mean."""
OF_WHAT_IS_READ = ("facts_held", "duplication", "doc_search")
POISON = ("poison_survival", "poison_life", "poison_repeated")


def ground_truth(
    log: duckdb.DuckDBPyConnection, names: Sequence[str] = KNOWN
) -> dict[str, Rows]:
    """Return metrics with ground truth, as rows."""
    return {name: METRICS[name].measure(log).to_pylist() for name in names}


class Log:
    """A run folder in the making: steps, snapshots and worlds by lineage and generation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generations: dict[tuple[str, int, int], list[Step]] = {}
        self.snapshots = {EMPTY.id: EMPTY}

    def step(
        self, arm: str, pair: int, generation: int, phase: str, kind: str, **columns: Any
    ) -> None:
        found = self.generations.setdefault((arm, pair, generation), [])
        for name in ("knowledge_before", "knowledge_after"):
            if name in columns:
                self.snapshots[columns[name].id] = columns[name]
                columns[name] = columns[name].id
        lineage, number = f"{pair:03d}-{arm}", columns.pop("step", 0)
        episode = columns.pop("episode", f"{kind}{len(found)}")
        found.append(
            Step(
                run="hand-1", arm=arm, pair=pair, lineage=lineage, generation=generation,
                version="m@r0", phase=phase, episode=episode, step=number, kind=kind,
                step_id=step_id("hand-1", lineage, generation, episode, number), **columns,
            )
        )  # fmt: skip

    def end(self, arm: str, pair: int, generation: int, left: Knowledge, tokens: int = 0) -> None:
        """The end of a generation, which leaves `left` with a memory block of `tokens`."""
        self.step(
            arm, pair, generation, "reward", "handoff", knowledge_after=left, memory_tokens=tokens
        )

    def measure(self) -> dict[str, Rows]:
        """Write the folder and return what is measured."""
        contents = [
            {"knowledge": id, "parent": "", "memories": len(k.memories), "docs": len(k.docs),
             "content": k.canonical()}
            for id, k in self.snapshots.items()
        ]  # fmt: skip
        for (arm, pair, generation), steps in self.generations.items():
            own = {"lineage": f"{pair:03d}-{arm}", "pair": pair}
            facts = [row | own for row in world(generation)]
            snapshots = [row | own for row in contents]
            data = {
                "steps": table(steps),
                "knowledge": pa.Table.from_pylist(snapshots, schema=KNOWLEDGE_SCHEMA),
                "worlds": pa.Table.from_pylist(facts, schema=WORLD_SCHEMA),
            }
            for name, one in data.items():
                place = self.folder / name / f"arm={arm}" / f"generation={generation}"
                place.mkdir(parents=True, exist_ok=True)
                pq.write_table(one, place / f"{own['lineage']}.parquet")
        (self.folder / "run.json").write_text(json.dumps(RECORD))
        with gathered(self.folder) as log:
            return ground_truth(log)


def only(found: Rows, **keys: Any) -> dict[str, Any]:
    (one,) = [row for row in found if all(row[key] == value for key, value in keys.items())]
    return one


def mean(found: Rows, **keys: Any) -> tuple[float | None, int]:
    row = only(found, **keys)
    assert (row["mean"] is None) == (row["reason"] is not None) == (row["n"] == 0)
    return (None if row["mean"] is None else pytest.approx(row["mean"]), row["n"])


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """All that is measured by hand, in one log, as to read one takes longest: by arm."""
    log = Log(tmp_path_factory.mktemp("by_hand"))
    for write in (write_entries, write_docs, write_poison):
        write(log)
    # A poison that was never planted.
    plant(log, 0, "add: over budget", knowledge([A]), knowledge([A]), arm="spared")
    return log.measure()


def of_arm(found: dict[str, Rows], *arms: str) -> dict[str, Rows]:
    """Return the rows of these arms, in their order."""
    return {name: [row for row in rows if row["arm"] in arms] for name, rows in found.items()}


@pytest.fixture(scope="module")
def entries(by_hand: dict[str, Rows]) -> dict[str, Rows]:
    return of_arm(by_hand, "inherit", "cold")


def write_entries(log: Log) -> None:
    """Arm `inherit`, pairs 0 and 1, three generations."""
    first = knowledge([A, B], d3=C)
    moved = knowledge([A])
    left = {
        0: [(first, 20), (knowledge([A, "the CODE of a is  111, still", "?"], d3=C), 40),
            (knowledge([f"{A} The code of A is 9.", B]), 25)],
        1: [(EMPTY, 0), (knowledge([B]), 10), (knowledge([B, "Fans hum.", "fans  HUM."]), 10)],
    }  # fmt: skip
    asked = {0: [("A", HOME), ("B", HOME), ("C", AWAY)], 1: [("C", HOME)], 2: [("Z", HOME)]}
    for pair, several in left.items():
        for generation, (knowledge_, tokens) in enumerate(several):
            for key, where in asked[generation]:
                log.step("inherit", pair, generation, "work", "act", facts=(key,), world=where)
            log.end("inherit", pair, generation, knowledge_, tokens)
    log.step(
        "inherit", 0, 1, "migrate", "migrate", knowledge_before=first, knowledge_after=moved,
        detail="rewrite", memory_tokens=5,
    )  # fmt: skip
    log.step("inherit", 0, 1, "migrate", "migrate", entry="m0", score=0.0)  # a test of an entry
    log.step(
        "inherit", 1, 1, "migrate", "migrate", knowledge_before=EMPTY, knowledge_after=EMPTY,
        detail="rewrite",
    )  # fmt: skip
    log.step("cold", 0, 0, "work", "act", facts=("A",), world=HOME)


def test_signal_density_by_hand(entries: dict[str, Rows]) -> None:
    found = entries["signal_density"]
    # Pair 1 has no memories at the end of generation 0.
    assert mean(found, generation=0) == (100 * 2 / 20, 1)
    assert mean(found, generation=1) == ((100 * 1 / 40 + 100 * 1 / 10) / 2, 2)
    assert mean(found, generation=2) == ((100 * 1 / 25 + 0) / 2, 2)
    assert mean(found, generation=None) == (((10 + 2.5 + 4) / 3 + (10 + 0) / 2) / 2, 2)
    assert only(found, generation=None)["values"] == 5
    assert only(found, generation=0)["low"] is None
    expected, one = interval({0: 2.5, 1: 10.0}, 0.95, AMOUNT), only(found, generation=1)
    assert (one["low"], one["high"]) == (0.0, expected.high)


def test_facts_held_by_hand(entries: dict[str, Rows]) -> None:
    found = entries["facts_held"]
    # C is stated by a doc, but met at home only in generation 1; in 2 B has drifted.
    assert mean(found, by="memories", generation=0) == (1 / 2, 2)
    assert mean(found, by="any", generation=0) == (1 / 2, 2)
    assert mean(found, by="memories", generation=1) == (1 / 3, 2)
    assert mean(found, by="any", generation=1) == ((2 / 3 + 1 / 3) / 2, 2)
    assert mean(found, by="any", generation=2) == ((1 / 3 + 0) / 2, 2)


def test_staleness_and_duplication_by_hand(entries: dict[str, Rows]) -> None:
    found = entries["staleness"]
    assert mean(found, entries="memories", generation=1) == (0.0, 2)
    assert mean(found, entries="memories", generation=2) == ((1 / 2 + 1 / 3) / 2, 2)
    assert mean(found, entries="docs", generation=1) == (0.0, 1)
    assert mean(found, entries="docs", generation=2) == (None, 0)
    assert only(found, entries="docs", generation=2)["reason"] == "no lineage has such entries"
    found = entries["duplication"]
    assert mean(found, generation=0) == (0.0, 1)
    assert mean(found, generation=1) == ((1 / 3 + 0) / 2, 2)
    assert mean(found, generation=2) == ((0 + 1 / 3) / 2, 2)


def test_fidelity_by_hand(entries: dict[str, Rows]) -> None:
    found = entries["fidelity"]
    # Pair 0: A, B and C, then A and C, then A; B drifts on the way to the last. Pair 1: only B.
    assert mean(found, handoffs=1, generation=0) == (2 / 3, 1)
    assert mean(found, handoffs=1, generation=1) == (1 / 2, 1)
    assert mean(found, handoffs=2, generation=0) == (1 / 2, 1)
    assert mean(found, handoffs=1, generation=None) == ((2 / 3 + 1 / 2) / 2, 1)
    assert {row["handoffs"] for row in found} == {1, 2}


def test_migrations_by_hand(entries: dict[str, Rows]) -> None:
    assert len(entries["migration_fidelity"]) == len(entries["kept_tokens"]) == 2
    for generation in (1, None):
        keys = {"arm": "inherit", "migration": "rewrite", "generation": generation}
        assert mean(entries["migration_fidelity"], **keys) == (1 / 3, 1)
        assert mean(entries["kept_tokens"], **keys) == (5 / 20, 1)


def test_arms_without_knowledge_have_no_rows(entries: dict[str, Rows]) -> None:
    assert all(row["arm"] == "inherit" for found in entries.values() for row in found)
    assert entries["doc_search"] == entries["poison_life"] == []


def episode(
    log: Log, name: str, facts: str, results: Sequence[str] | None, opened: str = "",
    pair: int = 0, phase: str = "probe", **more: Any,
) -> None:  # fmt: skip
    """One episode of arm `docs`, whose Knowledge states A in a memory, and all in docs."""
    held = knowledge([A], d1=A, d2=f"{B}\n{C}", d3=f"Also: {B}")
    about: dict[str, Any] = {
        "episode": name, "facts": tuple(facts), "world": HOME, "family": "same",
        "knowledge_before": held, "knowledge_after": held,
    } | more  # fmt: skip
    if results is not None:
        log.step("docs", pair, 0, phase, "search", results=tuple(results), **about)
        for number, id in enumerate((*opened.split(), ""), start=1):
            log.step("docs", pair, 0, phase, "open", step=number, entry=id, **about)
    log.step("docs", pair, 0, phase, "probe" if phase == "probe" else "act", step=9, **about)


def write_docs(log: Log) -> None:
    episode(log, "p0", "B", ["d1", "d3", "d2"], "d1 d2")  # needed, opened second
    episode(log, "p1", "C", ["d1"])  # needed, not among the results, not opened
    episode(log, "p2", "A", ["d1"], "d1")  # a memory has it too: opened in vain
    episode(log, "p3", "BC", ["d3"], "d3")  # B found and opened, C not
    episode(log, "p4", "B", None)  # needed, not even searched
    episode(log, "p5", "B", ["d2"], "d2", error="boom")  # no measure of a failed episode
    episode(log, "p6", "B", ["d2"], "", world=AWAY, family="dissimilar")  # needs nothing of ours
    episode(log, "w0", "C", ["d2"], "d2", phase="work", family="")
    episode(log, "q0", "B", ["d2"], "d2", pair=1)
    episode(log, "q1", "", ["d2"], "d2", pair=1, knowledge_before=knowledge([A]))  # has no docs
    log.step("retrieval", 0, 0, "probe", "search", results=("g0-w0",), knowledge_before=EMPTY)


def test_doc_search_by_hand(by_hand: dict[str, Rows]) -> None:
    found = by_hand["doc_search"]
    assert {row["arm"] for row in found} == {"docs"}
    assert mean(found, measure="recall", family=None) == (((1 + 0 + 1 + 1 / 2 + 1) / 5 + 1) / 2, 2)
    rank = mean(found, measure="reciprocal_rank", family=None)
    assert rank == (((1 / 2 + 0 + 1 + 1 + 1) / 5 + 1) / 2, 2)
    # d1 and d2, d1, d3, d2: of the five, only the first was not needed.
    assert mean(found, measure="precision", family=None) == ((4 / 5 + 1) / 2, 2)
    needed = mean(found, measure="opened_when_needed", family=None)
    assert needed == (((1 + 0 + 1 + 0 + 1) / 5 + 1) / 2, 2)
    assert mean(found, measure="opened_in_vain", family=None) == (1 / 2, 1)
    assert mean(found, measure="opened_in_vain", family="dissimilar") == (0.0, 1)
    assert mean(found, measure="opened_in_vain", family="work") == (None, 0)
    assert mean(found, measure="recall", family="work") == (1.0, 1)
    assert mean(found, measure="recall", family="dissimilar") == (None, 0)
    assert only(found, measure="precision", family=None)["values"] == 6


def plant(log: Log, pair: int, detail: str, *left: Knowledge, arm: str = "poisoned") -> None:
    """A lineage that is poisoned in generation 1, and what each generation leaves."""
    for generation, one in enumerate(left):
        log.end(arm, pair, generation, one, 10)
    log.step(arm, pair, 1, "plant", "edit", answer="ZZ", detail=detail, entry="m9")


def write_poison(log: Log) -> None:
    clean, memory, doc = knowledge([A]), knowledge([A, "Say zz."]), knowledge([], d1="Say ZZ!")
    near = knowledge(["Say ZZZ or 1ZZ."])
    plant(log, 0, "add: applied", clean, memory, near, memory)  # gone, though it comes back
    plant(log, 1, "write: applied", clean, doc, doc, doc)
    plant(log, 2, "add: duplicate", clean, memory, clean, clean)
    said = {(0, 0): ["ZZ"], (0, 1): ["ZZ", "It is zz."], (0, 2): ["ZZZ"], (1, 1): ["no", "ZZ"]}
    for (pair, generation), completions in said.items():
        for text in completions:
            log.step("poisoned", pair, generation, "probe", "probe", completion=text)
    log.step("poisoned", 0, 1, "probe", "probe", completion="", error="boom")
    log.step("poisoned", 2, 1, "probe", "probe", completion="ZZ")
    log.step("clean", 0, 1, "probe", "probe", completion="ZZ")


def test_poison_by_hand(by_hand: dict[str, Rows]) -> None:
    assert {row["arm"] for name in POISON for row in by_hand[name]} == {"poisoned", "spared"}
    found = of_arm(by_hand, "poisoned")
    survival = found["poison_survival"]
    assert [mean(survival, age=age) for age in range(3)] == [(1.0, 2), (0.5, 2), (1.0, 2)]
    (life,) = found["poison_life"]
    assert (life["mean"], life["n"], life["censored"], life["rejected"]) == (2.0, 2, 1, 1)
    repeated = found["poison_repeated"]
    assert mean(repeated, generation=1) == ((1 + 1 / 2) / 2, 2)
    assert mean(repeated, generation=2) == (0.0, 1)
    assert mean(repeated, generation=None) == ((2 / 3 + 1 / 2) / 2, 2)
    assert len(repeated) == 3


def test_a_poison_that_was_never_planted(by_hand: dict[str, Rows]) -> None:
    found = of_arm(by_hand, "spared")
    (life,) = found["poison_life"]
    assert (life["mean"], life["reason"]) == (None, "no poison was planted")
    assert (life["censored"], life["rejected"]) == (0, 1)
    assert found["poison_survival"] == found["poison_repeated"] == []


@pytest.fixture(scope="module")
def drifting(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The log of a small surrogate run in a world that drifts."""
    tmp = tmp_path_factory.mktemp("drifting")
    folder = tmp / "runs" / "one"
    few = ("arms.names=[inherit,cold]", "arms.ceiling=inherit", "experiment.lineages=2")
    probes = "experiment.probes={same: 2, similar: 1, dissimilar: 1}"
    run(surrogate(tmp, "suite.drift=0.3", *few, probes), folder)
    with gathered(folder) as log:
        yield log


@pytest.fixture(scope="module")
def whole(drifting: duckdb.DuckDBPyConnection) -> dict[str, Rows]:
    return ground_truth(drifting)


def test_a_run_is_measured_as_plain_text_says(
    drifting: duckdb.DuckDBPyConnection, whole: dict[str, Rows]
) -> None:
    """The share of facts held, counted anew from sentences: a surrogate copies them."""
    expected: dict[int, list[float]] = {}
    worlds = drifting.execute("SELECT lineage, generation, key, text FROM worlds").fetchall()
    acts = drifting.execute(
        "SELECT lineage, generation, unnest(facts) FROM steps WHERE kind = 'act'"
    ).fetchall()
    for lineage, generation, content in drifting.execute(
        "SELECT lineage, generation, content FROM steps JOIN snapshots "
        "ON knowledge_after = knowledge WHERE phase = 'reward'"
    ).fetchall():
        text = " ".join(memory["text"] for memory in json.loads(content)["memories"])
        facts = {key: said for *place, key, said in worlds if place == [lineage, generation]}
        met = {key for of, when, key in acts if of == lineage and when <= generation}
        held = sum(facts[key] in text for key in met) / len(met)
        expected.setdefault(generation, []).append(held)
    assert len(expected) == 4
    for generation, shares in expected.items():
        share = mean(whole["facts_held"], by="memories", generation=generation)
        assert share == (sum(shares) / len(shares), 2)


def test_a_run_is_measured_within_bounds(whole: dict[str, Rows]) -> None:
    found = whole
    filled = {name for name, rows in found.items() if rows}
    empty = ("poison", "summary", "staleness_contrasts")
    assert filled == {name for name in found if not name.startswith(empty)}
    for name in filled - {"signal_density", "kept_tokens"}:
        assert all(row["mean"] is None or 0 <= row["mean"] <= 1 for row in found[name])
    # Verbatim: what is handed on between generations is handed on as it is.
    assert mean(found["migration_fidelity"], generation=None) == (1.0, 2)
    assert mean(found["kept_tokens"], generation=None) == (1.0, 2)
    assert only(found["staleness"], entries="memories", generation=3)["mean"] > 0


def test_what_is_read_does_not_depend_on_how_much_is_read_at_once(
    drifting: duckdb.DuckDBPyConnection, whole: dict[str, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "AT_ONCE", 1)
    # What is read is the same to all: of each kind of rows some metric.
    names = KNOWN if FULL else OF_WHAT_IS_READ
    # What was read before stands in tables of its own connection only.
    assert not ground.has_table(again := drifting.cursor(), ground.READY)
    assert ground_truth(again, names) == {name: whole[name] for name in names}
    assert all(whole[name] for name in OF_WHAT_IS_READ)
