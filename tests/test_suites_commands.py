"""`lineage suites` and `lineage preview`: what they list and show, and what they never do."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from helpers import FULL
from rich.console import Console

from lineage import compose
from lineage.commands import suites
from lineage.commands.flags import with_folder
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.suites import suite_class

MISBEHAVED = '''
from dataclasses import dataclass
from lineage.core.tasks import Suite, Task, World


@dataclass(frozen=True)
class Odd(Suite):
    """A suite whose texts [bold]do harm[/bold]."""

    path: str
    lessons: bool

    def world(self, seed, generation):
        text = "[red]red[/nothing] \\x1b[2J [link=x] " + "long " * 400
        tasks = tuple(
            Task(f"{seed}/{n}", f"odd-{seed}", text, "[/]", context="read [/this]", order=n)
            for n in range(40)
        )
        lessons = tuple(
            Task(f"{seed}/l{n}", f"odd-{seed}", "", "", context="[b]study") for n in range(40)
        )
        return World(f"odd-{seed}", generation, (), tasks + lessons * self.lessons)

    def score(self, task, completion):
        return 0.0

    @property
    def fingerprint(self):
        return "x"
'''


def _said(*arguments: str, width: int = 100) -> str:
    parser = argparse.ArgumentParser()
    suites.register(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    out = io.StringIO()
    options.command(options, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conf folder with suites that no test changes: what is composed with it is kept."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "suite").mkdir()
    (folder / "oddsuite.py").write_text(MISBEHAVED)
    (folder / "suite" / "odd.yaml").write_text(
        "_target_: oddsuite.Odd\nname: odd\ninstructions: ''\nlessons: false\npath: ???\n"
    )
    (folder / "suite" / "lost.yaml").write_text("_target_: no.such.Suite\nname: lost\n")
    return folder


@pytest.fixture
def odd(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, whose modules can be imported, and are as no test has imported them."""
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "oddsuite", raising=False)
    return place


