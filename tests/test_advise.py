"""What to do with a memory at an upgrade: the verdict, the entries, and the way to them."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from helpers import FULL
from rich.console import Console

from lineage import compose, metrics
from lineage.cli import main
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.core.power import tasks_needed
from lineage.core.tasks import Task
from lineage.core.verdict import Kind, Measured, Rules, judge
from lineage.core.worth import Evidence, groups, halves, weigh
from lineage.inspect.listing import ASKED
from lineage.models.protocol import Completion, Request, Turn
from lineage.models.remember import Remember
from lineage.models.surrogate import Surrogate
from lineage.report import receipt as report_receipt
from lineage.report.receipt import receipt_html, receipt_sheets
from lineage.runs.advise import advised, investigate, without
from lineage.runs.evidence import Probe, about, gather
from lineage.runs.plan import prepare
from lineage.runs.receipt import receipt
from lineage.suites.drafts import draft

ROOT = Path(__file__).resolve().parents[1]
RULES = Rules(margin=0.1, confidence=0.95, power=0.8)
VERSIONS = ("--from", "smollm2-135m@r0", "--to", "smollm2-135m@r1")
BY = Origin(0, "import", "MEMORY.md")


def scores(right: int, of: int = 60) -> dict[int, float]:
    """The first `right` of so many tasks were answered rightly."""
    return {number: float(number < right) for number in range(of)}


def measured(
    old_without: int, old: int, bare: int, as_it_is: int, of: int = 60, **migrated: int
) -> Measured:
    found = {name: scores(right, of) for name, right in migrated.items()}
    four = (scores(right, of) for right in (old_without, old, bare, as_it_is))
    return Measured(*four, found)


@pytest.mark.parametrize(
    ("found", "kind", "by"),
    [
        (measured(5, 30, 5, 40, rewrite=41, distil=30), Kind.KEEP, ""),
        (measured(5, 30, 5, 40, rewrite=55, distil=50), Kind.MIGRATE, "rewrite"),
        (measured(5, 30, 30, 10, rewrite=50, distil=31), Kind.MIGRATE, "rewrite"),
        (measured(5, 30, 30, 31, rewrite=45, distil=45), Kind.MIGRATE, "rewrite"),
        (measured(5, 30, 30, 10, rewrite=30), Kind.REBUILD, ""),
        (measured(5, 30, 30, 31, rewrite=29), Kind.REBUILD, ""),
        (measured(5, 5, 30, 10, rewrite=30), Kind.ANEW, ""),
        (measured(5, 6, 30, 30, rewrite=31), Kind.ANEW, ""),
        (measured(60, 60, 60, 60, rewrite=60), Kind.ANEW, ""),
        (measured(1, 2, 1, 4, of=6, rewrite=3), Kind.UNKNOWN, ""),
        (measured(0, 4, 0, 4, of=4), Kind.UNKNOWN, ""),
        (measured(0, 0, 30, 34, rewrite=33), Kind.UNKNOWN, ""),
    ],
)
def test_every_verdict_can_be_reached(found: Measured, kind: Kind, by: str) -> None:
    verdict = judge(found, RULES)
    assert (verdict.kind, verdict.by) == (kind, by)
    assert verdict.told_by is not None
    assert (verdict.more > 0) == (kind == Kind.UNKNOWN)
    real = verdict.told_by.real
    assert real if kind in (Kind.KEEP, Kind.MIGRATE) else True
    if kind == Kind.MIGRATE:
        assert verdict.told_by.of == by and verdict.told_by.better


def test_a_verdict_names_no_gain_that_the_tasks_do_not_tell() -> None:
    few = judge(measured(0, 4, 0, 4, of=4), RULES)
    assert few.kind == Kind.UNKNOWN, "four of four may be chance"
    # More tasks of the same kind tell what few could not.
    assert judge(measured(0, 40, 0, 40, of=40), RULES).kind == Kind.KEEP
    nothing = judge(Measured({}, {}, {}, {0: 1.0}, {}), RULES)
    assert (nothing.kind, nothing.told_by) == (Kind.UNKNOWN, None)
    unasked = judge(Measured({}, {}, scores(5), scores(40), {}), RULES)
    assert unasked.kind == Kind.KEEP, "without the old version's answers the new one's tell"


def test_how_many_tasks_it_takes() -> None:
    half = [1.0, 0.0] * 50
    # (1.95996 + 0.84162)² x 0.25253 / 0.01
    assert tasks_needed(half, 0.1, 0.95, 0.8) == 199
    assert tasks_needed(half, 0.2, 0.95, 0.8) == 50
    # That no task of 60 differs leaves room for 3 in 60 that do.
    assert tasks_needed([0.0] * 60, 0.1, 0.95, 0.8) == 40
    assert tasks_needed([1.0], 0.1, 0.95, 0.8) == 785
    with pytest.raises(ValueError, match="needs a difference"):
        tasks_needed([], 0.1, 0.95, 0.8)


def test_what_each_entry_is_worth() -> None:
    right = scores(10, 20)
    lower = {**right, **dict.fromkeys(range(9), 0.0)}
    higher = dict.fromkeys(range(20), 1.0)
    found = [
        Evidence("m1", False, 9, (0,), (0,), left_out=right | {0: 0.0}),
        Evidence("m2", False, 9, (0,), (), (0,), (0,), ("m1",), left_out=right),
        Evidence("m3", False, 9, (11,), (), (11,), left_out=right),
        Evidence("m4", False, 9),
        Evidence("d5", True, 90),
        Evidence("m6", False, 9, (12,), (12,), left_out=right),
        Evidence("m7", False, 9, (1,), (1,), left_out=right),
        Evidence("m8", False, 9, (1,), (1,), repeats="m7", left_out=right),
        Evidence("m9", False, 9, (13,), (), left_out=right),
        Evidence("m10", False, 9, (), left_out=lower),
        Evidence("m11", False, 9, (1,), (1,), left_out=higher),
        Evidence("m12", False, 9, (2, 14), (2,), (14,), left_out=right),
    ]
    weighed = {one.of.entry: one for one in weigh(found, right, 0.95)}
    assert {id: one.advice for id, one in weighed.items()} == {
        "m1": "keep",
        "m2": "drop",
        "m3": "revise",
        "m4": "drop",
        "d5": "keep",
        "m6": "keep",
        "m7": "keep",
        "m8": "drop",
        "m9": "revise",
        "m10": "keep",
        "m11": "drop",
        "m12": "revise",
    }
    assert weighed["m1"].on_about == 1.0 and weighed["m4"].on_about is None
    assert weighed["m2"].marks == ("stale", "contradicted")
    assert weighed["m6"].marks == weighed["d5"].marks == ("unused",)
    assert weighed["m10"].real and weighed["m11"].real and not weighed["m1"].real


def test_groups_are_of_what_no_task_is_about() -> None:
    ids = [f"m{number}" for number in range(1, 8)]
    some = frozenset(("m2", "m5"))
    assert groups(ids, some, 3, 10) == [("m2",), ("m5",), ("m1", "m3", "m4"), ("m6", "m7")]
    assert groups(ids, frozenset(ids), 3, 4) == [tuple(ids[:3]), tuple(ids[3:6]), ("m7",)]
    assert halves(("m1", "m3", "m4")) == (("m1", "m3"), ("m4",))
    assert halves(("m1",)) == ()


def knowledge(*texts: str, doc: str = "") -> Knowledge:
    memories = tuple(Memory(f"m{n}", text, BY, BY) for n, text in enumerate(texts, 1))
    docs = (Doc("d9", "Sheet of the machines", doc, BY, BY),) if doc else ()
    return EMPTY.evolve(memories=memories, docs=docs)


def test_whose_wrong_answer_it_is() -> None:
    came = knowledge(
        "The port of staging is 8080.",
        "The port of staging is 9090.",
        "The owner of billing is Ann.",
        "Lunch is at noon.",
        doc="The port of production is 443.\nThe owner of staging is 9090.",
    )
    tasks = [
        Task("t/0", "t", "What is the port of staging?", "8080"),
        Task("t/1", "t", "Who is the owner of billing?", "Bob"),
        Task("t/2", "t", "What is the port of production?", "443"),
    ]
    near = about(came, tasks, 0.5)
    assert near == {"m1": (0,), "m2": (0,), "m3": (1,), "m4": (), "d9": (2,)}
    said = ("It is 9090. Lunch is at noon.", "I do not know.", "It is 443.")
    probes = {n: Probe(float(n == 2), text, ("d9",), 0, 0, 0) for n, text in enumerate(said)}
    found = {one.entry: one for one in gather(came, tasks, near, probes, {}, len)}
    assert found["m2"].misled == (0,) and found["d9"].misled == ()
    assert found["m2"].rivals == ("m1",) and found["m2"].settled == (0,)
    assert found["m1"].holds == (0,) and found["m2"].holds == found["m3"].holds == ()
    assert found["m3"].misled == (), "what is not said is nobody's"


def test_drafts_ask_for_what_is_said_and_for_a_gap_in_it() -> None:
    came = knowledge(
        "The port of staging is 8080.", "Never push to main.", doc="Deploys take 9 min."
    )
    rows = {row["id"]: row for row in draft(came)}
    assert rows["m1-1"]["prompt"] == "What is the port of staging?"
    assert rows["m1-1"]["answer"] == "8080"
    assert "____" in rows["m1-1-kin"]["prompt"] and rows["m1-1-kin"]["answer"] == "port"
    assert {row["category"] for row in rows.values()} == {"m1", "m2", "d9"}
    for row in rows.values():
        assert row["answer"].lower() not in row["prompt"].lower().split()


def test_what_is_asked_twice_is_answered_once() -> None:
    config = compose.load(["engine=surrogate"])

    class Counting(Surrogate):
        asked = 0
        fails = 0

        async def generate(self, request: Request) -> Completion:
            self.asked += 1
            await asyncio.sleep(0)
            if self.fails:
                self.fails -= 1
                return Completion(error="lost")
            return await super().generate(request)

    def request(id: str, seed: int = 0) -> Request:
        return Request(id, "v", (Turn("user", "What?"),), 8, 0.0, seed)

    async def ask() -> None:
        engine = Counting(config.engine.surrogate)
        layer = Remember(engine)
        found = await asyncio.gather(*(layer.generate(request(str(n))) for n in range(5)))
        assert len({one.text for one in found}) == 1 and engine.asked == 1
        await layer.generate(request("other", seed=1))
        assert engine.asked == 2
        engine.fails = 1
        assert (await layer.generate(request("lost", seed=2))).broken
        assert not (await layer.generate(request("again", seed=2))).broken

    asyncio.run(ask())


def write_tasks(file: Path, *rows: dict[str, str]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def config_of(tmp: Path, *overrides: str) -> list[str]:
    # The groups in the order of the command, for which they are composed then.
    return [
        "suite=jsonl",
        "engine=surrogate",
        f"run.root={tmp / 'runs'}",
        f"run.cache={tmp / 'cache'}",
        *overrides,
    ]


def test_where_none_works_every_task_is_a_probe(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "answer": str(n), "world": f"w{n % 3}"} for n in range(7)]
    file = write_tasks(tmp_path / "t.jsonl", *rows)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "MEMORY.md").write_text("- One is 1.\n- Two is 2.\n")
    config = compose.load(config_of(tmp_path, f"suite.path={file}"))
    config = advised(config, tmp_path / "notes", "smollm2-135m@r0", "smollm2-135m@r1")
    job = prepare(config)
    (plan,) = plans(job.suite, config.experiment, 1, 0)
    assert not plan.work and len(plan.probes) == 7
    assert {one.task.prompt for one in plan.probes} == {row["prompt"] for row in rows}
    assert [arm.name for arm in job.arms][-2:] == ["rewrite", "distil"]
    with pytest.raises(LineageError, match=r"without names 'm9'.*did you mean|choose from"):
        prepare(without(config, {"less": ["m9"]}, "verbatim"))
    with pytest.raises(LineageError, match="name two versions"):
        advised(config, tmp_path / "notes", "smollm2-135m@r1", "smollm2-135m@r1")
    # What is left out decides what is logged; where nothing is, the key says nothing.
    assert compose.config_hash(without(config, {"less": ["m1"]}, "verbatim")) != (
        compose.config_hash(without(config, {"less": ["m2"]}, "verbatim"))
    )
    defined = compose.identity(config)["arms"]["defined"].values()
    assert all("without" not in arm for arm in defined)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark that plants bad notes, with a smaller folder."""
    name = "benchmark_receipt"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "receipt.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    module.MEMORIES, module.DOCS, module.TASKS = 14, 3, 16
    module.STALE = module.WRONG = module.USELESS = 2
    return module


