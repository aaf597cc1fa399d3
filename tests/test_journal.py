"""The journal of an unfinished generation: torn, damaged, old, and with what was asked."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.core.errors import LineageError
from lineage.core.files import atomic_writes
from lineage.core.knowledge import EMPTY
from lineage.log.journal import Answer, Journal
from lineage.log.place import Place
from lineage.log.reader import read_steps
from lineage.log.schema import Step
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Completion, Request, TokenCounter, Turn
from lineage.models.replay import Replay
from lineage.runs.migrate import NO_WORLD

PLACE = Place("inherit", 0, "000-inherit", 1)
LONE = "half of a pair: \ud83d"


def step(number: int, **columns: object) -> Step:
    """Return an answered step of `PLACE`."""
    given: dict[str, object] = {"kind": "act", "prompt": f"{number}?", "completion": f"{number}!"}
    return Step(  # type: ignore[arg-type]
        *("run", PLACE.arm, PLACE.pair, PLACE.lineage, PLACE.generation, "m@r0", "work", "w000"),
        step=number,
        step_id=f"run/w000/s{number:02d}",
        **(given | columns),
    )


def journal(folder: Path) -> Path:
    return folder / "journal" / f"{PLACE.name}.jsonl"


def log(folder: Path, journal_steps: int = 1) -> GenerationLog:
    return GenerationLog(folder, PLACE, journal_steps, "hash")


def written(folder: Path, count: int = 4) -> list[Step]:
    """Journal `count` steps, as a process does that is killed then."""
    steps = [step(number) for number in range(count)]
    first = log(folder)
    for one in steps:
        first.append(one, f"asked {one.step}")
    first.flush()
    return steps


def test_what_is_journalled_comes_back_as_it_was(tmp_path: Path) -> None:
    odd = step(
        *(7,),
        completion=LONE,
        tokens=(1, 2),
        logprobs=(-0.1, float("-inf")),
        score=0.1 + 0.2,
        facts=("a\u2028b", "c\nd"),
        met=0,
        error="x\r\ny",
    )
    Journal(tmp_path, PLACE).write([Answer(odd, "digest")])
    assert Journal(tmp_path, PLACE).answers == (Answer(odd, "digest"),)
    lines = journal(tmp_path).read_bytes().decode("utf-8", "surrogatepass").split("\n")
    assert [json.loads(line)[1][0] for line in lines[:-1]] == ["digest"]


@given(st.data())
def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    steps = written(folder)
    whole = journal(folder).read_bytes()
    size = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 9, b"\0\n\0\n"]))
    journal(folder).write_bytes(whole[:size] + tail)
    kept = steps[: whole[:size].count(b"\n")]
    again = log(folder)
    assert [answer.step for answer in again.journal.answers] == kept
    # What comes next takes the place of what was torn.
    again.append(step(9))
    again.flush()
    assert list(log(folder).known.values()) == [*kept, step(9)]


def test_a_damaged_line_that_whole_ones_follow_is_named(tmp_path: Path) -> None:
    steps = written(tmp_path)
    lines = journal(tmp_path).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"1!", b"2!")
    journal(tmp_path).write_bytes(b"".join(lines))
    with pytest.raises(LineageError, match=rf"^line 2 of {journal(tmp_path)} is damaged: [^\n]*$"):
        log(tmp_path)
    del lines[1]
    journal(tmp_path).write_bytes(b"".join(lines))
    assert list(log(tmp_path).known.values()) == [steps[0], *steps[2:]]
    lines[-1] = lines[-1].replace(b"3!", b"2!")
    journal(tmp_path).write_bytes(b"".join(lines))
    assert list(log(tmp_path).known.values()) == [steps[0], steps[2]]


def test_steps_share_the_fsync_that_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, begun, go, real = list[int](), threading.Event(), threading.Event(), os.fsync

    def slow(handle: int) -> None:
        calls.append(handle)
        begun.set()
        assert go.wait(30)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)
    first = log(tmp_path)
    first.append(step(0))
    assert begun.wait(30)
    # The disk is busy, and nobody waits for it; a kill would lose nothing.
    for number in range(1, 50):
        first.append(step(number))
    assert len(log(tmp_path).known) == 50 and len(calls) == 1
    go.set()
    first.flush()
    assert len(calls) == 3, "the first line, its folder, and the 49 others at once"


def test_a_disk_that_refuses_an_fsync_is_told_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    first = log(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        first.append(step(0))
        with pytest.raises(OSError, match="No space left"):
            first.flush()
    first.append(step(1))
    first.flush()
    assert len(log(tmp_path).known) == 2


class Engine:
    """Answers with how often it was asked."""

    def __init__(self) -> None:
        self.asked = list[str]()

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request.id)
        return Completion(f"answer {len(self.asked)}", finish_reason="stop")

    async def counter(self, version: str) -> TokenCounter:
        return len


REQUEST = Request("run/w000/s00", "m@r0", (Turn("user", "0?"),), 8, 0.0, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"turns": (Turn("user", "0"),)},
        {"turns": (Turn("system", "0?"),)},
        {"schema": {"type": "object"}},
        {"choices": ("a", "b")},
        {"tools": ({"name": "open"},)},
        {"max_tokens": 9},
        {"temperature": 0.5},
        {"seed": 1},
        {"version": "m@r1"},
        {"stop": ("\n",)},
        {"logprobs": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_answer_is_replayed_only_to_what_was_asked(
    tmp_path: Path, other: dict[str, object]
) -> None:
    first = log(tmp_path)
    first.append(step(0), REQUEST.digest)
    first.flush()
    engine = Engine()
    replay = Replay(engine, log(tmp_path).answered)
    assert asyncio.run(replay.generate(replace(REQUEST, id="run/w000/s00"))).text == "0!"
    assert not engine.asked
    changed = replace(REQUEST, **other)  # type: ignore[arg-type]
    assert asyncio.run(replay.generate(changed)).text == "answer 1"


def test_without_a_digest_seed_and_prompt_decide() -> None:
    held = step(0, prompt="<user>\n 0?</user>\n<user>Why?</user>", seed=3)
    request = replace(REQUEST, turns=(Turn("user", " 0? "), Turn("user", "Why?")), seed=3)

    def replayed(asked: Request) -> bool:
        engine = Engine()
        replay = Replay(engine, {held.step_id: Answer(held)})
        asyncio.run(replay.generate(asked))
        return not engine.asked

    assert replayed(request)
    assert not replayed(replace(request, seed=4))
    assert not replayed(replace(request, turns=(Turn("user", "0? And?"), Turn("user", "Why?"))))
    assert not replayed(replace(request, turns=request.turns[::-1]))


def test_what_is_asked_otherwise_now_replaces_what_was_logged(tmp_path: Path) -> None:
    old = written(tmp_path)
    again = log(tmp_path)
    new = replace(old[0], prompt="0 else?", completion="else")
    later = replace(old[1], ended_at=5.0, wall_seconds=0.5)
    again.hold(replace(new, kind=""), "asked else")
    again.append(new, "asked else")
    again.append(later, "asked 1")
    again.flush()
    # A process that is killed now has the new answer, and the clock of the old row.
    assert log(tmp_path).known == {one.step_id: one for one in (new, *old[1:])}
    assert log(tmp_path).answered[new.step_id] == Answer(new, "asked else")
    again.finish(EMPTY, NO_WORLD)
    # Two steps of before were not lived again: the episode is shorter now.
    assert read_steps(tmp_path, PLACE) == [new, old[1]]


def test_a_record_appears_once_the_files_that_it_is_of_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, record = (tmp_path / name / "file" for name in ("a", "b", "done"))
    synced: list[tuple[str, bool]] = []

    def noted(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").readlink().name, record.exists()))

    monkeypatch.setattr(os, "fsync", noted)
    atomic_writes({first: b"1", second: b"2"}, {record: b"3"})
    assert [file.read_bytes() for file in (first, second, record)] == [b"1", b"2", b"3"]
    contents, folders = synced[:3], synced[3:]
    assert all(name.startswith(".file.") and not there for name, there in contents)
    assert sorted(folders[:2]) == [("a", False), ("b", False)] and folders[2:] == [("done", True)]

    def full(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name == "b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    record.unlink()
    with pytest.raises(OSError, match="No space left"):
        atomic_writes({first: b"4", second: b"5"}, {record: b"6"})
    assert not record.exists()
    assert not [file for file in tmp_path.rglob("*") if file.name.endswith(".tmp")]
