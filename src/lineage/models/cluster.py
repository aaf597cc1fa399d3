"""A Ray of our own, or the user's cluster: joined, asked for its devices, left without a trace."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import psutil
import ray

from lineage.errors import LineageError

PREFIX = "lineage-ray-"
OWNER = "owner.pid"
OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Requests and completions are small; Ray's default would take a third of the memory."""
TOKEN = secrets.token_hex(32)
"""Of every Ray that this process starts: Ray reads it once a process, and would otherwise make one
of its own and leave it in the home folder."""


class Cluster:
    """A connection to Ray. `address` None: a Ray of our own, gone when it is left."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.folder: Path | None = None
        self.joined = False

    def join(self) -> None:
        """Connect. Raises LineageError where there is no cluster at the address."""
        if ray.is_initialized():
            return
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address:
            try:
                ray.init(address=self.address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise LineageError(f"no Ray cluster at {self.address!r}: {error}") from error
        else:
            _sweep()
            # Short, because Ray keeps Unix sockets in it, whose paths end at 107 characters.
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            (self.folder / OWNER).write_text(str(os.getpid()))
            atexit.register(self.leave)
            if "RAY_AUTH_TOKEN_PATH" not in os.environ or self._token_is_ours():
                token = self.folder / "auth_token"
                token.write_text(TOKEN)
                token.chmod(0o600)
                os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
            try:
                ray.init(
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(self.folder),
                    **quiet,
                )
            except (RuntimeError, ValueError, OSError) as error:
                reason = str(error).strip().splitlines()[0]
                raise LineageError(f"Ray did not start on this machine: {reason}") from error
        self.joined = True

    @staticmethod
    def _token_is_ours() -> bool:
        return PREFIX in os.environ["RAY_AUTH_TOKEN_PATH"]

    def gpus(self) -> float:
        """Return how many GPUs Ray has."""
        return float(ray.cluster_resources().get("GPU", 0.0))

    def leave(self) -> None:
        """Disconnect; a Ray of our own ends and its folder goes. Safe to call twice."""
        if self.joined:
            ray.shutdown()
            self.joined = False
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def end_processes(ids: list[int]) -> None:
    """Kill the processes `ids` that are still there (on this machine)."""
    for id in ids:
        try:
            process = psutil.Process(id)
            process.kill()
            process.wait(timeout=5)
        except psutil.Error:
            continue


def _sweep() -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder / OWNER
        if owner.exists() and not psutil.pid_exists(int(owner.read_text() or 0)):
            shutil.rmtree(folder, ignore_errors=True)
