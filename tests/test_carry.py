"""A real agent's memory: imported, brought to another version, handed to lineages, and back."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from helpers import FULL, OF_EACH_THEME, run, steps, surrogate
from rich.console import Console

import lineage
from lineage import compose, metrics
from lineage.cli import main
from lineage.commands.foretold import announce
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, IMPORT, Doc, Knowledge, Memory, Origin
from lineage.inspect.listing import ASKED
from lineage.markdown.folder import import_knowledge
from lineage.metrics import summarise_all
from lineage.models.counting import counter_of
from lineage.models.factory import make_engine
from lineage.models.surrogate import count_tokens
from lineage.runs.foresee import CHANGED, CUT, KEPT, Foresight, Reader, foresee
from lineage.runs.migrate import WITHOUT_HISTORY
from lineage.runs.plan import prepare

SMALL = (
    *("experiment=tiny", "experiment.lineages=1"),
    *("arms.names=[inherit,cold]", "arms.ceiling=inherit"),
)
SHOWN = {*ASKED, "memory_size"}
"""Metrics that `ls` and `show` look at."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a migration compute one of its metrics: all take longer than all else."""
    monkeypatch.setattr(metrics, "summarise_all", partial(summarise_all, names={"scores"}))


def read(folder: Path) -> Any:
    """Return the metrics that were written, by name."""
    return json.loads((folder / "metrics.json").read_bytes())["metrics"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder as agents keep them: an index of short memories, and a file a doc."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "MEMORY.md").write_text("- The code of pump Birch is 7413.\n- Use tabs.\n")
    (folder / "pumps.md").write_text("# Pump guide\nThe zone of pump Birch is north.\n")
    return folder


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def carried(tmp_path: Path, notes: Path, kind: str, *more: str) -> int:
    """Migrate `notes`; of `more`, flags begin with a dash."""
    places = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}")
    flags = [one for one in more if one.startswith("-")]
    keys = [one for one in more if not one.startswith("-")]
    # Its option by name is chosen where a folder is migrated in place: each is composed anew.
    overrides = (f"migration.kind={kind}", "engine=surrogate", *places, *keys)
    out = str(tmp_path / "out")
    return code("migrate", str(notes), out, *flags, "--to", "smollm2-135m@r1", *overrides)


def is_brought(kind: str, notes: Path, tmp_path: Path) -> Path:
    """Return the folder of the migration of `notes`, which lost nothing."""
    came, left = import_knowledge(notes), import_knowledge(tmp_path / "out")
    assert [m.id for m in left.memories] == [m.id for m in came.memories]
    assert [d.id for d in left.docs] == [d.id for d in came.docs]
    if kind == "verbatim":
        assert left == came
    (folder,) = (tmp_path / "runs").glob("*-migrate")
    (migrated,) = (row for row in steps(folder) if row["episode"] == "migrate")
    assert (migrated["detail"], migrated["version"]) == (kind, "smollm2-135m@r1")
    assert migrated["knowledge_after"] == left.id
    return folder


