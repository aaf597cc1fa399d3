"""The command line itself: what it says of itself, how runs are named, what an output can hold."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import FULL, measured, run, surrogate, timeless
from rich.console import Console

from lineage import compose
from lineage.cli import main
from lineage.commands.overrides import groups_text
from lineage.commands.runs import find_run
from lineage.core.console import PLAIN, busy, fit_streams
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.inspect import comparison
from lineage.inspect.listing import ASKED
from lineage.report import headline, run_text, write
from lineage.runs import folder as folder_module
from lineage.runs.folder import locked
from lineage.runs.progress import Display

NAMES = ("20260101-first", "latest")
WIDTH = 80
LEFT = "000-inherit@1"
CHANGED = ("agent.memory_budget=160", "--dry-run")
SMALL = ("experiment=tiny", "experiment.lineages=1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run in `runs`, and the link to it."""
    tmp = tmp_path_factory.mktemp("named")
    measured(surrogate(tmp, *SMALL), tmp / "runs" / "20260101-first", ASKED)
    return tmp


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil, as the working folder."""
    shutil.copytree(whole / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Return what a command prints; of one that fails, its one line of error."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert (stopped.value.code or 0) == code
    out, error = capsys.readouterr()
    assert code == 0 or error.count("\n") == 1
    return error if code else out


@contextmanager
def unreported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Let no report be written, which takes longer than a small run; of what, is given."""
    asked: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_report", lambda folder, cache: asked.append(folder))
        patch.setattr(run_text, "show_summary", lambda summary, console: None)
        yield asked


# What it says of itself


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    assert text.startswith("usage: lineage") and "examples:" in text and "resume" in text


def test_its_version_names_the_code_and_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--version").splitlines()
    assert re.fullmatch(r"lineage \d[\w.]*( \(commit \w{12}(, with changes)?\))?", lines[0])
    assert any(line.startswith("duckdb ") for line in lines)


@pytest.mark.parametrize("command", ["run", "train", "submit"])
def test_the_help_of_what_is_configured_lists_groups_options_and_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, command, "--help")
    assert "examples:" in text and f"\n  lineage {command}" in text
    assert groups_text() in text and str(compose.conf_dir()) in text
    for group, options in compose.groups().items():
        line = re.search(rf"^  {group} +(.*(?:\n {{14}}.*)*)", text, re.MULTILINE)
        assert line is not None
        assert re.findall(r"[\w-]+", line[1]) == list(options)


def test_every_option_of_the_groups_is_a_file_and_the_default_is_first() -> None:
    groups = compose.groups()
    files = {file.relative_to(compose.conf_dir()) for file in compose.conf_dir().glob("*/*.yaml")}
    named = {Path(group, f"{option}.yaml") for group in groups for option in groups[group]}
    assert files - named == {Path("migration/base.yaml")} and not named - files
    assert groups["engine"] == ("vllm", "openai", "surrogate")


def test_versions_fit_a_narrow_terminal_and_have_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(said(capsys, "versions", "--json"))
    by_name = {one["name"]: one for one in found["versions"]}
    assert by_name["smollm2-135m@r1"]["parent"] == "smollm2-135m@r0"
    assert by_name["smollm2-135m@r0"]["from"] == "conf"
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    shown = said(capsys, "versions")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= WIDTH and "…" not in shown
    assert any(all(word in line for word in ("@r1", "conf", "2048")) for line in lines)


# How runs are named


def test_a_run_is_found_by_its_name_below_the_root(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "20260101-first"
    assert [find_run(Path(name)) for name in NAMES] == [Path("runs", name) for name in NAMES]
    # All commands find a run alike, see below: the others are told a name in what follows.
    assert "memories" in said(capsys, "export", first, "out")
    assert "nothing to put together" in said(capsys, "compact", "latest")
    compared: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "compare", lambda *runs: compared.extend(runs) or {})
        said(capsys, "compare", first, "latest", "--json")
    assert compared == [Path("runs", first), Path("runs/latest")]
    with unreported(monkeypatch) as reported:
        for command in ("report", "resume") if FULL else ("report",):
            assert "report.html" in said(capsys, command, first)
    assert {folder.resolve() for folder in reported} == {here / "runs" / first}


