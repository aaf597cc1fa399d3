"""The real model in real vLLM in real Ray actors: slow to start, so few tests and two starts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import psutil
import pytest
import vaults
from helpers import reported, run, steps
from tokenizers import Tokenizer

from lineage import compose
from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.toolcalls import TOOLS
from lineage.core.knowledge import EMPTY, Memory, Origin
from lineage.core.prompts import OURS
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.protocol import Completion, Request, ToolCall
from lineage.models.vllm_engine import intel_openmp

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

R0, R1 = "smollm2-135m@r0", "smollm2-135m@r1"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
HERMES = '<tool_call>{"name": "open", "arguments": {"id": "d4"}}</tool_call>'
CODES = {"Birch": "7413", "Cedar": "2086", "Fern": "5590", "Hazel": "3321"}


def temporary() -> set[Path]:
    """Return what an engine and its Ray have put beside the temporary files of others."""
    found = Path(gettempdir()).iterdir()
    return {one for one in found if one.name.startswith(("vllm", "lineage-", "torchinductor"))}


@pytest.fixture(scope="module")
def before() -> set[Path]:
    """What was there already."""
    return temporary()


@pytest.fixture(scope="module")
def lineage(before: set[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two generations: r0 hands over to r1."""
    root = tmp_path_factory.mktemp("engine") / "runs"
    config = compose.load(
        ["experiment=tiny", "agent.docs=true", f"run.root={root}", f"run.cache={CACHE}"]
    )
    folder = root / "tiny"
    reported(config, folder)
    return folder


def test_two_generations_of_two_versions_are_logged_whole(lineage: Path) -> None:
    log = steps(lineage)
    assert {(r["generation"], r["version"]) for r in log} == {(0, R0), (1, R1)}
    assert not [r["error"] for r in log if r["error"]]
    asked = [r for r in log if r["prompt"]]
    assert all(r["prompt_tokens"] > 0 and r["completion_tokens"] > 0 for r in asked)
    kinds = {r["kind"] for r in log}
    assert {"act", "feedback", "search", "handoff", "edit", "migrate", "probe"} <= kinds
    for row in log:
        if row["kind"] == "handoff" and row["completion"]:
            json.loads(row["completion"])
    record = json.loads((lineage / "run.json").read_text())
    assert len(record["engine"]["adapters"][R1]) == 64
    assert (lineage / "report.html").stat().st_size > 10_000


def test_real_memories_stay_within_the_budget_of_the_real_tokenizer(lineage: Path) -> None:
    (found,) = (CACHE / "checkpoints").glob("SmolLM2-135M-Instruct*/tokenizer.json")
    tokenizer = Tokenizer.from_file(str(found))
    counted = 0
    for row in steps(lineage):
        if row["arm"] == "inherit" and row["kind"] == "probe" and "<notes" in row["prompt"]:
            start = row["prompt"].index("<notes")
            block = row["prompt"][start : row["prompt"].index("</notes>") + len("</notes>")]
            tokens = len(tokenizer.encode(block, add_special_tokens=False).ids)
            assert tokens == row["memory_tokens"] <= 320
            counted += 1
    assert counted


def test_no_process_and_no_file_is_left_after_the_run(lineage: Path, before: set[Path]) -> None:
    children = [c.name() for c in psutil.Process().children(recursive=True)]
    assert not [name for name in children if "ray" in name or "VLLM" in name]
    assert temporary() <= before


def test_an_environment_is_acted_in_and_summed_up(tmp_path: Path) -> None:
    overrides = (
        *vaults.entry(tmp_path, "turns", noise=6),
        *("experiment=tiny", "experiment.lineages=1", "agent.turns=4"),
        *("agent.history_tokens=120", "agent.summary_tokens=60"),
        *(f"run.root={tmp_path / 'runs'}", f"run.cache={CACHE}"),
    )
    run(compose.load(overrides), tmp_path / "runs" / "turns")
    log = steps(tmp_path / "runs" / "turns")
    assert not [r["error"] for r in log if r["error"]]
    actions = [r for r in log if r["kind"] in ("turn", "act", "probe")]
    assert {r["completion"] for r in actions} <= set(vaults.KEYS[:6])
    assert {r["score"] for r in actions if r["kind"] == "turn"} == {None}
    summaries = [r for r in log if r["kind"] == "summary"]
    assert summaries and all(0 < r["completion_tokens"] <= 60 for r in summaries)
    assert any("<summary>" in r["prompt"] for r in actions)


def ask(name: str, version: str, number: int, **more: Any) -> Request:
    origin = Origin(0, R0, "w000")
    memories = tuple(
        Memory(f"m{i}", f"The code of pump {n} is {code}.", origin, origin)
        for i, (n, code) in enumerate(CODES.items())
    )
    knowledge = EMPTY.evolve(memories=memories)
    turns = prompts.act_turns(OURS, knowledge, f"What is the code of pump {name}?")
    given: dict[str, Any] = {"max_tokens": 24, **more}
    return Request(f"{version}-{name}-{number}", version, turns, temperature=0.0, seed=1, **given)


