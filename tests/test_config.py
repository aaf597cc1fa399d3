"""The typed tree: every number has bounds, every wrong value is one line, hashes never change."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from helpers import FULL, flattened
from hydra import compose as hydra_compose
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hydra_plugins.lineage_fleet import KEPT, KeptFiles
from lineage import compose
from lineage.agent.policies import POLICIES
from lineage.commands.flags import with_folder
from lineage.commands.fork import Fork, configured
from lineage.commands.overrides import sweep
from lineage.core import plainyaml
from lineage.core.config import Config, Policy
from lineage.core.errors import LineageError
from lineage.core.fields import schema

DEFAULT = compose.load(["engine=surrogate"])
LOWEST = {"minimum", "exclusiveMinimum"}


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override by which the file `flat` is found, that has all of `DEFAULT` and no group."""
    place = tmp_path_factory.mktemp("flat")
    flattened(place, "engine=surrogate")
    return f"hydra.searchpath=[file://{place}]"


def numbers(
    top: dict[str, Any], field: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the dotted name of every number below `field`, its schema and the unit of its key."""
    if "$ref" in field:
        field = top["$defs"][field["$ref"].rpartition("/")[2]] | {"unit": field.get("unit", "")}
    unit = field.get("unit", "")
    for option in field.get("anyOf", [field]):
        if option.get("type") in ("integer", "number"):
            yield path.strip("."), option, unit
        for name, below in option.get("properties", {}).items():
            yield from numbers(top, below, f"{path}.{name}")
        for below in (option.get("items"), option.get("additionalProperties")):
            if isinstance(below, dict):
                yield from numbers(top, below | {"unit": below.get("unit", unit)}, path)


def test_every_number_has_a_bound_and_a_unit() -> None:
    top = schema(Config)
    found = list(numbers(top, top))
    assert len(found) > 90
    assert not [name for name, field, _ in found if not LOWEST & field.keys()]
    assert not [name for name, _, unit in found if not unit]


def test_handoff_policies_are_those_there_are() -> None:
    assert get_args(Policy) == tuple(POLICIES)


WRONG: list[tuple[str, Any, str]] = [
    ("engine.max_failures", 0, "it must be 1 or more (failed requests in a row)"),
    ("experiment.working_generations", -1, "it must be null or 0 or more (generations)"),
    ("engine.vllm.gpus", 1.5, "it must be a fraction up to 1, or a whole number (GPUs)"),
    ("engine.vllm.gpus", -1, "it must be null or 0 or more (GPUs)"),
    ("train.gpus", 0, "it must be more than 0 (GPUs)"),
    ("train.workers", 0, "it must be null or 1 or more (processes)"),
    ("engine.vllm.tensor_parallel", 0, "it must be 1 or more (GPUs)"),
    ("engine.vllm.pipeline_parallel", 0, "it must be 1 or more (stages)"),
    ("engine.vllm.max_num_seqs", 0, "it must be null or 1 or more (sequences in one batch)"),
    ("engine.max_in_flight", 0, "it must be null or 1 or more (requests over the whole fleet)"),
    ("engine.vllm.enforce_eager", 5, "it must be null or true or false"),
    ("engine.vllm.kv_cache_dtype", ["fp8"], "it must be null or text"),
    ("engine.vllm.extra", 5, "it must be null or a mapping of keys"),
    ("engine.vllm.cpu_kv_cache_gib", 0, "it must be 1 or more (GiB)"),
    ("engine.vllm.max_loras", 0, "it must be 1 or more (adapters in one batch)"),
    (
        "engine.vllm.gpu_memory_utilization",
        0,
        "it must be null or more than 0 and at most 1 (share of a GPU)",
    ),
    ("log.confidence", 1, "it must be more than 0 and less than 1 (level of an interval)"),
    ("finetune.learning_rate", 0, "it must be more than 0 and at most 1 (of the optimiser)"),
    ("method.rank", 513, "it must be between 1 and 512 (rank of the LoRA)"),
    ("experiment.revisit", 1.5, "it must be between 0 and 1 (share of the episodes)"),
    ("agent.temperature", math.nan, "it must be between 0 and 10 (0: the likeliest token)"),
    ("reward.same", math.inf, "it must be 0 or more (weight of a mean score)"),
    ("experiment.seed", -1, "it must be 0 or more (seed of every draw)"),
    ("experiment.lineages", "many", "it must be a whole number"),
    ("experiment.lineages", True, "it must be a whole number"),
    ("experiment.lineages", "8", "it must be a whole number"),
    ("experiment.lineages", 8.0, "it must be a whole number"),
    ("experiment.lineages", None, "it must be a whole number"),
    ("reward.memory", "0.1", "it must be a number"),
    ("agent.docs", "maybe", "it must be true or false"),
    ("run.root", ["a"], "it must be text"),
    ("run.name", {"a": 1}, "it must be null or text"),
    ("experiment.probes", None, "it must be a mapping of keys"),
    ("agent.policy", "foo", "it must be one of append, edit, rewrite-all"),
    ("method.kind", ["grpo"], "it must be text"),
    ("method.dtype", 5, "it must be one of auto, bfloat16, float32"),
    ("schedule.versions", [], "it must hold 1 or more (name one version a generation)"),
    ("schedule.versions", "a", "it must be a list"),
    ("engine.surrogate.skills.default.recall", [1, 1, 1], "it must hold exactly 4 (chances)"),
    ("engine.surrogate.skills.default.recall[3]", 2, "it must be between 0 and 1 (chances)"),
]
SHOWN = {"nan": "nan", "inf": "inf", "None": "null", "True": "true", "[]": "empty"}


@pytest.mark.parametrize(("key", "value", "must"), WRONG)
def test_a_wrong_value_is_said_in_so_many_words(key: str, value: Any, must: str) -> None:
    tree: Any = compose.plain(DEFAULT)
    node = tree
    *path, last = key.removesuffix("]").replace("[", ".").split(".")
    for name in path:
        node = node[name]
    node[int(last) if isinstance(node, list) else last] = value
    with pytest.raises(LineageError) as raised:
        compose.typed(tree)
    assert str(raised.value) == f"{key} is {SHOWN.get(repr(value), repr(value))}: {must}"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "engine.max_failures=0",
            "engine.max_failures is 0: it must be 1 or more (failed requests in a row)",
        ),
        (
            "+arms.defined.x={receives: inherit, policy: foo}",
            "arms.defined.x.policy is 'foo': it must be null or one of append, edit, rewrite-all",
        ),
        (
            "+agent.memry_budget=1",
            "unknown conf key 'agent.memry_budget': did you mean 'agent.memory_budget'?",
        ),
        ("~agent.turns", "conf key 'agent.turns' has no value: set it"),
        ("arms.baseline=cld", "arms.baseline is 'cld', which is not among arms.names"),
        (
            "agent=5",
            "conf group 'agent' takes the name of an option, not 5: "
            "choose from large, small, writer",
        ),
    ],
)
def test_a_wrong_override_is_one_line(override: str, line: str, flat: str) -> None:
    grouped = override.startswith("agent=")
    with pytest.raises(LineageError) as raised:
        compose.load(
            [override] if grouped else [flat, override], name="config" if grouped else "flat"
        )
    assert str(raised.value) == line


def test_of_several_the_first_is_said_and_the_others_counted() -> None:
    with pytest.raises(LineageError, match=r"^agent\.turns is 0: .*\(actions\) \(and 2 more\)$"):
        compose.load(["agent.turns=0", "method.steps=0", "run.lineages_in_flight=0"])


def test_a_configuration_is_a_value_that_is_checked_wherever_it_is_made() -> None:
    agent = replace(DEFAULT.agent, memory_budget=99)
    assert (agent.memory_budget, DEFAULT.agent.memory_budget) == (99, 320)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        replace(DEFAULT.agent, memory_budget=0)
    with pytest.raises(FrozenInstanceError):
        DEFAULT.agent.memory_budget = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(DEFAULT)) == DEFAULT


MORE_HASHES = [
    ("experiment=succession engine=surrogate", "1e52d231", "1e52d231"),
    ("experiment=first-light engine.vllm.dtype=bfloat16", "77bea4f8", "1fe1ab44"),
    ("experiment=upgrade engine=surrogate", "a72fe919", "32954e49"),
    ("experiment=drift engine=surrogate", "d860ad08", "1e5b065b"),
]
"""Alike to others below: the experiment with another engine, fewer settings of one, and other
experiments with other arms on the surrogate."""


@pytest.mark.parametrize(
    ("overrides", "run", "training"),
    [
        ("experiment=first-light engine=surrogate", "d764e2d8", "0af9f016"),
        ("experiment=arms engine=surrogate", "512d4504", "63cb70e9"),
        *(MORE_HASHES if FULL else []),
        ("experiment=migrations engine.vllm.dtype=bfloat16", "93b6556a", "12a57ab5"),
        ("experiment=succession engine.vllm.dtype=bfloat16", "0d95fa3a", "0d95fa3a"),
        ("engine=surrogate suite=warehouse method=rft", "83318fa1", ""),
        # What says how fast an engine is, and where, is not in the hash.
        (
            "experiment=first-light engine.vllm.dtype=bfloat16 engine.vllm.enforce_eager=false "
            "engine.vllm.max_num_seqs=512 engine.max_in_flight=9 engine.vllm.chunked_prefill=true "
            "engine.vllm.gpu_memory_utilization=0.4 engine.vllm.tensor_parallel=2 "
            "engine.vllm.pipeline_parallel=2 engine.vllm.kv_cache_dtype=auto engine.vllm.extra={}",
            "77bea4f8",
            "1fe1ab44",
        ),
        # A whole number where any number will do is 1.0 in the hash.
        (
            "engine=surrogate experiment.revisit=1 reward.memory=0 agent.temperature=1 "
            "train.gpus=1 engine.vllm.cpus=2 run.name=12 method.learning_rate=1e-5",
            "08e78608",
            "e3303efa",
        ),
    ],
)
def test_hashes_stay(overrides: str, run: str, training: str) -> None:
    # As the default was when these were taken: docs were opened unasked.
    config = compose.load([*overrides.split(), "agent.opening=first"])
    assert compose.config_hash(config) == run
    assert not training or compose.training_hash(config) == training


@pytest.mark.parametrize(
    "override", ["engine.vllm.kv_cache_dtype=fp8", "+engine.vllm.extra.quantization=fp8"]
)
def test_what_may_change_an_answer_is_in_the_hash(override: str) -> None:
    assert compose.config_hash(compose.load([override])) != compose.config_hash(DEFAULT)
    assert compose.training_hash(compose.load([override])) != compose.training_hash(DEFAULT)
    stand_in = compose.load(["engine=surrogate"])
    assert compose.config_hash(compose.load(["engine=surrogate", override])) == (
        compose.config_hash(stand_in)
    )


@pytest.mark.parametrize(
    "overrides",
    [
        [
            *("experiment.seed=3", "experiment=arms", "engine=surrogate", "experiment.seed=4"),
            *("+arms.names=[cold]", "run.name='\\${run.root}'", "run.root=a${run.cache}"),
        ],
        [
            *("run.name='a b'", "agent.docs=true", "experiment.probes={same: 3}"),
            *("engine=surrogate", "start.run=null", "run.root=${run.cache}/x"),
            *("+arms.defined.x={receives: docs}", "arms.names=[x,cold]", "++suite.kinds=2"),
            *("+engine.vllm.extra.a.b=1", "++engine.vllm.extra.a.c=[x]"),
        ],
        # Whatever stands beside what is taken away is left to Hydra.
        *([["arms.names=[cold]", "~suite.drift"]] if FULL else []),
    ],
)
def test_values_are_set_as_hydra_sets_them(overrides: list[str]) -> None:
    expected = compose.resolved(compose.composed_by_hydra(overrides))
    assert compose.resolved(compose.composed(overrides)) == expected
    # What is kept of a choice is nobody's to change.
    assert compose.resolved(compose.composed(overrides)) == expected


@pytest.mark.parametrize("override", ["+suite.kinds=2", "+engine=surrogate"])
def test_what_may_not_be_added_is_left_to_hydra(override: str, flat: str) -> None:
    grouped = override == "+engine=surrogate"
    given, name = ([override], "config") if grouped else ([flat, override], "flat")
    with pytest.raises(LineageError) as expected:
        compose.composed_by_hydra(given, name)
    with pytest.raises(LineageError, match=re.escape(str(expected.value))):
        compose.load(given, name=name)


def test_a_folder_of_one_s_own_is_composed_as_hydra_does_and_read_again(tmp_path: Path) -> None:
    # Of a file with this group alone: Hydra composes that in a third of the time.
    flattened(tmp_path, "engine=surrogate")
    tree: Any = OmegaConf.load(tmp_path / "flat.yaml")
    del tree.reward
    tree.defaults.insert(0, {"reward": "default"})
    OmegaConf.save(tree, tmp_path / "flat.yaml")
    file = tmp_path / "reward" / "mine.yaml"
    file.parent.mkdir()
    overrides = with_folder(["reward=mine", "experiment.seed=3"], str(tmp_path))
    head = "# @package _global_\ndefaults:\n  - /reward/default\n"
    for memory in (0.25, 0.75):
        file.write_text(f"{head}  - _self_\nreward:\n  memory: {memory}\n")
        os.utime(file, ns=(11, int(memory * 100)))
        found = compose.resolved(compose.composed(overrides, "flat"))
        assert (found["reward"]["memory"], found["experiment"]["seed"]) == (memory, 3)
    assert found == compose.resolved(compose.composed_by_hydra(overrides, "flat"))
    assert found["reward"]["same"] == DEFAULT.reward.same
    file.write_text(f"{head}  - override /hydra/sweeper: nobody_s\n")
    with pytest.raises(LineageError, match="'hydra/sweeper' has no option 'nobody_s'"):
        compose.load(overrides, name="flat")


def test_where_runs_are_is_known_without_composing() -> None:
    assert compose.shipped_run() == compose.load([]).run


ODD_YAML = re.compile(r"""[:\[,-] *(?:[+-]?[\d.]+[eE_:-]|[|>&*!'"])""")


def test_shipped_files_are_read_as_omegaconf_reads_them() -> None:
    files = sorted(compose.conf_dir().rglob("*.yaml"))
    assert len(files) > 50
    # Two readers differ over numbers and dates, and over what YAML has besides words.
    odd = [file for file in files if ODD_YAML.search(file.read_text(encoding="utf-8"))]
    assert len(odd) > 5
    for file in files if FULL else {*odd, *files[::8]}:
        found = OmegaConf.create(plainyaml.trusted(file.read_text(encoding="utf-8")))
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(OmegaConf.load(file)), file


@pytest.mark.parametrize(
    "overrides",
    [
        *([[]] if FULL else []),
        ["experiment=arms", "model=bases", "engine=surrogate", "suite=cladder"],
    ],
)
def test_files_that_are_kept_make_what_hydra_makes_of_them(overrides: list[str]) -> None:
    with compose.hydra_tree():  # not as lineage asks: Hydra reads them itself
        expected = compose.resolved(hydra_compose("config", overrides=overrides))
    assert compose.resolved(compose.composed_by_hydra(overrides)) == expected


def test_a_kept_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "notes.md").write_text("no conf")
    file = tmp_path / "group" / "one.yaml"
    file.write_text("# @package _global_\n# words\nkey: {below: 1}\n")
    source = KeptFiles("main", f"{KEPT}://{tmp_path}")
    first = source.load_config("group/one")
    assert first.config == {"key": {"below": 1}} and first.header == {"package": "_global_"}
    first.config.key.below = 2
    assert source.load_config("group/one.yaml").config == {"key": {"below": 1}}
    file.write_text("key: {below: 3}\n")
    again = source.load_config("group/one")
    assert again.config == {"key": {"below": 3}} and again.header == {"package": None}
    file.write_text("key: {below: 4}\n")
    os.utime(file, ns=(0, 0))
    assert source.load_config("group/one").config == {"key": {"below": 4}}
    file.unlink()
    with pytest.raises(ConfigLoadError, match=r"one\.yaml"):
        source.load_config("group/one")
    assert source.available() and source.is_group("group") and not source.is_config("group/one")
    (tmp_path / "two.yaml").touch()
    assert source.load_config("two").config == {}
    assert source.list("", None) == ["group", "two"]
    assert source.list("", ObjectType.GROUP) == ["group"]
    assert source.list("", ObjectType.CONFIG) == ["two"]


def saved(folder: Path, **changes: Any) -> Path:
    """Return a saved configuration with other values at its top."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(compose.plain(DEFAULT) | changes, sort_keys=False))
    return file


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    odd = replace(DEFAULT, run=replace(DEFAULT.run, name="12e34567", root="é: # ${x} ???"))
    (tmp_path / "config.yaml").write_text(compose.to_yaml(odd))
    assert compose.load_file(tmp_path / "config.yaml") == odd
    assert yaml.safe_load(compose.to_yaml(odd)) == compose.plain(odd) == asdict(odd)


def test_an_unknown_key_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    file = saved(tmp_path, log=asdict(DEFAULT.log) | {"flushes": 3})
    with pytest.raises(LineageError, match=r"unknown conf key 'log\.flushes'"):
        compose.load_file(file)
    with pytest.raises(LineageError, match=r"unknown conf key 'log\.flushes'"):
        compose.load(["+log.flushes=3"])


def test_a_key_that_came_later_has_its_default_in_what_is_saved(tmp_path: Path) -> None:
    tree = compose.plain(DEFAULT)
    del tree["start"], tree["experiment"]["working_generations"]
    (tmp_path / "config.yaml").write_text(json.dumps(tree))
    assert compose.load_file(tmp_path / "config.yaml") == DEFAULT
    del tree["agent"]["turns"]
    (tmp_path / "config.yaml").write_text(json.dumps(tree))
    with pytest.raises(LineageError, match=r"conf key 'agent\.turns' has no value: set it$"):
        compose.load_file(tmp_path / "config.yaml")


def test_a_fork_takes_the_options_of_a_conf_folder_of_one_s_own(tmp_path: Path) -> None:
    run, conf = tmp_path / "run", tmp_path / "mine"
    (conf / "migration").mkdir(parents=True)
    (conf / "suite").mkdir()
    run.mkdir()
    saved(run)
    shipped = (compose.conf_dir() / "migration" / "verify.yaml").read_text()
    (conf / "migration" / "mine.yaml").write_text(shipped)
    text = (compose.conf_dir() / "suite" / "codebook.yaml").read_text()
    (conf / "suite" / "mine.yaml").write_text(text.replace("drift: 0.0", "drift: 0.25"))
    at = Fork("k-1", 0, 1)
    searched = with_folder(["migration=mine", "suite=mine"], str(conf))
    fork = configured(run, at, searched)
    keys = {key: value for key, value in yaml.safe_load(shipped).items() if key != "defaults"}
    assert fork.migration == replace(DEFAULT.migration, **keys)
    assert fork.migration != DEFAULT.migration and fork.suite["drift"] == 0.25
    with pytest.raises(LineageError, match="did you mean 'mine'"):
        configured(run, at, with_folder(["migration=mnie"], str(conf)))
    # Without the folder it is no option.
    with pytest.raises(LineageError, match="has no option 'mine'"):
        configured(run, at, ["migration=mine"])


def test_nothing_in_somebody_else_s_configuration_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "told")
    spy = "${oc.env:SECRET}"
    suite = {"_target_": "lineage.suites.jsonl.Jsonl", "name": "jsonl", "path": spy}
    file = saved(tmp_path, run=asdict(DEFAULT.run) | {"root": spy})
    assert compose.load_file(file).run.root == spy
    # A fork lies beside what it is forked from, wherever that says it was.
    fork = configured(tmp_path, Fork("k-1", 0, 1), ["agent.turns=3"])
    assert fork.run.root == str(tmp_path.parent)
    with pytest.raises(LineageError) as raised:
        compose.load_file(saved(tmp_path, suite=suite))
    assert "told" not in str(raised.value)
    # What is composed from conf/, by whoever runs it, is.
    assert compose.load(["run.root=${oc.env:SECRET}"]).run.root == "told"


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "line 1 has an anchor or alias"),
        ("a: " + "[" * 3000, "nest"),
        ("a: " + "{b: " * 40, "nests more than 32 deep"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: [", "in line"),
        ("a: \x00", "is no YAML"),
        ("- a", "it must be a mapping of keys"),
        ("", "the configuration is null: it must be a mapping of keys"),
    ],
    ids=["bomb", "lists", "mappings", "twice", "tag", "torn", "control", "list", "empty"],
)
def test_a_hostile_or_torn_configuration_is_one_line(
    text: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(LineageError) as raised:
        compose.load_file(tmp_path / "config.yaml")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


TEXTS = st.text(st.sampled_from("\\${}oc.env:X'\" ab?1e2-~\u00e9"), max_size=12)


@given(st.dictionaries(TEXTS, TEXTS | st.integers() | st.lists(TEXTS, max_size=3), max_size=4))
def test_plain_yaml_reads_what_it_wrote(tree: dict[str, Any]) -> None:
    assert plainyaml.parse(plainyaml.dump(tree)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("'12e34567'", "12e34567"),
        ("2024-11-01", "2024-11-01"),
        ("'2024-11-01'", "2024-11-01"),
        ("0.5", 0.5),
        ("8", 8),
        ("null", None),
        ("'true'", "true"),
    ],
)
def test_plain_yaml_reads_numbers_as_hydra_does_and_dates_as_text(text: str, value: Any) -> None:
    assert plainyaml.parse(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    ("overrides", "points"),
    [
        (["a=1,2", "b=3"], [["a=1", "b=3"], ["a=2", "b=3"]]),
        (["b=3", "a=choice(x,'y z')"], [["b=3", "a=x"], ["b=3", "a=y\\ z"]]),
        (["a=range(1,3)", "+b={c:1}"], [["a=1", "+b={c:1}"], ["a=2", "+b={c:1}"]]),
        (
            ["a=1,2", "b=[x,y],[z]"],
            [["a=1", "b=[x,y]"], ["a=1", "b=[z]"], ["a=2", "b=[x,y]"], ["a=2", "b=[z]"]],
        ),
        (["a=1", "b=null,1.5e-3", "a=2"], [["a=2", "b=null"], ["a=2", "b=0.0015"]]),
        ([], [[]]),
    ],
)
def test_a_sweep_goes_in_hydra_s_order(overrides: list[str], points: list[list[str]]) -> None:
    assert sweep(overrides) == points


def test_a_budget_that_is_auto_is_a_share_of_the_readers_window() -> None:
    agent = compose.load(["agent.memory_budget=auto", "agent.memory_share=0.25"]).agent
    assert (agent.budget(2048), agent.budget(131_072), agent.budget(3)) == (512, 32_768, 1)
    assert DEFAULT.agent.budget(2048) == DEFAULT.agent.budget(131_072) == 320


def test_the_share_is_in_the_hash_only_where_the_budget_is_auto() -> None:
    same = replace(DEFAULT, agent=replace(DEFAULT.agent, memory_share=0.5))
    assert compose.config_hash(same) == compose.config_hash(DEFAULT)
    hashes = {
        compose.config_hash(compose.load(["agent.memory_budget=auto", f"agent.memory_share={s}"]))
        for s in (0.1, 0.2)
    }
    assert len(hashes | {compose.config_hash(DEFAULT)}) == 3


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("agent.memory_budget=most", "agent.memory_budget is 'most': it must be a whole number"),
        ("agent.memory_budget=0", "agent.memory_budget is 0: it must be 1 or more"),
        ("agent.memory_share=1", "agent.memory_share is 1: it must be more than 0 and less than 1"),
    ],
)
def test_a_wrong_budget_or_share_is_one_line(override: str, line: str) -> None:
    with pytest.raises(LineageError) as error:
        compose.load([override])
    assert str(error.value).startswith(line)
