"""Damaged run folders, and what somebody else's may name: one line, no traceback, no waiting."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import damage
import pytest
import yaml
from helpers import FULL, measured, surrogate
from test_bad_input import fails

import lineage
from lineage import compose
from lineage.cli import main
from lineage.commands.fork import Fork, configured
from lineage.core.errors import LineageError
from lineage.core.names import LATEST
from lineage.inspect import comparison
from lineage.inspect.listing import ASKED
from lineage.metrics import current
from lineage.report import run_text, write

TINY = (
    *("experiment=tiny", "experiment.lineages=1"),
    *("arms.names=[inherit,cold]", "arms.ceiling=inherit"),
)
WAIT_S = 120
"""So long a command may take before it counts as one that hangs."""
READERS = ("open", "show a generation", "log", "compare", "show", "report")
"""What reads the log."""
ASIDE = {
    "metrics.json": READERS[:4],
    ".lock": (*READERS, "ls"),
    "done/000-inherit-g00.json": READERS,
}
"""What each of these is nothing to."""
LIKE = (damage.empty, damage.torn, damage.junk)
"""Damages that leave a file unreadable in one way."""

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its metrics, that tests copy."""
    tmp = tmp_path_factory.mktemp("one")
    measured(surrogate(tmp, *TINY), tmp / "runs" / "one", ASKED)
    return tmp / "runs" / "one"


@pytest.fixture
def spoilt(one: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(one, tmp_path / "runs" / "spoilt"))


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def opened(run: Path) -> None:
    with lineage.open(run) as log:
        log.execute("SELECT count(*) FROM memories").fetchall()


def commands(good: Path) -> dict[str, Callable[[Path], None]]:
    """Return what reads a run folder, by name: called as the command line calls it."""
    return {
        "ls": lambda run: main(["ls", str(run.parent)]),
        "open": opened,
        "compact": lambda run: main(["compact", str(run)]),
        "resume": lambda run: main(["resume", str(run)]),
        "report": lambda run: main(["report", str(run)]),
        "show": lambda run: main(["show", str(run)]),
        "show a generation": lambda run: main(["show", str(run), "0"]),
        "log": lambda run: main(["log", str(run), "m1"]),
        "compare": lambda run: main(["compare", str(run), str(good)]),
    }


def outcome(command: Callable[[Path], None], run: Path) -> str:
    """Return what a command says on stderr, "" where it is done; anything else is raised."""
    with within(WAIT_S):
        try:
            command(run)
        except LineageError as error:
            return f"lineage: {error}\n"
        except SystemExit as stopped:
            return "" if stopped.code == 0 else "?"
    return ""


