"""Learners: the toy by hand, and real trainers on a model of two random layers.

The `Tuner` of the arm `finetune` is here too: the two of them import torch once.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from importlib import import_module
from inspect import Parameter, getsource, signature
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from helpers import FULL, Late
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from lineage.core.config import MethodConfig
from lineage.core.config_engine import FinetuneConfig
from lineage.core.errors import LineageError
from lineage.models.cluster import Cluster
from lineage.models.protocol import Example, Turn
from lineage.models.tuner import Tuner, trained
from lineage.training.learners import toy
from lineage.training.learners.learner import GAIN, TorchLearner, ToyLearner, read_skills
from lineage.training.values import Batch, Learnt, Sample

given = Late("lineage.training.learners.given")
hosted_module = Late("lineage.training.learners.hosted")
sft = Late("lineage.models.sft")
safetensors = Late("safetensors.torch")
torch = Late("torch")
transformers = Late("transformers")
trl = Late("trl")

WEIGHTS = "adapter_model.safetensors"
TEMPERATURE = 0.8
RATE = 0.002


def method(**changes: Any) -> MethodConfig:
    plain = MethodConfig(
        kind="grpo", warm_steps=0, steps=2, groups=2, warm_groups=2, group=2,
        temperature=TEMPERATURE, warm_temperature=TEMPERATURE,
        learning_rate=RATE, warm_learning_rate=0.01, epochs=1, most=8,
        warm_most=8,
        batch=3, rank=4, beta=0.0, clip=0.2, dtype="float32",
    )  # fmt: skip
    return replace(plain, **changes)


def sample(prompt: str, tokens: tuple[int, ...], advantage: float) -> Sample:
    return Sample(prompt, tokens, tuple(-1.0 for _ in tokens), advantage)


GROUPS = (
    (sample("say one", (40, 41, 42), 1.0), sample("say one", (50,), -1.0)),
    (
        sample("and now two", (60, 61), 0.5),
        sample("and now two", (70, 71, 72, 73), -1.0),
        sample("and now two", (80,), 0.5),
    ),
)
SAMPLES = [one for group in GROUPS for one in group]
BEST = tuple((group[0],) for group in GROUPS)


def batch(folder: Path, start: Path | None = None, **changes: Any) -> Batch:
    plain = Batch("grpo", 1, GROUPS, str(start) if start else "", str(folder), seed=7)
    return replace(plain, **changes)


# The toy, by hand.


def test_a_toy_climbs_the_gradient_of_its_logits() -> None:
    skills = {"write": 0.5, "edit": 0.8, "open": 0.25}
    # write: (1 * (1 - .5) + 1 * (0 - .5) - 1 * (0 - .5)) / 3 = 1/6; edit: -1 * (1 - .8) / 1.
    samples = [sample("", (1, 0), 1.0), sample("", (0, 3), -1.0)]
    slope = toy.gradient(skills, samples)
    assert slope == pytest.approx({"write": 1 / 6, "edit": -0.2})
    after = toy.climbed(skills, slope, 3.0)
    # write: logit 0 + 1/2; edit: logit ln 4 - 0.6.
    assert after["write"] == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert after["edit"] == pytest.approx(4 * math.exp(-0.6) / (1 + 4 * math.exp(-0.6)))
    assert after["open"] == 0.25
    assert toy.climbed({"write": 0.99, "edit": 0.01}, {"write": 9.0, "edit": -9.0}, 1.0) == {
        "write": 0.99,
        "edit": 0.01,
    }


def test_a_toy_imitates_the_share_of_successes() -> None:
    skills = {"write": 0.5, "edit": 0.8, "open": 0.2}
    samples = [sample("", (1, 1, 0), 1.0), sample("", (1, 4), 1.0)]
    after = toy.imitated(skills, samples, 0.5)
    assert after == pytest.approx({"write": 0.625, "edit": 0.8, "open": 0.1})
    assert toy.surprise(skills, samples) == pytest.approx(-(4 * math.log(0.5) + math.log(0.8)) / 5)
    half, fifth = math.log(2), -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert toy.entropy(skills, samples) == pytest.approx((4 * half + fifth) / 5)


def test_a_toy_goes_on_from_its_folder_and_learns_no_step_twice(tmp_path: Path) -> None:
    skills = {"write": 0.5, "edit": 0.8, "open": 0.25}
    learner = ToyLearner(method(learning_rate=0.2 / GAIN), skills)
    groups = ((sample("", (1,), 1.0), sample("", (0,), -1.0)),)
    one = batch(tmp_path / "1", groups=groups)
    two = batch(tmp_path / "2", tmp_path / "1", groups=groups)
    first = asyncio.run(learner.learn(one))
    asyncio.run(learner.learn(two))
    found = [read_skills(tmp_path / name)["write"] for name in ("1", "2")]
    # The gradient is (0.5 + 0.5) / 2, and the rate 0.2.
    assert found[0] == pytest.approx(1 / (1 + math.exp(-0.1)))
    assert 0.5 < found[0] < found[1]
    assert asyncio.run(learner.learn(one)) == first
    with pytest.raises(LineageError, match="token 6 is no decision"):
        asyncio.run(learner.learn(batch(tmp_path / "3", groups=((sample("", (6,), 0.0),),))))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


# Weights.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a random model of two layers that reads bytes."""
    given.GivenTrainer  # noqa: B018 - imported by one that freezes it
    folder = str(tmp_path_factory.mktemp("tiny"))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_ = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    reader = transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_, pad_token="!")
    reader.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    reader.save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=len(alphabet), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def learn(tiny: str, *batches: Batch, parent: str = "", **changes: Any) -> list[Learnt]:
    """Return what a fresh learner learnt from `batches`."""
    learner = TorchLearner(tiny, method(**changes), parent)
    return [learner.step(one) for one in batches]


