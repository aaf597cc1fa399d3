"""Rays for tests: of one node or several, with a token of their own, and nothing of them left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster as Nodes

from lineage.models.cluster import PLACE, TOKEN

NODE: dict[str, Any] = {"object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
"""What a node is started with: about the least object store that Ray takes."""


@contextmanager
def place() -> Iterator[str]:
    """A folder for a Ray, and nothing of that Ray left behind."""
    others = set(psutil.Process().children(recursive=True))
    # Not below pytest's folder, which is too long for Ray's sockets.
    folder = Path(tempfile.mkdtemp(prefix="lineage-"))
    before = os.environ.get(PLACE)
    token = folder / "auth_token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    os.environ[PLACE] = str(token)
    try:
        yield str(folder / "r")
    finally:
        ray.shutdown()
        started = [one for one in psutil.Process().children(recursive=True) if one not in others]
        _, alive = psutil.wait_procs(started, timeout=10)
        for one in alive:
            with suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(alive, timeout=10)
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ[PLACE]
        if before is not None:
            os.environ[PLACE] = before


def prepare(patch: pytest.MonkeyPatch, folder: str) -> None:
    """Tell the nodes that are started next what they go by, beside the `folder` of their Ray."""
    # Where it notes which cluster is the latest, in a folder that it takes to be there.
    patch.setenv("RAY_TMPDIR", str(Path(folder).parent))
    Path(folder).with_name("ray").mkdir()
    # What does not answer five times is dead: within seconds.
    patch.setenv("RAY_health_check_period_ms", "500")


def processes(title: str, above: psutil.Process | None = None) -> list[psutil.Process]:
    """Return what runs under a `title` of Ray's, below this process or the one `above`."""
    found = []
    for one in (above or psutil.Process()).children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(one.cmdline()).startswith(title):
                found.append(one)
    return found


def heard_outside() -> list[str]:
    """Return which sockets of this process and of all below it others than this machine reach."""
    found = []
    for process in (me := psutil.Process(), *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found += [
                f"{process.name()} {socket.laddr.ip}:{socket.laddr.port}"
                for socket in process.net_connections("inet")
                if (socket.status == psutil.CONN_LISTEN or socket.type == SOCK_DGRAM)
                and socket.laddr
                and not ip_address(socket.laddr.ip.removeprefix("::ffff:")).is_loopback
            ]
    return found


@contextmanager
def cluster(*nodes: dict[str, Any]) -> Iterator[Nodes]:
    """A cluster with these `nodes` on this machine, which this process has joined at the first."""
    ray.shutdown()
    with place() as folder, pytest.MonkeyPatch.context() as patch:
        prepare(patch, folder)
        made = Nodes()
        try:
            for number, one in enumerate(nodes):
                first = {} if number else {"temp_dir": folder}
                made.add_node(**one, **NODE, **first)
            ray.init(address=made.address, log_to_driver=False)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()