# What is rewritten is looked at where a secret is.
@pytest.mark.parametrize("kind", ["verbatim", "distil", *["rewrite"] * FULL])
def test_a_folder_goes_through_a_migration_and_comes_back(
    kind: str, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    names = OF_EACH_THEME if kind == "verbatim" else {"scores"}

    def some(*of: Any, **more: Any) -> dict[str, Any]:
        asked.append((len(of), more))
        return summarise_all(*of, names)

    monkeypatch.setattr(metrics, "summarise_all", some)
    assert carried(tmp_path, notes, kind) == 0
    folder = is_brought(kind, notes, tmp_path)
    # Of a log alone it asks for all, as that of each theme stands for here.
    assert asked == [(1, {})] and set(read(folder)) == set(names)


def test_a_migration_does_not_go_on_in_a_folder_that_is_there(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    places = (f"run.root={tmp_path / 'runs'}", "run.name=mine", "engine=surrogate")
    to = ("--to", "smollm2-135m@r1", *places)
    assert code("migrate", str(notes), str(tmp_path / "out"), *to) == 1
    assert "choose another run.name" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert code("migrate", str(notes), str(tmp_path / "file"), *to) == 1
    assert "no empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["verify", "rebuild"] if FULL else ["verify"])
def test_a_migration_that_needs_raw_episodes_is_refused(
    kind: str, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carried(tmp_path, notes, kind) == 1
    error = capsys.readouterr().err
    assert "needs the raw episodes" in error and error.count("\n") == 1
    assert not {"verify", "rebuild"} & {*WITHOUT_HISTORY}
    assert not (tmp_path / "out").exists()


def test_lineages_may_begin_with_imported_knowledge(notes: Path, tmp_path: Path) -> None:
    config = surrogate(tmp_path, *SMALL, f"start.folder={notes}")
    folder = tmp_path / "runs" / "imported"
    run(config, folder)
    log = steps(folder)
    first = [r for r in log if r["arm"] == "inherit" and r["generation"] == 0]
    (migrated,) = (r for r in first if r["episode"] == "migrate" and r["pair"] == 0)
    assert migrated["knowledge_before"] not in ("", EMPTY.id)
    assert all("Use tabs." in r["prompt"] for r in first if r["kind"] == "act")
    cold = [r for r in log if r["arm"] == "cold" and r["prompt"]]
    assert not any("Use tabs." in r["prompt"] for r in cold)
    record = json.loads((folder / "run.json").read_text())
    assert record["defined"]["inherit"]["receives"] == "inherit"


def test_a_start_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = f"start.folder={tmp_path / 'no'}"
    assert code("run", "engine=surrogate", missing, f"run.root={tmp_path / 'r'}") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder whose memories a small model's budget does not hold."""
    folder = tmp_path / "many"
    folder.mkdir()
    lines = (f"- Service {i} listens on port {8000 + i}.\n" for i in range(1, 66))
    (folder / "MEMORY.md").write_text("".join(lines))
    return folder


def test_a_migration_that_would_lose_entries_is_refused_and_leaves_nothing(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carried(tmp_path, many, "verbatim") == 1
    said = capsys.readouterr()
    assert "21 of 65 entries would be lost" in said.err and "--allow-drop" in said.err
    assert said.err.count("\n") == 1
    assert "of 65 entries 44 kept, 0 changed, 21 cut; memories take" in said.out
    # Here a model is asked first: what it makes of them is known only then.
    assert carried(tmp_path, many, "distil") == 1
    assert "would be lost" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "runs").exists()


def test_of_a_folder_the_top_is_kept_and_the_migration_is_a_run_to_be_read(
    many: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "summarise_all", partial(summarise_all, names=SHOWN))
    assert carried(tmp_path, many, "verbatim", "--allow-drop", "run.name=mine") == 0
    left = import_knowledge(tmp_path / "out")
    assert [memory.id for memory in left.memories] == [f"m{i}" for i in range(1, 45)]
    folder = tmp_path / "runs" / "mine"
    shown = "\n".join((
        reading(capsys, "show", str(folder), "0"),
        reading(capsys, "log", str(folder), "m65"),
        reading(capsys, "diff", str(folder), "000-inherit@0"),
    ))  # fmt: skip
    assert "what 000-inherit left: 44 memories, 0 docs" in shown
    assert "drop: overflow  m65" in shown and "0 added, 21 dropped" in shown
    listed = json.loads(reading(capsys, "ls", str(tmp_path / "runs"), "--json"))
    assert [(one["folder"], one["state"]) for one in listed["runs"]] == [("mine", "finished")]
    assert "memory tokens" in reading(capsys, "show", str(folder))
    with lineage.open(folder) as log:
        found = log.sql("SELECT memories, knowledge FROM generations").fetchall()
    assert found == [(44, left.id)]
    assert json.loads((folder / "run.json").read_text())["migration"] == "verbatim"
    assert code("resume", str(folder)) == 1
    assert "is a migration, which is not gone on with" in capsys.readouterr().err


def test_what_the_model_dropped_and_what_found_no_room_have_their_own_reasons(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carried(tmp_path, many, "distil", "--allow-drop", "run.name=mine") == 0
    _, _, became = capsys.readouterr().out.rpartition("distil to smollm2-135m@r1:")
    by_model, by_budget = "dropped by smollm2-135m@r1, to make room", "over agent.memory_budget=320"
    logged = steps(tmp_path / "runs" / "mine")
    (migrated,) = (step for step in logged if step["episode"] == "migrate")
    left = import_knowledge(tmp_path / "out")
    assert (migrated["detail"], migrated["knowledge_after"]) == ("distil", left.id)
    said = {
        step["entry"]: by_model if step["detail"] == "drop: applied" else by_budget
        for step in logged
        if step["kind"] == "edit" and step["detail"].startswith("drop: ")
    }
    assert set(said.values()) == {by_model, by_budget}
    for entry, why in said.items():
        (line,) = (one for one in became.splitlines() if one.startswith(f"{entry} "))
        assert why in line


def reading(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert code(*arguments) == 0
    return capsys.readouterr().out


def test_what_would_become_of_it_is_one_document_and_nothing_is_written(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (many / "long.md").write_text("# Long\n" + "word " * 300)
    assert carried(tmp_path, many, "verbatim", "--dry-run", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    becomes = {one["entry"]: one["what"] for one in said["entries"]}
    assert (becomes["m1"], becomes["m65"], becomes["d66"]) == (KEPT, CUT, KEPT)
    assert said["budget"] == 320 < said["tokens"] and len(becomes) == 66
    assert not (tmp_path / "out").exists() and not (tmp_path / "runs").exists()
    assert carried(tmp_path, many, "verbatim", "--dry-run", "agent.memory_budget=auto") == 0
    assert "of 307 tokens" in capsys.readouterr().out


# In two parts, so that no scanner takes this file for one that holds keys.
SECRET = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.mark.parametrize("keep", [False, True])
def test_a_secret_stays_out_of_prompts_and_log_and_comes_back(
    keep: bool, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = notes / "MEMORY.md"
    index.write_text(index.read_text() + f"- Push with {SECRET} alone.\n")
    more = ("start.secrets=keep",) if keep else ()
    assert carried(tmp_path, notes, "rewrite", *more) == 0
    assert SECRET in (tmp_path / "out" / "MEMORY.md").read_text()
    said = capsys.readouterr().out
    if keep:  # else the log has another entry in place of that one
        is_brought("rewrite", notes, tmp_path)
    (folder,) = (tmp_path / "runs").glob("*-migrate")
    with lineage.open(folder) as log:
        texts = log.sql("SELECT prompt || completion FROM steps").fetchall()
        texts += log.sql("SELECT content FROM knowledge").fetchall()
    assert any(SECRET in text for (text,) in texts) == keep
    assert "holds a secret: GitHub Token" in said and (keep or SECRET not in said)
    shown = reading(capsys, "check", str(notes))
    assert "holds a secret: GitHub Token" in shown and SECRET not in shown


def test_a_run_says_what_becomes_of_its_folder_and_is_refused_where_it_loses(
    many: Path, tmp_path: Path
) -> None:
    config = surrogate(tmp_path, "experiment=tiny", f"start.folder={many}")
    console = Console(file=StringIO(), width=120)
    with pytest.raises(LineageError, match=r"set start\.allow_drop=true"):
        announce(prepare(config), console)
    announce(prepare(replace(config, start=replace(config.start, allow_drop=True))), console)
    assert console.file.getvalue().count("verbatim to") == 2  # type: ignore[attr-defined]
    same = replace(config, start=replace(config.start, allow_drop=True))
    assert compose.config_hash(same) == compose.config_hash(config)


def test_tokens_are_counted_as_the_engine_will() -> None:
    config = compose.load(["engine=surrogate", "+engine.surrogate.skills.default.token_letters=3"])
    engine, text = make_engine(config), "Services listen."
    version = config.schedule.versions[0]
    count = counter_of(config, version)
    assert count and count(text) == asyncio.run(engine.counter(version))(text)


AGENT = compose.load(["engine=surrogate"])
BROUGHT = Origin(0, IMPORT, "MEMORY.md")


def said_of(kind: str, origin: Origin = BROUGHT, count: Any = count_tokens) -> Foresight:
    """Return what becomes of 50 memories of ten tokens and two docs, of which one is too long."""
    texts = [f"one two three four five six seven eight {i}." for i in range(1, 51)]
    memories = tuple(Memory(f"m{i}", t, origin, origin) for i, t in enumerate(texts, start=1))
    docs = (
        Doc("d51", "Short", "word", origin, origin),
        Doc("d52", "Long", "w " * 201, origin, origin),
    )
    reader = Reader(AGENT, "r1", kind, count, 2048, {"m1": ("Key",)})
    return foresee(Knowledge(memories, docs, 53), reader)


@pytest.mark.parametrize(
    ("kind", "numbers", "sure"),
    [
        ("verbatim", (31, 1, 20), True),
        ("rewrite", (1, 31, 20), False),
        ("distil", (15, 1, 36), False),
        ("none", (0, 0, 52), True),
    ],
)
def test_what_becomes_of_each_entry_is_known_before(
    kind: str, numbers: tuple[int, ...], sure: bool
) -> None:
    found = said_of(kind)
    assert tuple(len(found.of(what)) for what in (KEPT, CHANGED, CUT)) == numbers
    assert {fate.sure for fate in found.of(CUT)} == {sure}
    long = found.fates[-1]
    assert kind == "none" or (long.what == KEPT and "up to agent.doc_tokens=200" in long.why)


def test_what_a_model_wrote_may_be_said_in_less_and_what_cannot_be_counted_is_not_cut() -> None:
    written = said_of("verbatim", Origin(1, "m@r0", "h000"))
    assert not any(fate.sure for fate in written.of(CUT)) and written.of(CUT)
    unknown = said_of("verbatim", count=None)
    assert not unknown.of(CUT) and "memories take n/a tokens" in unknown.sentence


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    """A folder of Claude Code, in git."""
    folder = tmp_path / "topics"
    shutil.copytree(Path(__file__).parent / "data" / "folders" / "claude", folder)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def test_a_migration_is_written_in_place_or_as_a_patch(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    came = {path.name: path.read_bytes() for path in topics.glob("*.md")}
    places = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}")
    to = ("--to", "smollm2-135m@r1", "migration=rewrite", "engine=surrogate", *places)
    patch = tmp_path / "notes.patch"
    assert code("migrate", str(topics), "--patch", str(patch), *to) == 0
    assert {path.name: path.read_bytes() for path in topics.glob("*.md")} == came
    subprocess.run(["git", "apply", str(patch)], cwd=topics, check=True)
    patched = import_knowledge(topics)
    assert patched.memories[0].edited.version == "smollm2-135m@r1"
    assert {path.name: path.read_bytes() for path in topics.glob("*.md")} == came
    shutil.rmtree(topics / ".lineage")
    assert code("migrate", str(topics), str(topics), *to, "run.name=again") == 0
    assert import_knowledge(topics) == patched
    capsys.readouterr()
    for bad, words in (
        ((), "name either OUT or --patch"),
        ((str(topics), "--patch", str(patch)), "name either OUT or --patch"),
        ((str(topics), "--format", "cursor"), "name a new folder"),
        ((str(topics / "in"),), "name a folder outside of it"),
        ((str(tmp_path / "new"), "--format", "cursr"), "did you mean cursor"),
    ):
        assert code("migrate", str(topics), *bad, *to) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


def test_a_run_is_exported_onto_the_folder_it_began_with(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    came = {path.name: path.read_bytes() for path in topics.glob("*.md")}
    folder = tmp_path / "runs" / "imported"
    run(surrogate(tmp_path, *SMALL, f"start.folder={topics}"), folder)
    assert code("log", str(folder), "m2", "--lineage", "000-inherit") == 0
    assert "read from MEMORY.md of the folder that the run began with" in capsys.readouterr().out
    assert code("export", str(folder), str(topics), "--lineage", "000-inherit") == 0
    left = import_knowledge(topics)
    assert left.id in capsys.readouterr().out
    index = (topics / "MEMORY.md").read_text()
    assert index.startswith(came["MEMORY.md"].decode())
    assert all(
        (topics / name).read_bytes() == data for name, data in came.items() if name[0] != "M"
    )
    rules = tmp_path / "rules"
    assert code("export", str(folder), str(rules), "--format", "cursor") == 0
    assert sorted(path.name for path in rules.iterdir()) == [".cursor", ".cursorrules", ".lineage"]
    (topics / "MEMORY.md").write_text("- mine\n")
    assert code("export", str(folder), str(topics)) == 1
    assert "--replace" in capsys.readouterr().err


def test_check_says_first_what_a_folder_is(
    topics: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("check", str(topics)) == 0
    assert capsys.readouterr().out.startswith("Claude Code memory: 4 files, 3 always loaded, 3 on")
    assert code("check", str(topics), "--format", "plain") == 0
    assert capsys.readouterr().out.startswith("Markdown: 4 files, ")
    assert code("check", str(topics), "--strict") == 1
    told = capsys.readouterr()
    assert "warning: feedback_tests.md, line 3" in told.out
    assert "1 warning of" in told.err and told.err.count("\n") == 1
