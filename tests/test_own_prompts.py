"""A user's own prompts: what is refused, what a run keeps of them, and where their words arrive."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import answering, run, steps, surrogate

from lineage import compose
from lineage.agent import prompt as prompts
from lineage.agent.history import Experience, Past, Trace
from lineage.cli import main
from lineage.commands.fork import Fork, configured
from lineage.core.config_agent import LATER_OF_AGENT
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Doc, Memory, Origin
from lineage.core.prompts import ABOUT, MOST_BYTES, OURS, ours, placeholders, read_prompts, said
from lineage.core.tasks import Task
from lineage.models.protocol import Completion, Request, Turn
from lineage.runs.plan import prepare

SHIPPED = Path(str(prompts.__file__)).parents[1] / "prompts"
BY = Origin(0, "m@r0", "w000")
MEMORY, DOC = Memory("m1", "A fact.", BY, BY), Doc("d2", "Title", "Body.", BY, BY)
KNOWN = EMPTY.evolve(memories=(MEMORY,), docs=(DOC,))
RIGHT, WRONG = (Experience("Q?", "It is 7.", "It is 7.", right) for right in (True, False))
LESSON = Experience("", "", "", False, context="A text.")
FENCES = "between <episodes> and </episodes>"
EPISODE = b"Q $prompt A $answer F $feedback"


def folder_of(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.md").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("edits.md", b"Edit.", r"edits\.md is no prompt of lineage: did you mean 'edit\.md'\?"),
        ("edit.txt", b"Edit.", r"edit\.txt is no prompt of lineage: did you mean 'edit\.md'\?"),
        ("act.md", b"Sag's: \xe4", r"act\.md is no UTF-8 \(byte 7\)"),
        ("act.md", b"A\0n\0s\0", r"act\.md has the control character U\+0000: remove it"),
        ("act.md", b" \n\n", r"act\.md says nothing: write it, or leave it out"),
        ("act.md", b"a" * (MOST_BYTES + 1), r"act\.md has more than 32,768 bytes: shorten it"),
        ("act.md", b"A line.\nIn $5.", r"act\.md, line 2: a dollar sign is written \$\$"),
        ("act.md", b"Answer $prompt", r"\$prompt is no placeholder of act: it has none"),
        ("episode.md", b"$promt", r"line 1: \$promt is no .* episode: did you mean 'prompt'\?"),
        ("episode.md", b"$$prompt $answer", r"lacks \$prompt, \$feedback: put it where"),
        ("episodes.md", b"Read: $episodes", rf"must have \$episodes once, {FENCES}"),
        ("episodes.md", b"<episodes>\n$episodes\n</episodes> $episodes", FENCES),
        ("episodes.md", b"<episodes>x</episodes> ${episodes}", FENCES),
        ("summary.md", b"$prompt <record>$record<record>", r"\$record once, between <record> and"),
    ],
)
def test_what_is_no_prompt_is_refused_before_anything_runs(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_bytes(data)
    with pytest.raises(LineageError, match=says) as refused:
        surrogate(tmp_path, f"agent.prompts={tmp_path / 'mine'}")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("agent.prompts")


def test_a_folder_that_is_none_or_holds_none_is_refused(tmp_path: Path) -> None:
    for place, says in ((tmp_path / "no", "must be a folder"), (tmp_path, "holds no prompts")):
        with pytest.raises(LineageError, match=says):
            surrogate(tmp_path, f"agent.prompts={place}")
    (tmp_path / "act.md").mkdir()
    with pytest.raises(LineageError, match=r"act\.md is no file"):
        read_prompts(tmp_path)
    with pytest.raises(LineageError, match=r"agent\.prompts\.acts is no prompt.*'act'"):
        surrogate(tmp_path, "agent.prompts={acts: Answer.}")
    # A saved configuration that somebody wrote by hand is not a reason to read a folder.
    config = surrogate(tmp_path)
    odd = replace(config, agent=replace(config.agent, prompts=str(tmp_path)))
    (tmp_path / "config.yaml").write_text(compose.to_yaml(odd))
    with pytest.raises(LineageError, match="what is saved has the texts"):
        prepare(compose.load_file(tmp_path / "config.yaml"))


def test_what_is_read_is_what_an_editor_saved(tmp_path: Path) -> None:
    data = {"act": b"\xef\xbb\xbfOne.\r\nTwo: $$5.\r\n\r\n", "episode": EPISODE + b" ${prompt}"}
    folder = folder_of(tmp_path / "mine")
    for name, text in data.items():
        (folder / f"{name}.md").write_bytes(text)
    (folder / ".edit.md.swp").write_bytes(b"\xff")
    found = read_prompts(folder)
    assert said(found, "act") == "One.\nTwo: $5."
    assert said(found, "episode", prompt="$x", answer="b", feedback="c") == "Q $x A b F c $x"
    assert said(found, "edit") == ours("edit")


def test_ours_written_out_and_left_as_they_are_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {f"{name}.md" for name in ABOUT} == {file.name for file in SHIPPED.glob("*.md")}
    for words in (["prompts"], ["prompts", str(tmp_path / "mine")]):
        with pytest.raises(SystemExit) as done:
            main(words)
        assert not done.value.code
    out = capsys.readouterr().out
    assert "episode-wrong.md" in out and "$feedback" in out and "agent.prompts=" in out
    for file in SHIPPED.glob("*.md"):
        assert (tmp_path / "mine" / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(SystemExit) as done:
        main(["prompts", str(tmp_path / "mine")])
    assert done.value.code == 1 and "is there already" in capsys.readouterr().err
    plain = surrogate(tmp_path)
    for profile in ("small", "large"):
        words = (f"agent={profile}", f"agent.prompts={tmp_path / 'mine'}")
        assert surrogate(tmp_path, *words) == surrogate(tmp_path, words[0])
    assert "prompts" not in compose.identity(plain)["agent"]
    every = compose.plain(plain)["agent"].keys()
    left_out = {*LATER_OF_AGENT, "memory_share"}
    assert compose.identity(plain)["agent"].keys() == every - left_out


def test_the_words_decide_what_a_run_is_and_the_folder_does_not(tmp_path: Path) -> None:
    for name, text in (("one", "Be brief."), ("two", "Be brief.\n"), ("three", "Be bold.")):
        folder_of(tmp_path / name, act=text)
    one, two, three = (
        surrogate(tmp_path, "agent=large", f"agent.prompts={tmp_path / name}")
        for name in ("one", "two", "three")
    )
    hashes = [compose.config_hash(config) for config in (one, two, three)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert compose.training_hash(one) != compose.training_hash(three)
    assert compose.config_hash(surrogate(tmp_path, "agent=large")) not in hashes
    long = folder_of(tmp_path / "long", inherited="word " * 6000)
    with pytest.raises(LineageError, match="context window of"):
        prepare(surrogate(tmp_path, f"agent.prompts={long}"))


def test_each_prompt_of_the_user_is_said() -> None:
    fences = {"episodes": "<episodes>$episodes</episodes>", "summary": "<record>$record</record>"}
    texts = {}
    for name in ABOUT:
        free = (f"${one}" for one in placeholders(name) if f"${one}" not in fences.get(name, ""))
        texts[name] = " ".join((f"MINE-{name}.", *free, fences.get(name, "")))
    seen: dict[str, tuple[Turn, ...]] = {
        "act inherited": prompts.act_turns(texts, KNOWN, "Q?"),
        "open act": prompts.open_turns(texts, KNOWN, "Q?", [DOC]),
        "summarise summary": prompts.summary_turns(texts, "Q?", "Record."),
        "judge": prompts.judge_turns(texts, "Same?"),
        "compress write": prompts.compress_turns(texts, KNOWN),
        "restate write": prompts.restate_turns(texts, MEMORY),
        "document episodes purpose-document": (
            prompts.document_turns(texts, [DOC], [RIGHT], False, purpose=True)
        ),
        "edit purpose-notes move": (
            prompts.handoff_turns(texts, "edit", KNOWN, [RIGHT], False, [DOC], purpose=True)
        ),
        "append": prompts.handoff_turns(texts, "append", KNOWN, [RIGHT], False),
        "rewrite-all": prompts.handoff_turns(texts, "rewrite-all", KNOWN, [RIGHT], False),
        "episode episode-wrong episode-lesson": (
            prompts.episodes_turn(texts, [RIGHT, WRONG, LESSON], False),
        ),
    }
    for names, turns in seen.items():
        text = "\n".join(turn.content for turn in turns)
        assert all(f"MINE-{name}." in text for name in names.split()), names
        assert not any(
            ours(name).split("$")[0] in text for name in names.split() if ours(name)[0] != "$"
        )
    assert {name for names in seen for name in names.split()} == set(ABOUT)
    past = Past("g00/w000", 0, "m@r0", Task("t", "w", "Q?", "7"), RIGHT, "")
    assert "MINE-episode." in prompts.history_block(texts, [past], False)
    assert prompts.record(Trace()) == "" and prompts.history_block(OURS, [], False) == ""


def test_a_run_says_its_words_and_keeps_them_when_the_folder_is_gone(tmp_path: Path) -> None:
    mine = folder_of(
        tmp_path / "mine",
        act="Answer well, for $$1.",
        inherited="Left by others.",
        edit="Keep good notes.",
        episodes="Look:\n<episodes>\n${episodes}\n</episodes>\nNow the JSON.",
    )
    words = ("experiment=tiny", "experiment.lineages=1", f"agent.prompts={mine}")
    config, folder = surrogate(tmp_path, *words), tmp_path / "runs" / "one"
    asked = itertools.count(1)

    def stop(request: Request, answer: Completion) -> Completion:
        if next(asked) > 9:
            raise LineageError("planted")
        return answer

    with answering(stop), pytest.raises(LineageError, match="planted"):
        run(config, folder)
    shutil.rmtree(mine)
    kept = compose.load_file(folder / "config.yaml")
    assert kept == config and str(mine) not in (folder / "config.yaml").read_text()
    assert kept.agent.texts["episodes"].endswith("${episodes}\n</episodes>\nNow the JSON.")
    run(kept, folder)
    logged = {
        kind: [row["prompt"] for row in steps(folder) if row["kind"] == kind and row["prompt"]]
        for kind in ("act", "probe", "handoff")
    }
    assert logged["act"] and all("Answer well, for $1." in one for one in logged["act"])
    assert any("Left by others." in one for one in logged["probe"])
    assert logged["handoff"] and all("Look:" in one for one in logged["handoff"])
    assert any("Keep good notes." in one for one in logged["handoff"])
    assert not any(ours("act") in one for kind in logged.values() for one in kind)
    # A fork is asked in the words of its run, or in others that are named.
    fork = Fork("0" * 16, 0, 0)
    assert configured(folder, fork, []).agent == config.agent
    other = folder_of(tmp_path / "other", act="Otherwise.")
    found = configured(folder, fork, [f"agent.prompts={other}"]).agent.prompts
    assert found == {"act": "Otherwise."}
    assert configured(folder, fork, ["agent.prompts=null"]).agent.prompts is None
