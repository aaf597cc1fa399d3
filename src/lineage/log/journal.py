"""The journal of an unfinished generation: a line a step, appended as the steps finish.

    journal/<lineage>-g00.jsonl   ["<checksum>", ["<digest of what was asked>", {<the step>}]]

A line is written before `write` returns, so that a killed process has lost nothing of it. Its fsync
is a power cut's affair: a thread does it, and lines that come meanwhile share the next one. What
a kill or a full disk left torn at the end is thrown away, and the next line takes its place.

SQLite in WAL mode takes seven times as long a step, commits on the event loop, and needs nearly
twice the bytes and the time to open (`benchmarks/log_writer.py` has all ways side by side).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.files import sync_folder
from lineage.log.place import Place
from lineage.log.schema import LISTS, Step

SYNCING = ThreadPoolExecutor(4, "journal")
"""The threads that wait for the disk, for all journals of this process."""
OPEN, CHECKSUM, THEN, CLOSE = b'["', 8, b'",', b"]"
"""What a line is made of beside its body: a JSON array of two, the first a CRC-32 of the second."""
DEFAULTS = {
    one.name: one.default if one.default_factory is MISSING else one.default_factory()
    for one in fields(Step)
}
"""What a line leaves out, by field; MISSING where it is always there."""


@dataclass(frozen=True)
class Answer:
    """A step that an earlier process logged or held, and the digest of what was asked for it.

    `asked` is "" where that is not known, or nothing was asked.
    """

    step: Step
    asked: str = ""


class Journal:
    """The lines of the generation at `place`; `answers` are those that were there, in order.

    Raises LineageError where one is damaged that whole ones follow.
    """

    def __init__(self, run: Path, place: Place) -> None:
        self.file = run / "journal" / f"{place.name}.jsonl"
        answers, self.size = _whole(self.file)
        self.answers = tuple(answers)
        self.lock, self.busy, self.synced = Lock(), False, 0
        self.syncing: Future[None] | None = None

    def write(self, answers: Sequence[Answer]) -> None:
        """Append a line for each of `answers`, and let a thread make them durable.

        Raises OSError where the disk refuses these lines, or refused the fsync of earlier ones.
        """
        if self.syncing is not None and self.syncing.done():
            self.wait()
        data = b"".join(map(_line, answers))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
            file.seek(self.size)
            # What was torn may be longer than what comes now.
            file.truncate()
            file.write(data)
        with self.lock:
            self.size += len(data)
            due, self.busy = not self.busy, True
        if due:
            self.syncing = SYNCING.submit(self._sync)

    def wait(self) -> None:
        """Wait until all lines are durable. Raises OSError where the disk refuses."""
        syncing, self.syncing = self.syncing, None
        if syncing is not None:
            syncing.result()

    def drop(self) -> None:
        """Remove the journal: the record of its generation is written."""
        self.file.unlink(missing_ok=True)

    def _sync(self) -> None:
        """Make all lines durable, those too that are written meanwhile."""
        try:
            while True:
                with self.lock:
                    target = self.size
                self._fsync()
                with self.lock:
                    if self.size == target:
                        self.busy = False
                        return
        except BaseException:
            with self.lock:
                self.busy = False
            raise

    def _fsync(self) -> None:
        try:
            with self.file.open("rb") as file:
                os.fsync(file.fileno())
            if not self.synced:
                sync_folder(self.file.parent)
        except FileNotFoundError:
            return  # dropped meanwhile: the generation is finished
        self.synced += 1


def answers_in(file: Path) -> list[Answer]:
    """Return the answers in the journal `file`, as `Journal` has them; nothing is changed.

    Raises LineageError where a line is damaged that whole ones follow.
    """
    return _whole(file)[0]


def drop_journal(run: Path, place: Place) -> None:
    """Remove the journal of a generation whose record is written, unread."""
    (run / "journal" / f"{place.name}.jsonl").unlink(missing_ok=True)


def _line(answer: Answer) -> bytes:
    step = answer.step
    columns = {
        name: value
        for name, default in DEFAULTS.items()
        if (value := getattr(step, name)) != default
    }
    # A model may write half of a surrogate pair.
    body = json.dumps([answer.asked, columns], ensure_ascii=False, separators=(",", ":"))
    data = body.encode("utf-8", "surrogatepass")
    return OPEN + _checksum(data) + THEN + data + CLOSE + b"\n"


def _checksum(data: bytes) -> bytes:
    return b"%0*x" % (CHECKSUM, zlib.crc32(data))


def _whole(file: Path) -> tuple[list[Answer], int]:
    """Return what the lines of `file` hold, and the bytes they take; a torn end is left out.

    The end is all that follows the last whole line: a power cut may leave several.
    """
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    found = [_answer(line) for line in lines]
    last = max((n for n, answer in enumerate(found) if answer is not None), default=-1)
    answers = []
    for number, answer in enumerate(found[: last + 1], start=1):
        if answer is None:
            raise LineageError(
                f"line {number} of {file} is damaged: remove that line, and what it held is "
                "generated again"
            )
        answers.append(answer)
    return answers, sum(len(line) + 1 for line in lines[: last + 1])


def _answer(line: bytes) -> Answer | None:
    """Return what a line holds; None where it is no whole line."""
    body = line[len(OPEN) + CHECKSUM + len(THEN) : -len(CLOSE)]
    if line != OPEN + _checksum(body) + THEN + body + CLOSE:
        return None
    try:
        asked, columns = json.loads(body.decode("utf-8", "surrogatepass"))
        known: dict[str, Any] = {name: columns[name] for name in DEFAULTS if name in columns}
        known |= {name: tuple(known[name]) for name in LISTS if name in known}
        return Answer(Step(**known), str(asked))
    except (ValueError, TypeError, RecursionError):
        return None
