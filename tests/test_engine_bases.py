"""Two checkpoints in one fleet on real vLLM, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from lineage import compose
from lineage.core.config_engine import CheckpointConfig, VersionConfig
from lineage.log.sittings import Fault
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.protocol import Completion, Request, Turn

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

R0, TINY = "smollm2-135m@r0", "tiny@a"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
WINDOW = 256
TEMPLATE = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
WORDS = ("the code of pump is where what say yes notes answer machine valve").split()  # noqa: SIM905


def tiny(folder: Path) -> Path:
    """Return a folder with a Llama of random weights; its tokens are words and marks."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = [*(chr(code) for code in range(33, 127)), *WORDS]
    vocabulary = {token: number for number, token in enumerate(("<unk>", "<eos>", *known))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=128, intermediate_size=256, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=WINDOW,
        eos_token_id=1, bos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def fleet(folders: dict[str, Path], *overrides: str) -> Fleet:
    """Return a fleet that knows a version more for each of `folders`, by name."""
    config = compose.load(["engine.vllm.cpu_kv_cache_gib=1", f"run.cache={CACHE}", *overrides])
    made = {
        name: VersionConfig(
            CheckpointConfig(kind="folder", path=str(folder)), context_window=WINDOW
        )
        for name, folder in folders.items()
    }
    versions = {**config.model.versions, **made}
    engine = make_engine(replace(config, model=replace(config.model, versions=versions)))
    assert isinstance(engine, Fleet)
    return engine


async def ask(made: Fleet, version: str, count: int) -> Sequence[Completion]:
    requests = (
        Request(f"{version}-{i}", version, (Turn("user", f"say {i} yes"),), 24, 0.0, i)
        for i in range(count)
    )
    answers = await asyncio.gather(*map(made.generate, requests))
    assert [one.error for one in answers] == [""] * count
    assert all(one.completion_tokens and one.prompt_tokens for one in answers)
    return answers


async def _one_dies(made: Fleet) -> None:
    try:
        await made.start([R0, TINY])
        assert made.serving is not None and made.serving.together
        (small,), (other,) = made.replicas.values()
        waiting = asyncio.gather(ask(made, R0, 12), ask(made, TINY, 12))
        while not (small.open and other.open):
            await asyncio.sleep(0.01)
        ray.kill(other.actor)
        await waiting
        assert (other.life, other.health.restarts) == (2, 1)
        assert (small.life, small.health.restarts) == (1, 0)
        assert made.faults() == {Fault.ENGINE_DIED: 1}
    finally:
        await made.close()


def test_both_serve_at_once_and_one_that_is_killed_harms_only_itself(tmp_path: Path) -> None:
    asyncio.run(_one_dies(fleet({TINY: tiny(tmp_path / "tiny")})))