def test_planted_notes_are_found(tmp_path: Path, bench: ModuleType) -> None:
    planted = bench.plant(tmp_path / "notes", tmp_path / "t.jsonl", 0)
    config = compose.load(config_of(tmp_path, f"suite.path={tmp_path / 't.jsonl'}"))
    old, new = "smollm2-135m@r0", "smollm2-135m@r1"
    config = advised(config, tmp_path / "notes", old, new)
    looked = investigate(prepare(config), tmp_path / "runs" / "one", Console(file=io.StringIO()))
    found = receipt(looked, "notes", old, {})
    told = bench.compare(found, planted)
    assert told["planted"] == 8
    assert told["recall"] >= 0.75 and told["precision"] >= 0.75, told
    assert found["verdict"]["kind"] == "keep"
    dropped = set(found["advice"]["drop"])
    assert dropped and dropped.isdisjoint({entry.id for entry in looked.left.entries})
    assert len(looked.left.entries) == len(found["entries"]) - len(dropped)
    page = receipt_html(found)
    assert found["verdict"]["sentence"].replace(">", "&gt;") in page and "STAND-IN" in page
    assert page.count("<figure>") == 1 and "migrated by rewrite" in page
    assert page.count("<table") == len(receipt_sheets(found)) > 1


def lineage(*words: str) -> int:
    with pytest.raises(SystemExit) as done:
        main([*words])
    code = done.value.code
    assert isinstance(code, int)
    return code


