"""Clusters that do not answer or refuse, a Ray that does not start: one line each."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from lineage.core.errors import LineageError
from lineage.models import cluster as module
from lineage.models.cluster import OWNER, PREFIX, Cluster


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def asked(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Let a cluster answer with an error that ends in `said`."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", f"Traceback:\n{said}\n")

    monkeypatch.setattr(subprocess, "run", run)


def refusal(cluster: Cluster) -> str:
    with pytest.raises(LineageError) as caught:
        cluster.join()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_cluster_that_does_not_answer_is_given_up(silent: str) -> None:
    said = refusal(Cluster(silent, 1))
    assert silent in said and "within 1 s" in said
    assert "run.ray_address" in said and "run.ray_timeout_s" in said


@pytest.mark.parametrize(
    "words",
    [
        "ray.exceptions.AuthenticationError: Token authentication is enabled but no "
        "authentication token was found. Note: RAY_AUTH_MODE is currently 'disabled'.",
        "ray.exceptions.RpcError: UNAUTHENTICATED: InvalidAuthToken",
    ],
)
def test_a_missing_or_wrong_token_names_variable_and_file(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    asked(monkeypatch, words)
    said = refusal(Cluster("10.0.0.1:6379", 1))
    assert "RAY_AUTH_MODE is not set" in said and "RAY_AUTH_MODE=token" in said
    assert str(tmp_path / "token") in said and "RAY_AUTH_TOKEN_PATH" in said


def test_another_error_of_a_cluster_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, "RpcError: Timed out while waiting for GCS to become available")
    said = refusal(Cluster("10.0.0.1:6379", 1))
    assert "no Ray cluster at '10.0.0.1:6379'" in said and "Timed out while waiting" in said
    assert said.endswith("check run.ray_address")


def test_a_ray_that_is_too_slow_to_start_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def init(**options: Any) -> None:
        assert Path(options["_temp_dir"]).parent.stat().st_mode & 0o777 == 0o700
        started.append(subprocess.Popen(["sleep", "60"]))
        raise Exception("The current node timed out during startup. This could happen.")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray, "init", init)
    made = Cluster(None, 1)
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.1)
    said = refusal(made)
    assert "timed out during startup" in said and "run.ray_address" in said
    made.leave()
    assert not psutil.pid_exists(started[0].pid)
    assert not list(tmp_path.iterdir())


def test_the_sweep_leaves_what_is_another_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone, others, torn = (tmp_path / f"{PREFIX}{name}" for name in ("gone", "others", "torn"))
    ended = subprocess.Popen(["true"])
    ended.wait()
    for folder in (gone, others, torn):
        folder.mkdir()
        (folder / OWNER).write_text("" if folder is torn else str(ended.pid))
    read = Path.read_text

    def read_text(self: Path, *arguments: Any, **options: Any) -> str:
        if self.parent == others:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    module._sweep()
    assert (gone.exists(), others.exists(), torn.exists()) == (False, True, True)


def test_ray_is_told_to_stay_on_this_machine() -> None:
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert ray.util.get_node_ip_address() == "127.0.0.1"
