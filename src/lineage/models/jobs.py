"""The jobs of a Ray cluster, asked of its head over HTTP: sent, followed, stopped.

What is wrong becomes one line. The first question is asked here, and not by Ray's own client, which
waits for ever on a head that takes a connection and says nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lineage.core.environ import variable
from lineage.core.errors import LineageError, first_line, last_line, nearest
from lineage.core.jobs import Job, Unseen, differing
from lineage.core.signals import Stoppable
from lineage.models.cluster import MODE, PLACE, refused

SERVER = "RAY_API_SERVER_ADDRESS"
"""Goes before whatever address Ray's client is given."""
BARE = "RAY_AUTH_TOKEN"
"""Holds a token itself, and goes before the file that `PLACE` names."""
REFUSING = (401, 403)
STOP_SECONDS = 20.0
"""How long a job may take to stop: Ray kills what has not after three."""
LOOK_SECONDS = 0.2
TRIES = 5
"""How often in a row a log is asked for again that breaks off before its job has ended."""
WORDS = "lineage submit"
"""Under which name the cluster keeps the words that a job was sent by."""
LONGEST = 300
"""Characters of what Ray says in a line of ours."""


class Head:
    """The head of the cluster whose dashboard is at `address`, as `http://HOST:PORT`."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """`timeout_s` is how long it may take to answer at first."""
        self.address, self.timeout_s = address, timeout_s

    def reached(self) -> str:
        """Return which Ray it runs. Raises LineageError where it does not answer, or refuses."""
        return str(self._asked("/api/version").get("ray_version"))

    def check(self) -> None:
        """Raise LineageError as `reached` does, and where it is of another Ray or Python."""
        there = {"Ray": self.reached()}
        # Only some versions of Ray tell this.
        with suppress(LineageError):
            data = self._asked("/api/v0/cluster_metadata").get("data")
            found = dict(data) if isinstance(data, dict) else {}
            if python := found.get("pythonVersion", found.get("python_version")):
                there["Python"] = str(python)
        here = {"Ray": version("ray"), "Python": platform.python_version()}
        if said := differing(here, there):
            raise LineageError(f"the cluster at {self.address!r} {said}")

    def jobs(self) -> dict[str, Job]:
        """Return every job that was submitted to it, ended or not, by id."""
        with self._one_line("did not list its jobs"):
            listed = [_job(one) for one in self._client.list_jobs() if one.submission_id]
        return {one.id: one for one in listed}

    def job(self, id: str) -> Job:
        """Return the job `id`; raises LineageError where there is none."""
        known = self.jobs()
        if id not in known:
            raise LineageError(f"no job {id!r} at {self.address!r}{nearest(id, [*known])}")
        return known[id]

    def send(
        self, id: str, entrypoint: str, environment: Mapping[str, Any], words: Sequence[str]
    ) -> bool:
        """Submit a job, and return whether it was: False where another did so meanwhile.

        `environment` is Ray's runtime environment; the folders that it names are uploaded. `words`
        are those of `lineage submit`.
        """
        with self._one_line(f"did not take {id}"):
            try:
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=id,
                    runtime_env=dict(environment),
                    metadata={WORDS: shlex.join(words)},
                )
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                return False
        return True

    def stop(self, id: str) -> Job:
        """Ask the job `id` to stop; return what it is then, or after `STOP_SECONDS` at the most."""
        found, until = self.job(id), time.monotonic() + STOP_SECONDS
        if not found.ended:
            with self._one_line(f"did not stop {id}"):
                self._client.stop_job(id)
            while not found.ended and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
                found = self.job(id)
        return found

    def follow(self, id: str, show: Callable[[str], None]) -> Job:
        """`show` the log of the job `id` from its beginning, as it grows; return what it came to.

        Raises LineageError where the head is lost on the way, and KeyboardInterrupt.
        """
        found = self.job(id)
        if found.ended:
            with self._one_line(f"has no log of {id}"):
                show(self._client.get_job_logs(id))
            return found
        with Stoppable() as stoppable:
            return stoppable.run(self._follow(id, show))

    async def _follow(self, id: str, show: Callable[[str], None]) -> Job:
        unseen, lost = Unseen(), 0
        while True:
            before, why = unseen.seen, ""
            try:
                # Ray sends the log from its beginning each time.
                unseen.again()
                async for text in self._client.tail_job_logs(id):
                    show(unseen.of(text))
            except BrokenPipeError:
                raise  # of whoever reads what is shown
            except Exception as error:  # aiohttp's, Ray's and bare ones
                why = first_line(error)
            found: Job | None = None
            try:
                found = self.job(id)
            except LineageError as error:
                why = str(error)
            if found is not None and found.ended:
                return found
            lost = 0 if unseen.seen > before else lost + 1
            if lost >= TRIES:
                raise LineageError(
                    f"the log of {id} at {self.address!r} broke off {lost} times in a row "
                    f"({_short(why) or 'without a reason'}): the job may go on, follow it again"
                )
            await asyncio.sleep(lost)

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        # Ray tells of every package that it sends, and of every log that ends.
        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)
        with variable(SERVER, self.address):
            return JobSubmissionClient(self.address, headers=dict(_headers()))

    def _asked(self, path: str) -> dict[str, Any]:
        """Return the JSON that the head has at `path`; raises LineageError."""
        request = Request(self.address + path)
        for name, value in _headers().items():
            # Whoever the head sends us on to gets no token.
            request.add_unredirected_header(name, value)
        try:
            with urlopen(request, timeout=self.timeout_s) as answer:
                found = json.loads(answer.read())
        except HTTPError as error:
            if error.code in REFUSING:
                raise refused(self.address, "token", "--address") from error
            raise self._none(f"it answers {path} with {error.code} {error.reason}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise self._none(str(getattr(error, "reason", error))) from error
        if not isinstance(found, dict):
            raise self._none(f"it answers {path} with no object")
        return found

    def _none(self, why: str) -> LineageError:
        return LineageError(
            f"no Ray dashboard at {self.address!r} ({_short(why)}): check --address, or raise "
            f"run.ray_timeout_s (now {self.timeout_s:g})"
        )

    @contextmanager
    def _one_line(self, what: str) -> Iterator[None]:
        """Let whatever Ray's client raises be one line that says `what` the cluster did not do."""
        try:
            yield
        except LineageError:
            raise
        except Exception as error:  # Ray's own, requests' and bare ones, some with a whole trace
            last = _short(last_line(error))
            raise LineageError(f"the Ray cluster at {self.address!r} {what}: {last}") from error


