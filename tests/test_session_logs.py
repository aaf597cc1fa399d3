"""Session logs as the history that `verify` and `rebuild` need: how they are read, what for."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import run, surrogate

from lineage import compose, metrics
from lineage.cli import main
from lineage.core.config import Config, StartConfig
from lineage.core.errors import LineageError
from lineage.report import receipt as report_receipt
from lineage.runs import sessions
from lineage.runs.advise import advised, left_out
from lineage.runs.gathered import gathered
from lineage.runs.plan import prepare
from lineage.runs.sessions import Bounds, Lines, Told, read_sessions
from lineage.runs.told import as_history, history_of, settled

OLD, NEW = "smollm2-135m@r0", "smollm2-135m@r1"
BOUNDS = Bounds(200, 400)


def written(file: Path, *rows: Any) -> Path:
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return file


def claude(role: str, *content: Any, session: str = "s1", **more: Any) -> dict[str, Any]:
    """A line as Claude Code logs it."""
    held = content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)
    message = {"role": role, "content": held, **({"model": "m@1"} if role == "assistant" else {})}
    return {"type": role, "sessionId": session, "message": message, **more}


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def told(file: Path, bounds: Bounds = BOUNDS) -> tuple[list[Told], Lines]:
    lines = Lines(file)
    return list(read_sessions(file, bounds, lines)), lines


def test_claude_code_is_read(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.jsonl",
        {"type": "summary", "summary": "Ports", "leafUuid": "1"},
        claude("user", "<command-name>/clear</command-name>"),
        claude("user", "A hint.", isMeta=True),
        claude("user", "Which port has staging?"),
        claude("assistant", {"type": "thinking", "thinking": "Look."}, said("I look.")),
        claude("assistant", {"type": "tool_use", "id": "t1", "name": "Read", "input": {"f": "x"}}),
        claude("assistant", said("A subagent."), isSidechain=True),
        claude(
            "user", {"type": "tool_result", "tool_use_id": "t1", "content": [said("port: 9090")]}
        ),
        claude("assistant", said("It is 9090.")),
        claude("user", said("No, the port of staging is 9091.")),
        claude("assistant", "Noted."),
        claude("user", "Never answered", session="s2"),
    )
    found, lines = told(file)
    assert [one.prompt[:5] for one in found] == ["Which", "No, t"] and not lines.note
    first = found[0]
    assert (first.session, first.version, first.answer) == ("s1", "m@1", "It is 9090.")
    assert first.exchanges == (('Read {"f": "x"}', "port: 9090"),)
    assert first.feedback == found[1].prompt and not first.right and found[1].right
    # What the user put right counts, and what was wrong does not.
    assert settled(first) == (("What is the port of staging?", "9091"),)


def test_chats_are_read(tmp_path: Path) -> None:
    call = {"id": "c1", "function": {"name": "find", "arguments": '{"q": "port"}'}}
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [said("Which port?")]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "The port of staging is 9090."},
        {"role": "assistant", "content": "9090."},
    ]
    many, lines = told(written(tmp_path / "a.jsonl", {"messages": chat}, {"messages": chat}))
    assert len(many) == 2 and len({one.session for one in many}) == 2 and not lines.note
    assert many[0].exchanges == (('find {"q": "port"}', "The port of staging is 9090."),)
    single, _ = told(written(tmp_path / "b.jsonl", *chat))
    assert [one.exchanges for one in single] == [many[0].exchanges]
    assert settled(many[0]) == (("What is the port of staging?", "9090"),)


def test_what_cannot_be_read_is_counted_and_the_first_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_BYTES", 300)
    good = [claude("user", "Which port?"), claude("assistant", "It is 9090.")]
    bad = ["{torn", "[1]", '{"other": 1}', json.dumps(claude("user", 7)), "x" * 999, "\udcff"]
    file = tmp_path / "a.jsonl"
    rows = [json.dumps(good[0]), "", *bad, json.dumps(good[1])]
    file.write_bytes("\n".join(rows).encode("utf-8", "surrogateescape"))
    found, lines = told(file)
    assert [one.answer for one in found] == ["It is 9090."]
    assert lines.note.startswith(f"{file}: 6 of 9 lines cannot be read; line 3: no JSON (")
    config = surrogate(tmp_path)
    _, notes = gathered(config, [file])
    assert lines.note in notes and "1 episodes of 1 sessions" in notes[0]
    torn = written(tmp_path / "torn.jsonl", *bad[:2])
    with pytest.raises(LineageError, match=r"torn\.jsonl has no episode.*2 of 2 .*line 1: no JSON"):
        gathered(config, [file, torn])
    with pytest.raises(LineageError, match=r"nowhere: there is no such file"):
        gathered(config, [tmp_path / "nowhere"])


def test_all_is_bounded_and_secrets_stay_out(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    rows = []
    for number in range(9):
        rows += [claude("user", f"Question {number} of {token}"), claude("assistant", "A" * 900)]
        use = {"type": "tool_use", "id": "t", "name": "Do", "input": {}}
        rows += [
            claude("assistant", use),
            claude("user", {"type": "tool_result", "content": "R" * 900}),
        ]
    config = surrogate(tmp_path, "advise.history_episodes=4", "agent.observation_chars=100")
    config, notes = gathered(config, [written(tmp_path / "a.jsonl", *rows)])
    assert "4 episodes" in notes[0] and "5 older ones are left out" in notes[0]
    past = history_of(config.start).past
    assert [one.experience.prompt for one in past] == [
        f"Question {number} of [secret: GitHub Token]" for number in range(5, 9)
    ]
    assert all(len(one.experience.answer) == 100 for one in past)
    assert token not in Path(str(config.start.history)).read_text()
    # It is what was kept, or nothing.
    Path(str(config.start.history)).write_text("")
    with pytest.raises(LineageError, match="is not the history that this run began with"):
        history_of(config.start)
    with pytest.raises(LineageError, match="is gone"):
        history_of(StartConfig(history=str(tmp_path / "no"), history_hash="1"))


def test_what_is_settled_twice_is_as_the_later_one_says() -> None:
    asked = [
        ("What is the port?", "8080"),
        ("What is the host?", "a"),
        ("What is the port?", "9090"),
    ]
    found = as_history(Told(f"s{n}", "v", "Q", "A", asked=(pair,)) for n, pair in enumerate(asked))
    assert [(one.task.prompt, one.task.answer) for one in found.asked] == asked[1:]
    assert [one.generation for one in found.past] == [0, 1, 2]


FACTS = {"Ash": 41, "Elm": 42, "Fir": 43, "Oak": 44}


def planted(tmp: Path) -> tuple[Path, Path, Path]:
    """Return a folder of notes of which one is stale, tasks, and a log that knows better."""
    notes = tmp / "notes"
    notes.mkdir()
    lines = [
        f"- The code of pump {name} is {7 if name == 'Oak' else n}.\n" for name, n in FACTS.items()
    ]
    (notes / "MEMORY.md").write_text("".join(lines))
    asks = [
        {"prompt": f"What is the code of pump {name}?", "answer": str(n)}
        for name, n in FACTS.items()
    ]
    rows = []
    for name, n in FACTS.items():
        rows.append(claude("user", f"Start pump {name}.", session=name))
        rows.append(claude("assistant", "The code is 99.", session=name))
        rows.append(claude("user", f"Wrong. The code of pump {name} is {n}.", session=name))
        rows.append(claude("assistant", "Thanks.", session=name))
    return notes, written(tmp / "t.jsonl", *asks), written(tmp / "log.jsonl", *rows)


def config_of(tmp: Path, tasks: Path) -> Config:
    # The groups in the order of the command, for which they are composed then.
    words = ["suite=jsonl", "engine=surrogate", f"run.root={tmp / 'runs'}"]
    return compose.load([*words, f"run.cache={tmp / 'cache'}", f"suite.path={tasks}"])


def printed(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    with pytest.raises(SystemExit) as done:
        main(words)
    out = " ".join(capsys.readouterr().out.split())
    assert not done.value.code, out
    return out


def test_a_history_unlocks_verify_and_rebuild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The receipt stands on what was looked at, not on these.
    some = partial(metrics.summarise_all, names=("scores",))
    monkeypatch.setattr(metrics, "summarise_all", some)
    monkeypatch.setattr(report_receipt, "memory_by_version", lambda scores: None)
    notes, tasks, log = planted(tmp_path)
    bare = advised(config_of(tmp_path, tasks), notes, OLD, NEW)
    assert {"verify", "rebuild"}.isdisjoint(bare.arms.names)
    assert "migrations verify and rebuild (see --history)" in left_out(bare)
    words = ["advise", "notes", "--tasks", "t.jsonl", "--from", OLD, "--to", NEW, "run.name=one"]
    words += ["--history", "log.jsonl", "engine=surrogate"]
    assert "history: 8 episodes of 4 sessions, which settle 4 questions" in printed(capsys, words)
    found = json.loads((tmp_path / "runs" / "one" / "receipt.json").read_text())
    arms = {row["arm"]: row for row in found["arms"]}
    assert found["history"] == 8 and "verify" not in found["left_out"]
    assert arms["as-it-is"]["score"]["mean"] == 0.75
    assert arms["verify"]["gain"]["mean"] == 0.75, "the stale note went, and no other"
    assert arms["verify"]["memory_tokens"] < arms["as-it-is"]["memory_tokens"]
    assert arms["rebuild"]["gain"]["mean"] == 1.0, "the log tells all four"
    # A log that has grown since is no other run, and what it was decides what the run is.
    with log.open("a") as opened:
        opened.write(json.dumps(claude("user", "More?", session="Oak")) + "\n")
    assert "history: as this run has read it before" in printed(capsys, words)
    kept = compose.load_file(tmp_path / "runs" / "one" / "config.yaml")
    assert len(prepare(kept).start.history.past) == 8
    assert compose.config_hash(kept) != compose.config_hash(bare)
    assert "history_hash" not in compose.identity(bare)["start"]
    assert "history" not in compose.identity(kept)["start"]


def test_our_own_runs_are_a_history(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "own"
    run(surrogate(tmp_path, "experiment=tiny", "experiment.lineages=1"), folder)
    config, notes = gathered(surrogate(tmp_path), [folder])
    history = history_of(config.start)
    assert history.past and history.asked and "settle" in notes[0]
    assert all(one.experience.feedback for one in history.past)
    assert {one.task.prompt for one in history.asked} == {p.task.prompt for p in history.past}