def test_a_newcomer_has_a_receipt_in_three_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if not FULL:  # the metrics of its run, of which none is looked at, take longer than all else
        monkeypatch.setattr(metrics, "summarise_all", partial(metrics.summarise_all, names=ASKED))
        monkeypatch.setattr(report_receipt, "memory_by_version", lambda scores: None)
    notes = tmp_path / "notes"
    notes.mkdir()
    lines = [f"The code of pump {name} is {n}." for n, name in enumerate(("Ash", "Elm", "Fir"), 41)]
    (notes / "MEMORY.md").write_text("".join(f"- {line}\n" for line in (*lines, "Tea is at four.")))
    assert lineage("check", "notes") == 0
    assert lineage("advise", "notes") == 0
    said = capsys.readouterr().out
    assert "lineage advise notes --tasks notes.tasks.jsonl --from" in said
    # It is never overwritten, and the line to use instead is told.
    assert lineage("advise", "notes") == 1
    assert "--tasks notes.tasks.jsonl" in capsys.readouterr().err
    assert lineage("advise", "notes", "--tasks", "notes.tasks.jsonl") == 1
    assert f"--tasks notes.tasks.jsonl {' '.join(VERSIONS)}" in capsys.readouterr().err
    drafted = [json.loads(line) for line in Path("notes.tasks.jsonl").read_text().splitlines()]
    kept = [row for row in drafted if row["category"] != "m4"]
    # Rows without what a world or a scorer needs are read, and a bad one stops nothing.
    rows = [{"prompt": row["prompt"], "answer": row["answer"]} for row in kept]
    write_tasks(tmp_path / "t.jsonl", *rows, {"prompt": "What?"})
    words = ("advise", "notes", "--tasks", "t.jsonl", *VERSIONS, "engine=surrogate")
    (tmp_path / "none.jsonl").write_text('{"prompt": "What?"}\n')
    assert lineage(*words, "--tasks", "none.jsonl") == 1
    assert '{"prompt": "What is the port of staging?", "answer"' in capsys.readouterr().err
    assert lineage(*words, "run.name=first", "--apply", "p.patch") == 0
    said = capsys.readouterr().out
    assert "1 rows or worlds left out" in said and "STAND-IN" in said and "receipt.html" in said
    run = tmp_path / "runs" / "first"
    found = json.loads((run / "receipt.json").read_text())
    assert (
        found["verdict"]["sentence"] in " ".join(said.split()) and (run / "receipt.html").exists()
    )
    assert found["advice"]["drop"] == ["m4"]
    assert found["cost"]["completions"] > 0 and found["cost"]["money"] is None
    assert {"verify", "rebuild"}.isdisjoint(row["arm"] for row in found["arms"])
    assert "migrations verify and rebuild" in found["left_out"] and found["history"] == 0
    assert lineage("ls") == 0 and lineage("show", "runs/first") == 0
    subprocess.run(["git", "apply", "../p.patch"], cwd=notes, check=True)
    assert "Tea" not in (notes / "MEMORY.md").read_text()
    assert lines[2] in (notes / "MEMORY.md").read_text()
