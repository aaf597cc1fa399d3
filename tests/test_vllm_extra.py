"""Arguments by vLLM's own names: checked before anything starts, by vLLM's own parser."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineage import compose
from lineage.core.config_engine import VllmConfig
from lineage.core.errors import LineageError
from lineage.models import vllm_extra
from lineage.models.cluster import Cluster
from lineage.models.factory import make_engine
from lineage.models.profile import resolve
from lineage.models.vllm_engine import environment
from lineage.models.vllm_extra import CHECK, check, parsed

ENGINE = compose.load([]).engine
VLLM, PROFILE = ENGINE.vllm, resolve(ENGINE, gpus=False)


def added(**extra: Any) -> VllmConfig:
    return replace(VLLM, extra=extra)


def answers(monkeypatch: pytest.MonkeyPatch, code: int, said: str) -> list[Any]:
    """Let the process that checks end with `code` and say so; return what it was asked."""
    asked = []

    def run(command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(json.loads(options["input"]))
        return subprocess.CompletedProcess(command, code, said, "")

    monkeypatch.setattr(vllm_extra, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_nothing_is_started_where_conf_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, 0, '"wrong"')
    check(VLLM, {})
    check(added(seed=None), {})
    assert not asked and parsed({}) == {}


def test_what_vllm_refuses_is_said_before_ray_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = answers(monkeypatch, 0, 'INFO a log\n"engine.vllm.extra.sed: no such argument"\n')

    def joins(self: Cluster) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(Cluster, "join", joins)
    config = compose.load(["+engine.vllm.extra.sed=3", f"run.cache={tmp_path}"])
    with pytest.raises(LineageError, match=r"^engine\.vllm\.extra\.sed: no such argument$"):
        asyncio.run(make_engine(config).start(["smollm2-135m@r0"]))
    assert asked == [{"sed": 3}]


def test_where_vllm_cannot_be_asked_its_engine_will_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(monkeypatch, 1, "") == []
    check(added(sed=3), {})
    monkeypatch.setattr(vllm_extra, "find_spec", lambda name: None)
    check(added(sed=3), {})
    # What lineage sets is known without vLLM.
    with pytest.raises(LineageError, match=r"use engine\.vllm\.max_num_seqs$"):
        check(added(max_num_seqs=3), {})


KNOWN = [
    ({"max_num_batched_tokens": 8192}, 8192),
    ({"max_num_batched_tokens": "8k"}, 8000),
    ({"seed": 7}, 7),
    ({"enable_dbo": True}, True),
    ({"enable_prefix_caching": False}, False),
    ({"swap": 1}, "engine.vllm.extra.swap: vLLM has no argument 'swap'"),
    ({"max_num_batch_tokens": 1}, "did you mean 'max_num_batched_tokens'?"),
    ({"max_num_batched_tokens": "many"}, "extra.max_num_batched_tokens is 'many': vLLM takes no"),
    ({"max_num_batched_tokens": True}, "extra.max_num_batched_tokens is true: vLLM takes no"),
    ({"enable_dbo": "yes"}, "engine.vllm.extra.enable_dbo is 'yes': vLLM takes no such value"),
    ({"kv_cache_dtype": "fp9"}, "engine.vllm.kv_cache_dtype is 'fp9': vLLM takes no such value"),
    ({"kv_cache_dtype": "fp8"}, "fp8"),
    ({"cudagraph_capture_sizes": [1, 2, 4]}, [1, 2, 4]),
    ({"hf_overrides": {"max_position_embeddings": 64}}, {"max_position_embeddings": 64}),
]
"""What is asked for, and what vLLM makes of it: a value, or a text of the error."""
ASK = """
import json, sys
from lineage.core.errors import LineageError
from lineage.models.vllm_extra import parsed
found = []
for asked in json.load(sys.stdin):
    try:
        found.append(parsed(asked)[next(iter(asked))])
    except LineageError as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_vllm_s_own_parser_decides(tmp_path: Path) -> None:
    import os

    env = {**os.environ, **environment(VLLM, tmp_path, PROFILE)}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps([asked for asked, _ in KNOWN]),
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    for (asked, expected), found in zip(KNOWN, json.loads(done.stdout.splitlines()[-1])):
        if isinstance(expected, str) and " " in expected:
            assert expected in found and "\n" not in found, asked
        else:
            assert found == expected, asked
    with pytest.raises(LineageError, match="did you mean 'seed'"):
        check(added(sed=3), environment(VLLM, tmp_path, PROFILE))
    assert CHECK[0] == sys.executable
