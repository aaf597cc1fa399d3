"""A real training of the real model: TRL and PEFT in Ray Train, sampling from real vLLM."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import lineage
from lineage import compose
from lineage.agent import prompt as prompts
from lineage.core.config import Config
from lineage.core.knowledge import EMPTY
from lineage.core.prompts import OURS
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.precision import precision
from lineage.models.protocol import Completion, Request
from lineage.training.run import execute

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CACHE = Path(__file__).resolve().parents[1] / ".cache"
R1 = Path(lineage.__file__).parent / "adapters" / "smollm2-135m-r1"
R0, MINE = "smollm2-135m@r0", "smollm2-135m@mine"
ALIKE = {"bfloat16": 0.1, "float32": 0.001}
"""Most that a token's log-probability may differ between vLLM and PEFT, in nats: they compute with
other kernels. Numbers of bfloat16 are 1/256 apart; logits are about 20."""


def small(root: Path, *overrides: str) -> Config:
    """Return two steps of GRPO from the plain model, without a warm start."""
    return compose.load(
        [
            *("agent=writer", "train.curricula=[open]", "train.worlds=4", "train.held_out=0"),
            *("method.warm_steps=0", "method.steps=2", "method.groups=4", "method.group=4"),
            *("method.temperature=0.8", "method.most=16", "method.batch=4"),
            *(f"run.root={root}", f"run.cache={CACHE}", f"model.shelf={root / 'shelf'}"),
            *overrides,
        ]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path | None]:
    root = tmp_path_factory.mktemp("training")
    folder = root / "two-steps"
    return folder, execute(small(root), folder, Console(quiet=True))[1]


def test_two_steps_of_grpo_move_the_adapter(made: tuple[Path, Path | None]) -> None:
    folder, _ = made
    rows = [
        row
        for step in range(2)
        for row in pq.read_table(
            folder / "curve" / f"step={step:03d}.parquet", partitioning=None
        ).to_pylist()
    ]
    assert [row["kind"] for row in rows] == ["grpo", "grpo"]
    assert all(row["samples"] >= 4 and row["tokens_learnt"] > 0 for row in rows)
    assert all(row["grad_norm"] > 0 and row["entropy"] > 0 for row in rows)
    first, second = (
        load_file(folder / "adapters" / f"step-{step:03d}" / "adapter_model.safetensors")
        for step in range(2)
    )
    assert any(not torch.equal(first[name], second[name]) for name in first)
    # The optimiser goes on: its second step is not a first one.
    state = load_file(folder / "adapters" / "step-001" / "trainer" / "optimizer.safetensors")
    assert {int(value) for name, value in state.items() if name.endswith("/step")} == {2}


def test_rollouts_were_sampled_with_their_tokens(made: tuple[Path, Path | None]) -> None:
    folder, _ = made
    table = pq.read_table(folder / "steps", partitioning="hive").to_pylist()
    asked = [row for row in table if row["prompt"]]
    assert asked and not [row["error"] for row in table if row["error"]]
    for row in asked:
        assert len(row["tokens"]) == len(row["logprobs"]) == row["completion_tokens"] > 0
        assert max(row["logprobs"]) <= 0


def test_the_version_is_on_the_shelf_and_small(made: tuple[Path, Path | None]) -> None:
    _, shelf = made
    assert shelf is not None
    assert (shelf / "adapter_model.safetensors").stat().st_size < 2_000_000
    assert MINE in (shelf / "README.md").read_text()
    record = json.loads((shelf / "training.json").read_text())
    assert record["method"]["dtype"] == precision("auto", on_gpu=torch.cuda.is_available())
    assert "a GPU" in record["device"] or torch.cuda.get_device_name() in record["device"]
    config = compose.load([f"model.shelf={shelf.parent}", f"schedule.versions=[{R0},{MINE}]"])
    assert config.model.versions[MINE].parent == R0


def test_the_choice_of_a_doc_is_forced_by_the_grammar_and_told_as_the_policy_s(
    tmp_path: Path,
) -> None:
    one = ("method.steps=1", "method.groups=3", "method.group=5", "method.most=30")
    explored = ("curricula.open.explore=true", "curricula.open.tasks=balanced", *one)
    folder = tmp_path / "explored"
    execute(small(tmp_path, *explored), folder, Console(quiet=True))
    table = pq.read_table(folder / "steps", partitioning="hive").to_pylist()
    offered = {row["pair"]: row["results"] for row in table if row["kind"] == "search"}
    opened = [row for row in table if row["kind"] == "open"]
    assert len(opened) == 15
    for row in opened:
        choices = ["", *offered[row["pair"]]]
        number = int(row["episode"][1:3])
        if number < len(choices):
            assert row["entry"] == choices[number]
            assert row["completion"] == (choices[number] or prompts.NO_DOC)
        # A forced token has the probability that the model gave it, not 1.
        assert len(row["logprobs"]) == len(row["tokens"]) > 0
    assert min(min(row["logprobs"]) for row in opened) < -0.1
    (curve,) = pq.read_table(folder / "curve" / "step=000.parquet", partitioning=None).to_pylist()
    assert curve["samples"] >= 4 and curve["grad_norm"] > 0


def test_no_process_is_left_after_a_training(made: tuple[Path, Path | None]) -> None:
    names = [child.name() for child in psutil.Process().children(recursive=True)]
    assert not [name for name in names if "ray" in name or "VLLM" in name]


async def _ask(config: Config, adapter: Path) -> tuple[Completion, str]:
    engine = make_engine(config, adaptable=True)
    assert isinstance(engine, Fleet)
    try:
        await engine.start([R0])
        await engine.serve(MINE, R0, adapter)
        turns = prompts.act_turns(OURS, EMPTY, "What is the code of pump Birch?")
        asked = Request("x", MINE, turns, 24, 0.0, 0, logprobs=True)
        return await engine.generate(asked), str(engine.located[R0].checkpoint)
    finally:
        await engine.close()


def test_vllm_gives_the_log_probabilities_that_peft_gives(tmp_path: Path) -> None:
    # r1: two steps would move so little that the plain model's would pass as well.
    answer, checkpoint = asyncio.run(_ask(small(tmp_path), R1))
    dtype = precision("auto", on_gpu=torch.cuda.is_available())
    base: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
    prompt = AutoTokenizer.from_pretrained(checkpoint).encode(
        answer.prompt, add_special_tokens=False
    )
    ids = torch.tensor([[*prompt, *answer.tokens]])

    def logprobs(model: Any) -> torch.Tensor:
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        wanted = torch.tensor(answer.tokens)[:, None]
        return torch.log_softmax(logits, -1).gather(1, wanted)[:, 0]

    served = torch.tensor(answer.logprobs)
    assert len(answer.tokens) > 4
    assert float((logprobs(base) - served).abs().max()) > ALIKE[dtype]
    model = PeftModel.from_pretrained(base, R1)
    assert float((logprobs(model) - served).abs().max()) < ALIKE[dtype]