def _only(shown: Collection[str], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let suites be listed that are `shown`, as each is composed by itself, which takes long.

    Return what all are, each time that they are asked for.
    """
    options, found = compose.options_of, list[list[str]]()

    def few(group: str, folders: Sequence[Path]) -> list[str]:
        found.append(options(group, folders))
        return [name for name in found[-1] if name in shown]

    monkeypatch.setattr(compose, "options_of", few)
    return found


def _preview_odd(folder: Path, *overrides: str) -> Sequence[str]:
    where = f"hydra.searchpath=[file://{folder}]"
    return _said("preview", "odd", where, "suite.path=x", *overrides).splitlines()


def test_every_entry_of_conf_is_listed_with_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {path.stem for path in (compose.conf_dir() / "suite").glob("*.yaml")}
    shown = names if FULL else {"codebook", "textworld"}
    options = _only(shown, monkeypatch)
    text = _said("suites", width=200)
    rows = {line.split()[0]: line for line in text.splitlines()[2:]}
    assert options == [sorted(names)]
    assert sorted(rows) == sorted(shown) and {"codebook", "reasoning", "textworld"} <= names
    assert "Machines with hidden codes" in rows["codebook"]
    assert " one " in rows["codebook"] and " many " in rows["textworld"]
    assert "lineage[textworld]" in rows["textworld"] and "lineage[" not in rows["codebook"]
    assert not any("cannot be imported" in row for row in rows.values())
    # Those that are not shown can be imported too.
    for target in compose.own_suites():
        suite_class(target)


def test_a_missing_extra_or_path_or_class_is_listed_and_stops_nothing(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (where,) = with_folder((), str(odd))
    for path in ("???", "''"):
        found = suites.entry("odd", where, f"suite.path={path}")
        assert (found.turns, found.source, found.needs) == ("one", "file", "suite.path")
    assert suites.entry("odd", where, "suite.path=x").needs == ""
    assert "no.such.Suite" in suites.entry("lost", where).what
    monkeypatch.setitem(sys.modules, "textworld", None)
    found = str(suites.entry("textworld"))
    assert "lineage[textworld]" in found and "installed" not in found


def test_suites_of_a_conf_folder_of_one_s_own_are_listed_and_previewed(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"odd", "lost"}
    options = _only(shown, monkeypatch)
    rows = _said("suites", "--config-dir", str(odd), width=200).splitlines()
    assert options == [sorted({*shown, *compose.groups()["suite"]})]
    names = [line.split()[0] for line in rows[2:]]
    assert set(names) == shown and names == sorted(names)
    assert "suite.path" in rows[2 + names.index("odd")]
    told = _said("preview", "odd", "suite.path=x", "--config-dir", str(odd))
    assert told.splitlines() == _preview_odd(odd)
    with pytest.raises(LineageError, match="nowhere is no folder"):
        _said("suites", "--config-dir", "nowhere")


def test_a_preview_shows_three_tasks_of_each_family_with_what_a_note_would_say() -> None:
    lines = _said("preview", "codebook", "suite.kinds=3", "--seed", "2").splitlines()
    config = compose.load(["suite=codebook", "suite.kinds=3"])
    suite = compose.load_suite("codebook", "suite.kinds=3")
    world = plans(suite, config.experiment, 4, 2)[-1].world
    assert lines[1].startswith(f"world {world.id}: 36 tasks in 3 groups, 36 facts")
    starts = [lines.index(line) for line in lines if line.startswith(("same:", "similar:", "diss"))]
    assert len(starts) == 3
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        part = [line for line in lines[start:end] if line.startswith(("task ", "ideal note "))]
        assert len(part) == 6
        at_home = [world.id in line for line in part if line.startswith("task ")]
        assert at_home == [not lines[start].startswith("dissimilar")] * 3
    notes = [line.removeprefix("ideal note").strip() for line in lines[: starts[2]]]
    assert sum(note in {fact.text for fact in world.facts} for note in notes) == 6
    assert _said("preview", "codebook", "--seed", "1") != _said("preview", "codebook")


def test_a_preview_of_an_environment_shows_what_is_seen_first() -> None:
    pytest.importorskip("textworld")
    text = _said("preview", "textworld")
    assert text.count("sees first") == text.count("choices ") == 9
    assert "You are in the hall." in text and "take" in text


@pytest.mark.parametrize("width", [40, 100])
def test_texts_of_suites_are_cut_and_neither_markup_nor_terminal_codes(
    odd: Path, width: int
) -> None:
    where = f"hydra.searchpath=[file://{odd}]"
    text = _said("preview", "odd", where, "suite.path=x", width=width)
    assert "\x1b" not in text and "[red]red[/nothing]" in text and "[/]" in text
    title_too = width == 40
    assert text.count("…") == 9 + title_too
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) < 9 * 14


def test_lessons_are_shown_and_nothing_is_said_to_be_same_without_questions(odd: Path) -> None:
    lines = _preview_odd(odd, "suite.lessons=true")
    assert any(line.startswith("world odd-") and "40 lessons" in line for line in lines)
    assert sum("[b]study" in line for line in lines) == 3
    same = next(n for n, line in enumerate(lines) if line.startswith("same:"))
    assert lines[same + 1] == "none"


def test_without_dissimilar_probes_there_are_none(odd: Path) -> None:
    lines = _preview_odd(odd, "experiment.probes.dissimilar=0")
    assert lines[-1] == "none" and lines[-2].startswith("dissimilar")


def test_wrong_names_and_knobs_are_the_errors_of_a_run() -> None:
    with pytest.raises(LineageError, match="did you mean 'codebook'"):
        _said("preview", "codebok")
    with pytest.raises(LineageError, match=r"suite\.kinds"):
        _said("preview", "codebook", "suite.kindz=3")


@pytest.mark.parametrize("command", ["suites", "preview"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        _said(command, "--help")
    assert left.value.code == 0
    assert f"lineage {command}" in capsys.readouterr().out.partition("example")[2]


def test_a_text_keeps_its_lines_and_is_cut_after_the_last() -> None:
    assert suites.cut("a b\nc", 10, 2) == "a b\nc"
    assert suites.cut("a\n\nb\nc", 10, 3) == "a\n\nb…"
    assert suites.cut("abcdefgh", 4, 1) == "abc…"
    assert suites.cut("", 4, 1) == ""
