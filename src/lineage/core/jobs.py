"""A run as a job of a cluster: its id, its command, and what is said of it. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from lineage.core.errors import LineageError
from lineage.core.names import check_run_name

PORT = 8265
"""Of Ray's dashboard, where an address has none."""
SUCCEEDED = "SUCCEEDED"
ENDED = (SUCCEEDED, "FAILED", "STOPPED")
"""The states of a job that goes on no more, as Ray has them."""
PREFIX = "lineage-"
"""Of the ids of our jobs, among those of others."""
ENTRY, MODULE = ("lineage", "run"), ("python", "-m", "lineage", "run")
"""How a job begins: with the command that the cluster has, or what was sent along."""
EXACT = {"Ray": None, "Python": 2}
"""How many numbers of a version must be the same here and there; None: all of them."""


@dataclass(frozen=True)
class Job:
    """A job as its cluster has it. `reason` says in a line why it is as it is, or is empty.

    `words` are those of `lineage submit` that it was sent by; none where something else sent it.
    """

    id: str
    status: str
    entrypoint: str
    reason: str = ""
    words: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it goes on no more."""
        return self.status in ENDED


@dataclass(frozen=True)
class Submission:
    """A run that is to be a job: the `id` of its first, and the `words` of its command.

    The same configuration and name are the same job, whatever their overrides are written like.
    """

    id: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Which job a submission is: `last` is the newest of its jobs, None where there is none yet."""

    id: str
    last: Job | None

    @property
    def sent(self) -> bool:
        """Whether it is one that is not there yet."""
        return self.last is None or self.last.id != self.id


def submission(
    job: str, hash: str, overrides: Sequence[str], name: str | None, address: str | None
) -> Submission:
    """Return the run `job` of the configuration `hash`, which `overrides` make, as a job.

    `name` and `address` are its `run.name` and `run.ray_address`; where they are None it is named
    after its configuration, so that its folder is found again, and joins the cluster that it is on.
    Raises LineageError where the experiment's name is none of a folder.
    """
    run = name or job
    check_run_name(run)
    named = () if name else (f"run.name={run}",)
    joined = () if address else ("run.ray_address=auto",)
    id = f"{PREFIX}{run}" if run.endswith(hash) else f"{PREFIX}{run}-{hash}"
    return Submission(id, (*overrides, *named, *joined))


def choose(first: str, known: Mapping[str, Job]) -> Choice:
    """Return which job goes on with the submission whose first id is `first`.

    One that runs or has succeeded is itself; one that failed or was stopped is gone on with under
    the next number, since a cluster takes an id once.
    """
    numbered = re.compile(rf"{re.escape(first)}(?:-([0-9]{{1,9}}))?")
    found = {int(m[1] or 1): id for id in known if (m := numbered.fullmatch(id))}
    if not found:
        return Choice(first, None)
    number = max(found)
    last = known[found[number]]
    if last.ended and last.status != SUCCEEDED:
        return Choice(f"{first}-{number + 1}", last)
    return Choice(last.id, last)


def entrypoint(words: Sequence[str], brought: bool = False) -> str:
    """Return the command of a job; `brought`: lineage itself is sent along."""
    return shlex.join([*(MODULE if brought else ENTRY), *words])


def address_of(given: str) -> str:
    """Return the URL of the dashboard that `given` names, as `HOST`, `HOST:PORT` or a URL.

    Raises LineageError where it is none.
    """
    whole = "://" in given
    text = (given if whole else f"http://{given}").rstrip("/")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise LineageError(
            f"--address {given!r} is no dashboard: name it as http://HOST:{PORT}, without a user"
        )
    return text if whole or port is not None else f"{text}:{PORT}"


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return how a cluster of other versions is told from here; "" where they go together.

    By name ("Ray", "Python") the version; one that `there` lacks is not known.
    """
    wrong = [
        name
        for name, most in EXACT.items()
        if name in there and there[name].split(".")[:most] != here[name].split(".")[:most]
    ]
    if not wrong:
        return ""
    theirs = " on ".join(f"{name} {there[name]}" for name in EXACT if name in there)
    ours = " on ".join(f"{name} {here[name]}" for name in EXACT)
    return f"runs {theirs}, and this is {ours}: use the same {' and '.join(wrong)} on both"


def told(choice: Choice, address: str, entry: str) -> str:
    """Return in a line what becomes of a submission with the command `entry`."""
    last = choice.last
    if last is None:
        return f"{choice.id} is submitted to {address}"
    if choice.sent:
        return f"{choice.id} is submitted to {address}: it goes on with the run of {state(last)}"
    other = "" if last.entrypoint == entry else f"; its command is another: {last.entrypoint}"
    if last.status == SUCCEEDED:
        return f"{state(last)} already, nothing is sent: another run has another run.name{other}"
    return f"{choice.id} is there already, {last.status}: nothing is sent{other}"


def state(job: Job) -> str:
    """Return a job and what it is, as "lineage-NAME FAILED (exit code 1)"."""
    # A reason is what Ray says; of one that is well it says nothing that the state does not.
    reason = f" ({job.reason})" if job.reason and job.status == "FAILED" else ""
    return f"{job.id} {job.status}{reason}"


def command(address: str, *words: str) -> str:
    """Return the command that a shell takes for `lineage submit` with these words."""
    return shlex.join(["lineage", "submit", "--address", address, *words])


def commands(address: str, id: str, words: Sequence[str], ended: bool = False) -> list[str]:
    """Return what may be done next with the job `id`, as commands for a shell.

    `words` are those that it was submitted with, where they are known.
    """
    lines = [command(address, *words)] if words else []
    if not ended:
        lines += [command(address, flag, id) for flag in ("--status", "--stop")]
    return lines


class Unseen:
    """What is new of a text that comes in pieces, and from its beginning each time it comes again.

    `seen` counts the characters that were new once.
    """

    def __init__(self) -> None:
        self.seen = self.place = 0

    def again(self) -> None:
        """Begin at the beginning."""
        self.place = 0

    def of(self, text: str) -> str:
        """Return what is new of the next piece."""
        new = text[max(0, self.seen - self.place) :]
        self.place += len(text)
        self.seen = max(self.seen, self.place)
        return new