@pytest.fixture
def unmeasured(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let metrics be what they were: to compute and show them takes long, and reads no other
    file.
    """
    told = json.loads((one / "metrics.json").read_bytes())

    def summarised(run: Path, names: Collection[str]) -> dict[str, Any]:
        opened(run)  # as `summarise` does before it measures
        return dict(told)

    monkeypatch.setattr(current, "summarise", summarised)
    monkeypatch.setattr(write, "summarise_all", lambda log: {"": dict(told)})
    monkeypatch.setattr(run_text, "show_summary", lambda summary, console: None)
    monkeypatch.setattr(comparison, "_measured", lambda logs, shared: ({}, {}, {}))


def said_of(
    every: dict[str, Callable[[Path], None]],
    name: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Return the one line that a command says of a damaged run, which names it, or ""."""
    capsys.readouterr()
    said = outcome(every[name], run)
    said = capsys.readouterr().err if said == "?" else said
    assert said == "" or (said.startswith("lineage: ") and said.count("\n") == 1), said
    assert not said or "spoilt" in said, f"{name}: {said}"
    return said


@pytest.mark.parametrize("given", [("show", "RUN"), ("compare", "RUN", "one")])
def test_a_file_that_is_whole_only_at_its_ends_names_the_run(
    given: tuple[str, ...], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(one, tmp_path / "spoilt"))
    for file in run.glob("steps/*/*/*.parquet"):
        # All but what says which columns there are: DuckDB's own words name no file.
        data = bytearray(file.read_bytes())
        footer = int.from_bytes(data[-8:-4], "little") + 8
        data[4:-footer] = b"\xff" * (len(data) - footer - 4)
        file.write_bytes(bytes(data))
    with pytest.raises(SystemExit):
        main([{"RUN": str(run), "one": str(one)}.get(word, word) for word in given])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(run) in said, said


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("file", damage.FILES)
def test_whatever_is_damaged_is_named_in_one_line(
    file: str, one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each damage meets a command, by turns; `full` has all commands, and all that is alike."""
    found, every, first = Counter[str](), commands(one), damage.FILES.index(file)
    turns = [name for name in every if name not in ASIDE.get(file, ())]
    parquet = file.endswith(".parquet")
    harms = [harm for harm in damage.DAMAGES if parquet or harm is not damage.broken]
    if not FULL:
        # To nest is nothing to a file that is no text.
        like = {*LIKE, damage.deep} if parquet else {*LIKE}
        # Nor is a folder a file: who looks before he opens, lest a pipe hold him, meets it there.
        like |= {damage.folder} if first % 2 and file != ".lock" else set()
        harms = [harm for harm in harms if harm not in like or harm is LIKE[first % len(LIKE)]]
    for number, harm in enumerate(harms):
        names = dict.fromkeys(every if FULL else (turns[(first + number) % len(turns)],))
        if harm is damage.pipe:
            # Who opens one waits for its other end.
            names |= {"resume": None}
        for name in names:
            run = Path(shutil.copytree(one, tmp_path / f"{number}-{name}" / "spoilt"))
            harm(run / file)
            found["line" if said_of(every, name, run, capsys) else "done"] += 1
    assert found["done"] and sum(found.values()) >= len(harms)
    # What nothing reads may be whatever it is.
    assert found["line"] or file == "metrics.json", found


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("name", READERS)
def test_what_lies_beside_the_log_stops_no_reader_of_it(
    name: str, one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, harms = READERS.index(name), damage.DAMAGES[:-1]
    for number in range(first, first + (len(harms) if FULL else 1)):
        run = Path(shutil.copytree(one, tmp_path / str(number) / "spoilt"))
        for place, (file, readers) in enumerate(ASIDE.items()):
            # Of all that are damaged each in another way: a pipe is among them by turns.
            if name in readers:
                harms[(number + 3 * place) % len(harms)](run / file)
        assert said_of(commands(one), name, run, capsys) == ""


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("name", ["steps", "knowledge", "done", "journal"])
def test_a_file_in_place_of_a_folder_is_one_line(
    name: str, spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(spoilt / name, ignore_errors=True)
    (spoilt / name).write_text("")
    # Who shows a run looks into no journal.
    for command in ("resume",) if name == "journal" and not FULL else ("show", "resume"):
        with pytest.raises(SystemExit) as stopped:
            main([command, str(spoilt)])
        said = capsys.readouterr().err
        assert stopped.value.code == 0 or said.count("\n") == 1, said


def evil(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file by which is known that a module of somebody else was imported."""
    told = folder / "imported"
    (folder / "evil_suite.py").write_text(f"open({str(told)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(folder))
    return told


def edited(folder: Path, **nodes: dict[str, object]) -> None:
    file = folder / "config.yaml"
    tree = yaml.load(file.read_text(), yaml.CSafeLoader)  # in C: far faster than `safe_load`
    for node, values in nodes.items():
        tree[node] |= values
    file.write_text(yaml.dump(tree, Dumper=yaml.CSafeDumper))


@pytest.mark.parametrize("command", ["ls", "show", "report", "compact", "resume"])
def test_a_suite_of_somebody_else_is_not_imported(
    command: str,
    spoilt: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = evil(tmp_path, monkeypatch)
    edited(spoilt, suite={"_target_": "evil_suite.Suite"})
    if command == "resume":
        said = fails(capsys, command, str(spoilt))
        assert "'evil_suite.Suite'" in said and f"lineage resume {spoilt} --trust" in said
        assert not told.exists()
        # Whoever says so means it.
        assert "evil_suite" in fails(capsys, command, str(spoilt), "--trust") and told.exists()
        return
    with pytest.raises(SystemExit) as stopped:
        main([command, str(spoilt.parent if command == "ls" else spoilt)])
    assert stopped.value.code == 0, capsys.readouterr().err
    assert not told.exists()


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("extra", "refused"),
    [
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"max_num_batched_tokens": 8192, "worker_cls": "evil.Worker"}, "worker_cls"),
        ({"hf_overrides": {"auto_map": "evil"}}, "hf_overrides"),
        ({"max_num_batched_tokens": 8192, "enable_dbo": True, "worker_cls": None}, ""),
    ],
)
def test_what_vllm_would_run_for_somebody_else_is_refused(
    extra: dict[str, Any], refused: str, spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm = asdict(compose.load_file(spoilt / "config.yaml").engine.vllm)
    edited(spoilt, engine={"vllm": vllm | {"extra": extra}})
    if not refused:
        with pytest.raises(SystemExit) as stopped:
            main(["resume", str(spoilt)])
        assert stopped.value.code == 0, capsys.readouterr().err
        return
    said = fails(capsys, "resume", str(spoilt))
    assert f"engine.vllm.extra.{refused} may name code" in said
    assert f"lineage resume {spoilt} --trust" in said
    with pytest.raises(LineageError, match=rf"extra\.{refused} .* set that key yourself"):
        configured(spoilt, Fork("k-1", 0, 1), [])
    if refused != "worker_cls" and not FULL:  # Hydra composes whatever is added
        return
    given = [f"+engine.vllm.extra.{refused}=null"]
    assert configured(spoilt, Fork("k-1", 0, 1), given).engine.vllm.extra[refused] is None


def test_a_suite_of_somebody_else_is_neither_forked_nor_trained_on(
    spoilt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lineage.training.run import check

    told = evil(tmp_path, monkeypatch)
    edited(spoilt, suite={"_target_": "evil_suite.Suite"})
    with pytest.raises(LineageError, match=r"add suite\._target_=evil_suite\.Suite$"):
        configured(spoilt, Fork("k-1", 0, 0), [])
    with pytest.raises(LineageError, match=r"name that suite\._target_ on the command line$"):
        check(compose.load(["engine=surrogate", "agent=writer", f"train.log={spoilt}"]))
    assert not told.exists()
    with pytest.raises(LineageError, match="cannot be imported"):
        configured(spoilt, Fork("k-1", 0, 0), ["suite._target_=evil_suite.Suite"])


def test_a_package_of_somebody_else_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lineage.core.config_engine import CheckpointConfig
    from lineage.models.checkpoint import locate
    from lineage.models.versions import ModelVersion

    (tmp_path / "evil_package").mkdir()
    told = tmp_path / "imported"
    (tmp_path / "evil_package" / "__init__.py").write_text(f"open({str(told)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    held = CheckpointConfig("package_gguf", "x.gguf", "evil_package.inner", "install it")
    with pytest.raises(LineageError, match="install it"):
        locate(ModelVersion("m@r0", held, "", 2048, "", ""), tmp_path)
    assert not told.exists()


@pytest.mark.usefixtures("unmeasured")
def test_a_run_of_somebody_else_writes_nothing_outside_of_its_folder(
    spoilt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, mine = tmp_path / "here", tmp_path / "mine"
    here.mkdir()
    mine.mkdir()
    (mine / LATEST).symlink_to("elsewhere")
    # As if the folder lay below what it names, and with a cache there.
    edited(spoilt, run={"root": str(tmp_path), "cache": str(mine / "cache")})
    monkeypatch.chdir(here)
    for command in ("resume", "report"):
        with pytest.raises(SystemExit) as stopped:
            main([command, str(spoilt)])
        assert stopped.value.code == 0
    assert not (tmp_path / LATEST).is_symlink() and not (spoilt.parent / LATEST).is_symlink()
    assert [path.name for path in mine.iterdir()] == [LATEST]
    assert {path.name for path in here.iterdir()} <= {".cache"}
    # A link that lies beside the run is moved: that is where the run is.
    (spoilt.parent / LATEST).symlink_to("elsewhere")
    with pytest.raises(SystemExit):
        main(["resume", str(spoilt)])
    assert (spoilt.parent / LATEST).readlink() == Path("spoilt")


@pytest.mark.parametrize("place", ["steps", "journal", "journal/000-cold-g01.jsonl", ".lock"])
def test_a_link_out_of_a_run_s_folder_is_not_followed(
    place: str, spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    link = spoilt / place
    link.parent.mkdir(exist_ok=True)
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(target if "." not in place else target / "file")
    (spoilt / "done" / "000-cold-g01.json").unlink()
    for command in ("resume", "compact"):
        assert str(link) in fails(capsys, command, str(spoilt))
    assert not list(target.iterdir())


NO_NAMES = (
    ("schedule=1", "'schedule' takes the name of an option, not 1: choose from r0-r1"),
    ("arms=3", "choose from all, all-but-weights"),
)
"""As `~engine=1` and `experiment=null`, of which each takes Hydra a tenth of a second."""


@pytest.mark.parametrize(
    ("override", "words"),
    [
        *(NO_NAMES if FULL else ()),
        ("~engine=1", "takes the name of an option, not 1: choose from openai, surrogate, vllm"),
        ("~engine", "conf key 'engine' has no value: set it"),
        ("engine.vllm.gpus=1.5", "engine.vllm.gpus is 1.5: it must be a fraction up to 1, or a"),
        ("engine.vllm.gpus=-1", "engine.vllm.gpus is -1"),
        ("experiment=null", "not None: choose from arms, bases"),
        ("run=x", "run is 'x': it must be a mapping of keys"),
        (f"experiment.seed={'9' * 5000}", "conf"),
        ("+arms.names.x=1", "conf"),
        ("suite=[1]", "takes the name of an option, not [1]: choose from cladder"),
        ("run.root=gs://bucket/runs", "run.root is a URL that is not of s3://"),
        ("run.root='s3://me:secret@bucket/runs'", "run.root is a URL with something else"),
        ("run.cache=gs://bucket/runs", "run.cache is a URL that is not of s3://"),
        ("model.shelf=gs://bucket/shelf", "model.shelf is a URL that is not of s3://"),
        ("run.storage.copy=s3://bucket/x", "run.storage.copy is a URL"),
        ("run.storage.attempts=0", "run.storage.attempts is 0: it must be between 1 and 100"),
    ],
)
def test_an_odd_override_is_one_line(
    override: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert words in fails(capsys, "run", f"run.root={tmp_path}", "engine=surrogate", override)
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_one_line(
    spoilt: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    from lineage.core import files

    def full(handle: int) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(files.os, "fsync", full)
    (spoilt / "done" / "000-cold-g01.json").unlink()
    assert "ulimit -f" in fails(capsys, "resume", str(spoilt))


def test_a_damaged_record_of_a_training_s_gains_is_named(
    spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lineage.log.held_out import HELD_OUT, read_gains

    assert read_gains(spoilt) == []
    for text in ("[", "{}", '[{"curriculum": 7}]', "[" * damage.DEEP):
        (spoilt / HELD_OUT).write_text(text)
        with pytest.raises(LineageError, match=f"{HELD_OUT} is .*makes it again$"):
            read_gains(spoilt)
    row = {"curriculum": "c", "measure": "reward"}
    cell = {"mean": 0.5, "low": None, "high": None, "n": 1}
    rows = [{**row, "before": cell, "after": cell, "gain": cell}]
    (spoilt / HELD_OUT).write_text(json.dumps(rows))
    assert read_gains(spoilt) == rows