def test_a_run_that_is_nowhere_names_the_nearest(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--at", "000-inherit@0")
    commands = ("show", "report", "resume", "compact", "log", "diff", "export", "fork", "compare")
    more = {"log": ("m1",), "diff": ("000-inherit@1",), "export": ("out",), "fork": at}
    more["compare"] = ("latest",)
    for given in ("20260101-frist", "runs/20260101-frist"):
        for command in commands:
            error = said(capsys, command, given, *more.get(command, ()), code=1)
            assert f"there is no run {given}: did you mean '20260101-first'?" in error
    assert "did you mean" in said(capsys, "compare", "latest", "lattest", code=1)


def test_a_folder_goes_before_a_name_and_a_run_before_any_other_folder(here: Path) -> None:
    (here / "latest").mkdir()
    assert find_run(Path("latest")) == Path("runs/latest")
    shutil.copy(here / "runs" / "latest" / "config.yaml", here / "latest")
    assert find_run(Path("latest")) == Path("latest")
    with pytest.raises(LineageError, match="no run /nowhere/latest"):
        find_run(Path("/nowhere/latest"))


# What is left behind


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_leaves(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "run.json", b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == mode


def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    inner = tmp_path / "steps" / "arm=inherit"
    inner.mkdir(parents=True)
    ours = [tmp_path / ".run.json.0a1b2c3d.tmp", inner / ".000.parquet.7f6abcde.tmp"]
    theirs = [tmp_path / "notes.tmp", tmp_path / ".draft.tmp", tmp_path / ".a.tmp.0a1b2c3d"]
    theirs.append(tmp_path / ".a.x_7abcde.tmp")
    for file in (*ours, *theirs):
        file.write_bytes(b"torn")
    with locked(tmp_path):
        assert not any(file.exists() for file in ours)
    assert all(file.exists() for file in theirs)


def test_a_temporary_name_is_one_that_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "metrics.json", b"{}")
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 1
    with locked(tmp_path):
        assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_run_without_its_record_is_resumed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / "runs" / "20260101-first"
    expected = timeless(folder)
    began = json.loads((folder / "run.json").read_bytes())["began"]
    for name in ("run.json", "metrics.json"):
        (folder / name).unlink()
    for file in folder.glob("done/000-cold-g01*"):
        file.unlink()
    with unreported(monkeypatch):
        said(capsys, "resume", "latest")
    assert timeless(folder) == expected
    record = json.loads((folder / "run.json").read_bytes())
    assert record["began"] == pytest.approx(began, abs=60)
    assert record["commit"] is None and record["command"] is None and record["code"] is None
    line = headline.provenance({"origin": record, "metrics": {"totals": [{"seconds": 0.0}]}})
    assert line.startswith("commit n/a; 20") and "machine n/a" in line and "command: n/a" in line
    assert "1 in runs: 1 stopped" in said(capsys, "ls"), "its report alone is not written"


def test_a_folder_of_another_configuration_gets_no_record(here: Path, tmp_path: Path) -> None:
    folder = here / "runs" / "20260101-first"
    (folder / "run.json").unlink()
    with pytest.raises(LineageError, match="holds generations of another configuration"):
        run(surrogate(tmp_path, *SMALL, "experiment.seed=5"), folder)


def test_where_nothing_is_finished_a_lost_record_says_to_begin_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "runs" / "20260101-first"
    for name in ("done", "steps", "knowledge", "worlds"):
        shutil.rmtree(folder / name)
    (folder / "run.json").unlink()
    assert "begin again, with lineage run" in said(capsys, "resume", "latest", code=1)


def test_a_run_can_be_resumed_from_the_moment_that_its_settings_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def note(path: Path, data: bytes) -> None:
        written.append(path.name)
        atomic_write(path, data)

    monkeypatch.setattr(folder_module, "atomic_write", note)
    run(surrogate(tmp_path, *SMALL), tmp_path / "runs" / "one")
    assert written.index("run.json") < written.index("config.yaml")


# What an output can hold


class Ascii(io.TextIOWrapper):
    """An output that holds ASCII alone."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="ascii", errors="strict", write_through=True)

    @property
    def held(self) -> bytes:
        """All that was written."""
        return self.bytes.getvalue()


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Ascii]]:
    """What makes standard output and error, of the test that calls it, such outputs."""

    def make() -> list[Ascii]:
        made = {name: Ascii() for name in ("stdout", "stderr")}
        for name, stream in made.items():
            monkeypatch.setattr(sys, name, stream)
        return list(made.values())

    return make


TABLES = ((("suites",), "codebook"), (("compare", "20260101-first", "latest"), "pairs compared"))
"""What prints tables, as other commands do."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((("--help",), "usage"), (("run", "--help"), "usage"), (("ls",), "tiny")),
        *((("versions",), "@r1"), (("preview", "codebook"), "codebook")),
        *((("show", "latest"), "000-inherit"), (("show", "latest", "1", "--full"), "generation 1")),
        *((("show", "latest", "1", "p000"), "p000"), (("log", "latest", "m1"), "000-inherit")),
        *((("show", "nöwhere"), "there is no run"), (("diff", "latest", LEFT), "the same")),
        *(TABLES if FULL else ()),
        (("fork", "latest", "--at", "000-inherit@0", *CHANGED), "agent.memory_budget"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_nothing_is_too_much_for_ascii(
    arguments: tuple[str, ...], words: str, here: Path, streams: Callable[[], list[Ascii]]
) -> None:
    out, error = streams()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert (stopped.value.code or 0) == (1 if "nöwhere" in arguments else 0)
    held = (error if stopped.value.code else out).held.decode()
    assert words in held and len(held) > 20 and "0 the same" not in held


def test_our_signs_are_written_in_ascii_and_others_as_escapes(
    streams: Callable[[], list[Ascii]],
) -> None:
    out, _ = streams()
    fit_streams()
    print("a → b … │ é \U0001f600")
    assert out.held == b"a -> b ... | \\xe9 \\U0001f600\n"
    assert all(text.isascii() for text in PLAIN.values())


def test_forced_colour_in_a_pipe_makes_nothing_move() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", width=WIDTH)
    assert console.is_terminal
    with Display(console, 2) as display, busy(console, "checking"):
        for _ in range(2):
            display.generation_done()
        display.note("one line")
    assert file.getvalue() == "one line\n"


def test_the_package_says_that_it_is_typed() -> None:
    import tomllib

    root = Path(__file__).parents[1]
    assert (root / "src" / "lineage" / "py.typed").exists()
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "src/lineage" in wheel["targets"]["wheel"]["only-include"]