def token() -> str | None:
    """Return the token that is sent to a cluster; None where there is none, or it is turned off.

    It is looked for where Ray looks: in a variable, in the file that another names, at home. Raises
    LineageError where that file cannot be read.
    """
    if os.environ.get(MODE, "token").lower() != "token":
        return None
    if held := os.environ.get(BARE, "").strip():
        return held
    named = os.environ.get(PLACE)
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        held = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        if not named and isinstance(error, FileNotFoundError):
            return None
        why = error.strerror if isinstance(error, OSError) else "no text in ASCII"
        raise LineageError(
            f"the token of the Ray cluster cannot be read from {file} ({why}): set {PLACE} to the "
            "file that holds it"
        ) from error
    return held or None


def _headers() -> dict[str, str]:
    held = token()
    if held is None:
        return {}
    # Sent as it is, it would be quoted by whoever finds fault with the header.
    if not held.isascii() or not held.isprintable() or " " in held:
        raise LineageError(
            f"what {BARE} or the file of {PLACE} holds is no token: see docs/cluster.md"
        )
    return {"Authorization": f"Bearer {held}"}


def _job(details: Any) -> Job:
    """Return what Ray's client says of a job."""
    code = details.driver_exit_code
    said = (details.message or "").strip()
    return Job(
        id=str(details.submission_id),
        status=str(details.status),
        entrypoint=str(details.entrypoint),
        # Where the command itself failed, that is its log, which is shown as such.
        reason=_short(said.rpartition("\n")[2]) if code is None else f"exit code {code}",
        words=tuple(shlex.split((details.metadata or {}).get(WORDS, ""))),
    )


def _short(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
