"""A Ray of our own, or the user's cluster: joined, asked for its devices, left without a trace."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil
import ray

from lineage.core.errors import LineageError, first_line
from lineage.core.signals import handlers_kept

PREFIX = "lineage-ray-"
OWNER = "owner.pid"
INSIDE = "r"
"""Ray's own folder within ours: Ray lets everybody write there, and ours nobody in.

Short, because Ray keeps Unix sockets in it, whose paths end at 107 characters."""
OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Requests and completions are small; Ray's default would take a third of the memory."""
LEAVE_SECONDS = 5.0
"""How long Ray's processes may take to end before they are killed."""
HEAD_SECONDS = 40.0
"""How long Ray's head may be silent. After 60 Ray ends the process itself, in the midst of it."""
HEAD_LOOK_SECONDS = 2.0
"""Between two looks at the head."""
TOKEN = secrets.token_hex(32)
"""Of every Ray that this process starts: Ray reads it once a process, and would otherwise make one
of its own and leave it in the home folder."""
QUIET = {"log_to_driver": False, "logging_level": logging.CRITICAL}
"""What Ray logs about its failures is many lines; what it raises says the same."""
OURS = {
    # What Ray would start beside, and nobody here reads.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # Ray's own 15 would have an engine wait for whatever else the machine does.
    "RAY_worker_niceness": "0",
}
"""What a Ray of our own is told, where the user has told it nothing else."""
ALIVE = (sys.executable, "-m", "ray.scripts.scripts", "status")
"""Asks a cluster for its state: a process of its own, since in this one it could not be ended."""
MODE, PLACE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"
DENIED = ("token", "authenticat", "unauthorized", "forbidden")
"""What Ray says, somewhere in it, where the token is missing or wrong."""
TOKEN_HELP = (
    f"set {MODE}=token and {PLACE} to the file that holds its token "
    "(~/.ray/auth_token where it is not set)"
)


class Cluster:
    """A connection to Ray. `address` None: a Ray of our own, gone when it is left."""

    def __init__(self, address: str | None, timeout_s: float) -> None:
        """`timeout_s` is how long the cluster at `address` may take to answer."""
        self.address, self.timeout_s = address, timeout_s
        self.folder: Path | None = None
        self.joined = False
        self.started: list[psutil.Process] = []

    def join(self) -> None:
        """Connect. Raises LineageError where no cluster answers, or a Ray does not start."""
        if ray.is_initialized():
            return
        with handlers_kept():
            if self.address:
                self._connect(self.address)
            else:
                self._start()
        self.joined = True

    def _connect(self, address: str) -> None:
        check_answers(address, self.timeout_s)
        try:
            ray.init(address=address, **QUIET)
        except Exception as error:  # Ray raises bare ones too
            raise refused(address, str(error)) from error

    def _start(self) -> None:
        for name, told in OURS.items():
            os.environ.setdefault(name, told)
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self.folder / OWNER).write_text(str(os.getpid()))
        atexit.register(self.leave)
        if PLACE not in os.environ or PREFIX in os.environ[PLACE]:
            token = self.folder / "auth_token"
            token.touch(mode=0o600)
            token.write_text(TOKEN)
            os.environ[PLACE] = str(token)
        if not ip_address(ray.util.get_node_ip_address()).is_loopback:
            warnings.warn(
                "Ray was imported before lineage.models: it listens on all interfaces", stacklevel=2
            )
        others = set(psutil.Process().children())
        try:
            ray.init(
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(self.folder / INSIDE),
                **QUIET,
            )
        except Exception as error:  # Ray raises a bare one when it is too slow
            reason = first_line(error).rstrip(".")
            raise LineageError(
                f"Ray did not start on this machine ({reason}): end other work on it "
                "and try again, or join a Ray that runs with run.ray_address"
            ) from error
        finally:
            self.started = [one for one in psutil.Process().children() if one not in others]

    async def watch(self) -> None:
        """Raise LineageError once Ray's head is gone; until then it goes on.

        Actors answer without a head, so nothing else would tell before Ray ends this process.
        """
        while True:
            heard, since = threading.Event(), time.monotonic()
            # A call to a head that is gone does not end, and a daemon keeps nobody waiting.
            threading.Thread(target=_ask_head, args=(heard,), daemon=True).start()
            while not heard.is_set():
                await asyncio.sleep(HEAD_LOOK_SECONDS)
                if time.monotonic() - since > HEAD_SECONDS:
                    raise LineageError(
                        f"the head of Ray has not answered for {HEAD_SECONDS:g} s: start it again, "
                        "then lineage resume goes on"
                    )
            await asyncio.sleep(HEAD_LOOK_SECONDS)

    def gpus(self) -> float:
        """Return how many GPUs Ray has."""
        return float(ray.cluster_resources().get("GPU", 0.0))

    def leave(self) -> None:
        """Disconnect; a Ray of our own ends and its folder goes. Safe to call twice."""
        # Ray's agents are children of its node, and outlive it otherwise.
        processes = [*self.started, *_below(self.started)]
        self.started = []
        if self.joined:
            ray.shutdown()
            self.joined = False
        if self.folder is not None:
            if ray.is_initialized():  # cut off while it was joined
                ray.shutdown()
            _end(processes)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def _ask_head(heard: threading.Event) -> None:
    with suppress(Exception):  # whatever it says, it is there
        ray.nodes()
    heard.set()


def check_answers(address: str, timeout_s: float) -> None:
    """Raise LineageError where no Ray answers at `address` within `timeout_s`, or refuses."""
    if address.startswith("ray://"):
        return  # Ray's client gives up by itself
    where = [] if address == "auto" else ["--address", address]
    try:
        asked = subprocess.run(
            [*ALIVE, *where], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LineageError(
            f"no Ray cluster at {address!r} answered within {timeout_s:g} s: "
            "check run.ray_address, or raise run.ray_timeout_s"
        ) from error
    if asked.returncode:
        raise refused(address, asked.stderr)


def refused(address: str, said: str, key: str = "run.ray_address") -> LineageError:
    """Return the error for a cluster at `address`, set by `key`, that Ray `said` is no use."""
    if any(word in said.lower() for word in DENIED):
        mode, file = os.environ.get(MODE, "not set"), os.environ.get(PLACE, "not set")
        return LineageError(
            f"the Ray cluster at {address!r} refused the token ({MODE} is {mode}, {PLACE} is "
            f"{file}): {TOKEN_HELP}"
        )
    last = said.strip().rpartition("\n")[2].rstrip(".")
    return LineageError(f"no Ray cluster at {address!r}: {last}; check {key}")


def end_processes(ids: Iterable[int]) -> None:
    """Kill the processes `ids` that are still there (on this machine)."""
    for id in ids:
        try:
            process = psutil.Process(id)
            process.kill()
            process.wait(timeout=5)
        except psutil.Error:
            continue


def _below(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for one in processes:
        with suppress(psutil.Error):
            found += one.children(recursive=True)
    return found


def _end(processes: list[psutil.Process]) -> None:
    """Wait until `processes` have ended, and kill those that do not."""
    _, alive = psutil.wait_procs(processes, timeout=LEAVE_SECONDS)
    for one in alive:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(alive, timeout=LEAVE_SECONDS)


def _sweep() -> None:
    """Remove the folders of processes that were killed before they could; others' stay."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            owner = int((folder / OWNER).read_text())
            if folder.stat().st_uid == os.getuid() and not psutil.pid_exists(owner):
                shutil.rmtree(folder, ignore_errors=True)