def files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all that a step left, but for its figures, which hold seconds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "learnt.json"
    }


def logps(
    tiny: str, folder: Path | None, samples: list[Sample], temperature: float = TEMPERATURE
) -> list[torch.Tensor]:
    """Return log-probabilities of each sample's tokens, one sample at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    if folder:
        model = sft.with_adapter(model, 4, str(folder))
    with torch.no_grad():
        return [tokens_of(model, tokenizer(tiny), one, temperature) for one in samples]


def tokenizer(tiny: str) -> Any:
    return transformers.PreTrainedTokenizerFast.from_pretrained(tiny)


def tokens_of(model: Any, tokenizer: Any, one: Sample, temperature: float) -> torch.Tensor:
    prompt = tokenizer.encode(one.prompt, add_special_tokens=False)
    ids = torch.tensor([[*prompt, *one.tokens]])
    scores = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    places = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    return scores[places, torch.tensor(one.tokens)]


def test_a_first_step_is_adam_s_on_the_gradient_by_hand(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (learnt,) = learn(tiny, batch(tmp_path / "a"))
    said = capfd.readouterr()
    transformers.set_seed(7)
    model = sft.with_adapter(transformers.AutoModelForCausalLM.from_pretrained(tiny), 4, None)
    # The gradient of -mean over samples of advantage x mean log-probability.
    reader = tokenizer(tiny)
    scores = [tokens_of(model, reader, one, TEMPERATURE).mean() for one in SAMPLES]
    gains = [one.advantage * score for one, score in zip(SAMPLES, scores)]
    (-torch.stack(gains).mean()).backward()
    slopes = {n: w.grad for n, w in model.named_parameters() if w.requires_grad}
    norm = math.sqrt(sum(float((slope**2).sum()) for slope in slopes.values()))
    assert learnt.grad_norm == pytest.approx(norm, rel=1e-4)
    assert learnt.loss == pytest.approx(0.0, abs=1e-6)
    assert learnt.tokens == 11 and learnt.kl is None
    assert learnt.dtype == "float32" and learnt.device
    assert learnt.entropy is not None and 0 < learnt.entropy < math.log(256)
    found = safetensors.load_file(tmp_path / "a" / WEIGHTS)
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            slope = slopes[name] * min(1.0, 1.0 / norm)
            # Adam's first step: its means are the gradient and its square.
            expected = weight.detach() - RATE * slope / (slope.abs() + 1e-8)
            sure = (slope == 0) | (slope.abs() > 1e-6)
            assert torch.allclose(
                found[name.replace(".default", "")][sure], expected[sure], atol=RATE / 100
            )
    assert (said.out, said.err) == ("", "")


def test_choices_of_unequal_length_weigh_alike(tiny: str, tmp_path: Path) -> None:
    # As `exploring` has them: better ones alone.
    choices = (sample("which", (40,), 0.5), sample("which", (50, 51), 0.4))
    one = batch(tmp_path / "a", groups=(choices, GROUPS[0]))
    (learnt,) = learn(tiny, one)
    transformers.set_seed(7)
    model = sft.with_adapter(transformers.AutoModelForCausalLM.from_pretrained(tiny), 4, None)
    reader = tokenizer(tiny)
    gains = [s.advantage * tokens_of(model, reader, s, TEMPERATURE).mean() for s in one.samples]
    (-torch.stack(gains).mean()).backward()
    slopes = [w.grad for w in model.parameters() if w.requires_grad]
    norm = math.sqrt(sum(float((slope**2).sum()) for slope in slopes))
    assert learnt.grad_norm == pytest.approx(norm, rel=1e-4)
    with pytest.raises(LineageError, match="do not sum to zero"):
        learn(tiny, batch(tmp_path / "b", groups=((*choices, sample("which", (50, 52), -0.6)),)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_steps_raise_what_was_better_and_lower_what_was_worse(
    tiny: str, tmp_path: Path, dtype: str
) -> None:
    steps = [batch(tmp_path / "0"), batch(tmp_path / "1", tmp_path / "0")]
    learn(tiny, *steps, dtype=dtype, learning_rate=0.02)
    before, after = logps(tiny, None, SAMPLES), logps(tiny, tmp_path / "1", SAMPLES)
    for one, old, new in zip(SAMPLES, before, after):
        assert (float(new.mean()) - float(old.mean())) * one.advantage > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"] if FULL else ["bfloat16"])
def test_a_run_that_stopped_goes_on_to_the_same_bytes(
    tiny: str, tmp_path: Path, dtype: str
) -> None:
    def three(root: Path) -> list[Batch]:
        warm = batch(root / "0", kind="rft", groups=BEST)
        return [warm, batch(root / "1", root / "0"), batch(root / "2", root / "1", seed=8)]

    whole, parts = three(tmp_path / "whole"), three(tmp_path / "parts")
    told = learn(tiny, *whole, dtype=dtype)
    for one in parts:
        torn = Path(f"{one.folder}.tmp")
        torn.mkdir(parents=True)
        (torn / WEIGHTS).write_text("half")
        learn(tiny, one, dtype=dtype)
    for a, b in zip(whole, parts):
        assert files(Path(a.folder)) == files(Path(b.folder))
    assert learn(tiny, *whole, dtype=dtype) == told
    assert not list(tmp_path.rglob("*.tmp"))
    # The third step used the state of the second: without it, it goes elsewhere.
    (tmp_path / "parts" / "1" / "trainer" / "optimizer.safetensors").unlink()
    learn(tiny, replace(parts[2], folder=str(tmp_path / "fresh")), dtype=dtype)
    assert files(tmp_path / "fresh")[WEIGHTS] != files(tmp_path / "whole" / "2")[WEIGHTS]


def test_the_clip_binds_from_the_second_pass_on(tiny: str, tmp_path: Path) -> None:
    def learnt(name: str, **changes: Any) -> tuple[bytes, float | None]:
        (found,) = learn(tiny, batch(tmp_path / name), learning_rate=0.02, **changes)
        return (tmp_path / name / WEIGHTS).read_bytes(), found.grad_norm

    once, slope = learnt("once", clip=0.0)
    assert learnt("once-wide", clip=9.0) == (once, slope)
    shut, halved = learnt("shut", epochs=2, clip=0.0)
    wide, whole = learnt("wide", epochs=2, clip=9.0)
    assert len({once, shut, wide}) == 3
    # What has moved as it should is not pushed on: little is left of the second gradient.
    assert slope is not None and halved is not None and whole is not None
    assert slope / 2 <= halved < 0.75 * slope < whole


def test_what_is_too_small_for_bfloat16_is_kept(tiny: str, tmp_path: Path) -> None:
    learn(tiny, batch(tmp_path / "0"), dtype="bfloat16", learning_rate=0.01)
    one = batch(tmp_path / "1", tmp_path / "0")
    learn(tiny, one, dtype="bfloat16", learning_rate=1e-7)
    first, last = (safetensors.load_file(tmp_path / name / WEIGHTS) for name in "01")
    name = next(n for n in first if "lora_B" in n)
    moved = (last[name] - first[name]).abs().max()
    assert 0 < float(moved) < 1e-6


def test_the_order_and_the_size_of_passes_change_nothing(tiny: str, tmp_path: Path) -> None:
    learn(tiny, batch(tmp_path / "three"))
    learn(tiny, batch(tmp_path / "all"), batch=8)
    learn(tiny, batch(tmp_path / "swapped", groups=GROUPS[::-1]), batch=2)
    # Padding rows weigh nothing: five samples in passes of three, of eight and of two.
    states = [
        safetensors.load_file(tmp_path / name / "trainer" / "optimizer.safetensors")
        for name in ("three", "all", "swapped")
    ]
    for name, value in states[0].items():
        assert all(torch.allclose(value, other[name], atol=1e-6) for other in states[1:])


def test_the_divergence_is_taken_to_the_parent(tiny: str, tmp_path: Path) -> None:
    learn(tiny, batch(tmp_path / "parent"), learning_rate=0.05)
    parent = str(tmp_path / "parent")
    at_parent, at_base, after = (
        learn(tiny, batch(tmp_path / "a"), parent=parent, beta=0.1)
        # In one pass: its divergence is the mean over all tokens.
        + learn(tiny, batch(tmp_path / "b", tmp_path / "parent"), beta=0.1, batch=8)
        + learn(tiny, batch(tmp_path / "c", tmp_path / "parent"), beta=0.1, parent=parent)
    )
    assert at_parent.kl == pytest.approx(0.0, abs=1e-6) and after.kl == at_parent.kl
    # Schulman's estimate, over all tokens, by hand.
    new, old = logps(tiny, tmp_path / "parent", SAMPLES), logps(tiny, None, SAMPLES)
    gaps = torch.cat(old) - torch.cat(new)
    estimates = gaps.exp() - gaps - 1
    assert at_base.kl is not None and at_base.kl > 0.001
    assert at_base.kl == pytest.approx(float(estimates.mean()), rel=1e-3)
    config = json.loads((tmp_path / "b" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [
        "adapter_config.json", WEIGHTS, "learnt.json", "trainer",
    ]  # fmt: skip


def test_imitation_makes_what_was_best_likelier(tiny: str, tmp_path: Path) -> None:
    one = batch(tmp_path / "0", kind="rft", groups=BEST)
    two = batch(tmp_path / "1", tmp_path / "0", kind="rft", groups=BEST)
    first, second = learn(tiny, one, two, epochs=3)
    assert second.loss < first.loss and first.tokens == 5
    samples = [group[0] for group in BEST]
    before, after = logps(tiny, None, samples), logps(tiny, tmp_path / "1", samples)
    assert all(new.sum() > old.sum() for old, new in zip(before, after))
    (told,) = learn(tiny, batch(tmp_path / "2", kind="rft", groups=BEST))
    # The mean of a sample of n tokens weighs sqrt(n).
    plain = logps(tiny, None, samples, temperature=1.0)
    weights = [math.sqrt(len(tokens)) for tokens in plain]
    expected = sum(float(tokens.mean()) * w for tokens, w in zip(plain, weights)) / sum(weights)
    assert told.loss == pytest.approx(-expected, rel=1e-4)


def test_a_step_that_fails_leaves_nothing_and_spoils_nothing(tiny: str, tmp_path: Path) -> None:
    learner = TorchLearner(tiny, method())
    skewed = ((sample("a", (1,), 1.0), sample("a", (2,), -0.5)),)
    for bad in (batch(tmp_path / "bad", groups=skewed), batch(tmp_path / "bad", kind="ppo")):
        with pytest.raises(LineageError):
            learner.step(bad)
    assert not list(tmp_path.iterdir())
    learner.step(batch(tmp_path / "good"))
    learn(tiny, batch(tmp_path / "fresh"))
    assert files(tmp_path / "good") == files(tmp_path / "fresh")
    with pytest.raises(LineageError, match="cannot be trained"):
        TorchLearner(str(tmp_path / "none"), method()).load()


# TRL, as it is installed: `given` overrides some of its insides.


def test_trl_still_has_what_is_overridden() -> None:
    for name in ("_prepare_inputs", "_get_per_token_logps_and_entropies"):
        theirs, ours = (
            signature(getattr(of, name)) for of in (trl.GRPOTrainer, given.GivenTrainer)
        )
        named = [p.name for p in ours.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        assert named == list(theirs.parameters)[: len(named)]
        assert f"self.{name}(" in getsource(trl.GRPOTrainer) or hasattr(transformers.Trainer, name)
    generate = trl.GRPOTrainer._generate_and_score_completions
    assert list(signature(generate).parameters) == ["self", "inputs"]
    # Its one use there is to choose which positions are projected to the vocabulary.
    assert getsource(import_module("trl.trainer.utils")).count("_use_triton(") == 1


def test_trl_learns_rows_in_their_order_without_columns_of_padding(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[list[float]] = []
    replaced: list[bool] = []
    loss, logps = (
        given.GivenTrainer.compute_loss,
        trl.GRPOTrainer._get_per_token_logps_and_entropies,
    )

    def watched(self: Any, model: Any, inputs: Any, *args: Any, **more: Any) -> Any:
        passes.append(inputs["advantages"].flatten().tolist())
        replaced.append("forward" in vars(self.model.get_base_model()))
        return loss(self, model, inputs, *args, **more)

    def trimmed(self: Any, model: Any, ids: Any, mask: Any, *args: Any, **more: Any) -> Any:
        assert mask.any(dim=0).all() and len(ids) == 2
        return logps(self, model, ids, mask, *args, **more)

    monkeypatch.setattr(given.GivenTrainer, "compute_loss", watched)
    monkeypatch.setattr(trl.GRPOTrainer, "_get_per_token_logps_and_entropies", trimmed)
    learner = TorchLearner(tiny, method(batch=2))
    learner.step(batch(tmp_path / "a"))
    # Five samples, the longest first, and a row that weighs nothing: six fifths of the advantages.
    expected = ([-1.2, 0.6], [0.6, 1.2], [-1.2, 0.0])
    assert len(passes) == 3
    assert all(a == pytest.approx(b, abs=1e-6) for a, b in zip(passes, expected, strict=True))
    # TRL replaces the forward pass for good; the base outlives the step without that.
    assert all(replaced) and "forward" not in vars(learner.base)


# The trainer of the arm `finetune`.

ONE, OTHER = (
    [
        Example((Turn("user", f"The code of {name}?"), Turn("assistant", f"It is {2 * name}.")))
        for name in names
    ]
    for names in (("Birch", "Cedar", "Fern", "Hazel"), ("Holly", "Iris", "Ivy", "Lily"))
)


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tuner take one core: the other one is another worker's, as in `conftest`."""
    monkeypatch.setattr("lineage.models.sft.cores", lambda: 1)


