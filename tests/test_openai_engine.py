"""The real model behind `vllm serve` on loopback: the same tasks and the same table as in vLLM."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import pytest
from apis import NEW, Api
from helpers import run, steps

from lineage import compose
from lineage.core.config import Config
from lineage.core.config_engine import ModelConfig, VllmConfig
from lineage.core.fields import checked
from lineage.models.checkpoint import locate
from lineage.models.precision import precision
from lineage.models.profile import resolve
from lineage.models.versions import lookup, registry
from lineage.models.vllm_arguments import arguments
from lineage.models.vllm_engine import environment

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

R0, R1 = "smollm2-135m@r0", "smollm2-135m@r1"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
VARIABLE, KEY = "LOOPBACK_KEY", "loopback-key-48151623"
READY_SECONDS = 900


def configured(root: Path, *overrides: str) -> Config:
    return compose.load(
        ["experiment=tiny", "agent.docs=true", f"run.root={root}", f"run.cache={CACHE}", *overrides]
    )


def flags(told: dict[str, Any]) -> list[str]:
    """Return arguments of vLLM's engine as its command line has them."""
    found: list[str] = []
    for name, value in told.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            found.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            found += [flag, *value]
        elif value is not None:
            found += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return found


def serve(port: int, vllm: VllmConfig, log: Path) -> subprocess.Popen[bytes]:
    """Start `vllm serve` with both versions, as the fleet starts its engine on a CPU."""
    config = configured(log.parent)
    versions = {name: lookup(registry(config.model), name) for name in (R0, R1)}
    located = {name: locate(one, CACHE) for name, one in versions.items()}
    versions = {
        name: replace(one, adapter=str(located[name].adapter or ""))
        for name, one in versions.items()
    }
    profile = resolve(config.engine, gpus=False)
    checkpoint = str(located[R0].checkpoint)
    told = arguments(checkpoint, versions, vllm, profile, precision(vllm.dtype, False), False)
    command = [
        # What `vllm serve` runs: that command itself asks for a package named vllm, and the build
        # for processors has another name.
        *(sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry", *flags(told)),
        *("--lora-modules", f"{R1}={located[R1].adapter}", "--served-model-name", R0),
        # What a model's folder says of sampling is no part of a request of ours.
        *("--generation-config", "vllm", "--host", "127.0.0.1", "--port", str(port)),
    ]
    # It leaves files where the temporary ones are.
    own = {"VLLM_API_KEY": KEY, "TMPDIR": str(log.parent)}
    variables = environment(vllm, CACHE, profile) | own
    with log.open("wb") as file:
        return subprocess.Popen(
            command, env=os.environ | variables, stdout=file, stderr=subprocess.STDOUT
        )


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, f"vllm serve ended: {log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(2)
    raise AssertionError(f"vllm serve is not ready: {log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Any], list[Any], Path]]:
    """The steps of a run on the server, of the same run on vLLM, and where both runs are."""
    root = tmp_path_factory.mktemp("api")
    own = configured(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tokenizer = str(locate(lookup(registry(own.model), R0), CACHE).checkpoint)
    behind = {"kind": "openai", "endpoint": "here", "tokenizer": tokenizer}
    endpoint = {
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key_var": VARIABLE,
        "structured": "structured_outputs",
        "timeout_s": 600.0,
    }
    versions = {
        name: {"checkpoint": behind | {"path": name}, "context_window": 2048, "parent": parent}
        for name, parent in ((R0, ""), (R1, R0))
    }
    tree = {"shelf": "versions", "endpoints": {"here": endpoint}, "versions": versions}
    remote = replace(configured(root, "engine=openai"), model=checked(ModelConfig, tree, "model"))
    log = root / "serve.log"
    server = serve(port, own.engine.vllm, log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, KEY)
            run(remote, root / "remote")
    finally:
        alive = server.poll() is None
        children = psutil.Process(server.pid).children(recursive=True) if alive else []
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
        for one in psutil.wait_procs(children, timeout=30)[1]:
            one.kill()
    run(own, root / "own")
    yield steps(root / "remote"), steps(root / "own"), root


def by_place(log: list[Any], arm: str) -> dict[str, Any]:
    """Return the answered steps of `arm` by id, without the run's part."""
    return {
        row["step_id"].partition("/")[2]: row
        for row in log
        if row["arm"] == arm and row["prompt_tokens"]
    }


def test_a_prompt_and_its_answer_are_those_of_vllm(logs: tuple[list[Any], list[Any], Path]) -> None:
    remote, own, _ = logs
    assert not [row["error"] for row in remote if row["error"]]
    # Without Knowledge all prompts are known before: the template, the tokens and the seed agree.
    here, there = by_place(remote, "cold"), by_place(own, "cold")
    assert here.keys() == there.keys()
    assert [row["prompt_tokens"] for row in here.values()] == [
        there[name]["prompt_tokens"] for name in here
    ]
    assert [row["seed"] for row in here.values()] == [there[name]["seed"] for name in here]
    same = sum(row["completion"] == there[name]["completion"] for name, row in here.items())
    # Sums are taken in another order in another batch, which moves an answer now and then.
    assert same >= 0.8 * len(here)


def test_the_table_is_that_of_vllm(logs: tuple[list[Any], list[Any], Path]) -> None:
    def table(log: list[Any]) -> dict[tuple[str, str], float]:
        cells = defaultdict[tuple[str, str], list[float]](list)
        for row in log:
            if row["kind"] == "probe" and row["score"] is not None:
                cells[row["arm"], row["family"]].append(row["score"])
        return {cell: mean(scores) for cell, scores in cells.items()}

    remote, own, _ = logs
    here, there = table(remote), table(own)
    assert here.keys() == there.keys()
    # 4 or 8 probes a cell: one of them may come out otherwise.
    assert all(abs(score - there[cell]) <= 0.26 for cell, score in here.items()), (here, there)


def test_a_schema_is_kept_and_the_key_is_kept_out(logs: tuple[list[Any], list[Any], Path]) -> None:
    remote, _, root = logs
    written = [row for row in remote if row["kind"] == "handoff" and row["completion"]]
    assert written and all("edits" in json.loads(row["completion"]) for row in written)
    files = [file for file in (root / "remote").rglob("*") if file.is_file()]
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert json.loads((root / "remote" / "run.json").read_text())["engine"]["kind"] == "openai"


def test_a_version_behind_an_api_and_one_of_vllm_serve_one_run(tmp_path: Path) -> None:
    with Api() as api:
        config = configured(tmp_path, f"schedule.versions=[{R0},behind@1]", "engine=vllm")
        behind = checked(ModelConfig, api.tree(), "model")
        versions = {R0: config.model.versions[R0], "behind@1": behind.versions[NEW]}
        model = replace(config.model, versions=versions, endpoints=behind.endpoints)
        run(replace(config, model=model), tmp_path / "mixed")
    log = steps(tmp_path / "mixed")
    assert not [row["error"] for row in log if row["error"]]
    assert {(row["generation"], row["version"]) for row in log} == {(0, R0), (1, "behind@1")}
    asked = [row for row in log if row["version"] == "behind@1" and row["prompt_tokens"]]
    assert len(asked) == len(api.asked) and {body["model"] for body in api.asked} == {NEW}
    record = json.loads((tmp_path / "mixed" / "run.json").read_text())["engine"]
    assert record["usd"] > 0 and record["dtype"] and record["endpoints"] == {"here": api.url}