async def _serve() -> dict[str, Any]:
    """Ask one engine everything, then kill its actor under load and ask again."""
    # One slot: full with the one adapter, which is when a kernel's mix-up would show.
    config = compose.load([f"run.cache={CACHE}", "engine.vllm.max_loras=1"])
    calling = replace(config.model.versions[R0], tool_parser="hermes")
    model = replace(config.model, versions={**config.model.versions, R0: calling})
    config = replace(config, model=model)
    made = make_engine(config)
    assert isinstance(made, Fleet)
    seen: dict[str, Any] = {}

    async def all_of(version: str, number: int) -> list[Completion]:
        return list(await asyncio.gather(*(made.generate(ask(n, version, number)) for n in CODES)))

    try:
        await made.start([R0, R1])
        seen["replicas"] = sum(len(r) for r in made.replicas.values())
        seen["r0"], seen["r1"] = await all_of(R0, 0), await all_of(R1, 0)
        seen["mixed"] = await asyncio.gather(all_of(R0, 1), all_of(R1, 1))
        schema = schemas.memory_edits(EMPTY, 1, config.agent)
        calls = (HERMES, "It is 7413.")
        seen["calls"] = [
            await made.generate(
                ask("Birch", R0, 6 + i, choices=(text,), tools=TOOLS, max_tokens=60)
            )
            for i, text in enumerate(calls)
        ]
        seen["json"] = await made.generate(ask("Birch", R0, 2, schema=schema, max_tokens=80))
        seen["choice"] = await made.generate(ask("Birch", R0, 3, choices=("d1", "none")))
        seen["long"] = await made.generate(ask("Birch " * 3000, R0, 4))
        seen["count"] = (await made.counter(R1))("The code of pump Birch is 7413.")
        (replicas,) = made.replicas.values()
        processes = list(replicas[0].processes)
        seen["titles"] = [" ".join(psutil.Process(p).cmdline()) for p in processes]
        host = psutil.Process(processes[0])
        seen["maps"] = {Path(one.path).name for one in host.memory_maps()}
        open_ = [asyncio.create_task(all_of(v, 5)) for v in (R0, R1)]
        await asyncio.sleep(0.2)
        psutil.Process(processes[0]).kill()
        seen["again"] = await asyncio.gather(*open_)
        seen["restarts"] = replicas[0].health.restarts
        seen["orphans"] = [p for p in processes if psutil.pid_exists(p)]
    finally:
        await made.close()
    return seen


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return asyncio.run(_serve())


def right(answers: list[Completion]) -> int:
    return sum(code in a.text for code, a in zip(CODES.values(), answers, strict=True))


def test_on_a_processor_the_engine_s_own_process_computes(served: dict[str, Any]) -> None:
    assert not [one for one in served["titles"] if "Worker" in one or "EngineCore" in one]
    if intel_openmp():
        assert "libiomp5.so" in served["maps"]


def test_one_engine_serves_the_base_model_and_its_adapter(served: dict[str, Any]) -> None:
    assert served["replicas"] == 1
    assert right(served["r1"]) == len(CODES)
    assert [a.text for a in served["r1"]] != [a.text for a in served["r0"]]


def test_versions_in_one_batch_do_not_mix(served: dict[str, Any]) -> None:
    plain, adapted = served["mixed"]
    assert [a.text for a in adapted] == [a.text for a in served["r1"]]
    same = sum(a.text == b.text for a, b in zip(plain, served["r0"], strict=True))
    assert same >= len(CODES) - 1, "rounding may move one; an adapter would move them all"


def test_structure_is_enforced_without_padding(served: dict[str, Any]) -> None:
    edits = json.loads(served["json"].text)["edits"]
    assert len(edits) <= 1
    assert "\n" not in served["json"].text
    assert served["choice"].text in ("d1", "none")


def test_tool_calls_are_parsed_in_the_model_s_own_format(served: dict[str, Any]) -> None:
    called, answered = served["calls"]
    assert called.calls == (ToolCall("open", {"id": "d4"}),)
    assert answered.calls == ()
    assert answered.text == "It is 7413."


def test_what_does_not_fit_is_an_error_of_its_own(served: dict[str, Any]) -> None:
    assert served["long"].error.startswith("over-long prompt: ")
    assert served["count"] > 5


def test_an_engine_that_dies_is_restarted_and_its_requests_run_again(
    served: dict[str, Any],
) -> None:
    assert served["restarts"] == 1
    again = [answer for answers in served["again"] for answer in answers]
    assert not [a.error for a in again if a.error]
    assert right(served["again"][1]) == len(CODES)
    assert not served["orphans"]