def tuner(tiny: str, rate: float = 0.01) -> Tuner:
    config = FinetuneConfig("all", epochs=2, batch=2, learning_rate=rate, rank=4)
    return Tuner(tiny, config, "bfloat16")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.load_file(folder / WEIGHTS)


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.usefixtures("one_core")
def test_the_same_seed_gives_the_same_adapter_whatever_was_trained_before(
    tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = tuner(tiny)
    kept.train(ONE, None, str(tmp_path / "a"), 1)
    kept.train(OTHER, None, str(tmp_path / "between"), 2)
    with pytest.raises(ValueError):
        kept.train([], None, str(tmp_path / "failed"), 1)
    kept.train(ONE, None, str(tmp_path / "b"), 1)
    kept.train(ONE, None, str(tmp_path / "c"), 2)
    tuner(tiny).train(ONE, None, str(tmp_path / "fresh"), 1)
    assert same(tmp_path / "a", tmp_path / "b") and same(tmp_path / "a", tmp_path / "fresh")
    assert not same(tmp_path / "a", tmp_path / "c")
    assert not same(tmp_path / "a", tmp_path / "between")
    assert any(t.abs().sum() > 0 for n, t in weights(tmp_path / "a").items() if "lora_B" in n)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("one_core")
def test_training_goes_on_from_the_adapter_of_its_base(tiny: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    tuner(tiny).train(ONE, None, str(first), 1)
    tuner(tiny, rate=1e-30).train(OTHER, str(first), str(tmp_path / "still"), 2)
    assert same(tmp_path / "still", first)
    tuner(tiny).train(OTHER, str(first), str(tmp_path / "on"), 2)
    assert not same(tmp_path / "on", first)


@pytest.mark.usefixtures("one_core")
def test_what_is_no_whole_adapter_is_trained_again(tiny: str, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    for torn in (folder, tmp_path / "half.tmp"):
        torn.mkdir()
        (torn / "adapter_config.json").write_text("{")
    assert not trained(folder)
    tuner(tiny).train(ONE, None, str(folder), 1)
    assert trained(folder) and weights(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


# In Ray Train.


def processes(name: str) -> list[psutil.Process]:
    """Return the children of this process, and theirs, that bear `name`."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if name in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_group_learns_what_one_process_does(
    tiny: str, tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(None, 60)

    def learner() -> Any:
        return hosted_module.RayLearner(tiny, method(), "", workers, False, tmp_path / "ray")

    async def serve() -> list[Learnt]:
        # As beside an engine that has booked all CPUs.
        cpus = ray.util.placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
        await cpus.ready()
        hosted, told = learner(), []
        try:
            await hosted.start()
            for one in steps("hosted"):
                told.append(await hosted.learn(one))
            worse = tuple(one for one in GROUPS[0] if one.advantage < 0)
            with pytest.raises(LineageError, match="do not sum to zero"):
                await hosted.learn(batch(tmp_path / "skewed", groups=(worse,)))
            with pytest.raises(LineageError):
                await hosted.learn(batch(tmp_path / "late"))
        finally:
            await hosted.close()
            await hosted.close()
        assert not processes("RayTrainWorker")
        assert capfd.readouterr() == ("", "")
        if workers > 1:
            return told
        hosted = learner()
        try:
            await hosted.start()
            processes("RayTrainWorker")[0].kill()
            with pytest.raises(LineageError, match="the trainer failed"):
                await hosted.learn(batch(tmp_path / "killed"))
        finally:
            await hosted.close()
        assert not processes("RayTrainWorker")
        return told

    def steps(name: str) -> list[Batch]:
        root = tmp_path / name
        return [
            batch(root / "0", kind="rft", groups=BEST),
            batch(root / "1", root / "0"),
            batch(root / "2", root / "1"),
        ]

    cluster.join()
    try:
        told = asyncio.run(serve())
    finally:
        cluster.leave()
    assert not processes("ray")
    if workers == 1:
        alone = learn(tiny, *steps("alone"))
        assert [replace(a, seconds=0) for a in alone] == [replace(a, seconds=0) for a in told]
        assert all(files(tmp_path / "alone" / n) == files(tmp_path / "hosted" / n) for n in "012")
    else:
        # One step from one start: shares of the gradient are summed in another order, no more.
        (alone,) = learn(tiny, batch(tmp_path / "alone", tmp_path / "hosted" / "1"))
        assert told[2].grad_norm == pytest.approx(alone.grad_norm, rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "hosted").iterdir()) == ["0", "1", "2"]
    assert not [path for path in tmp_path.iterdir() if path.name in ("skewed", "late", "killed")]
