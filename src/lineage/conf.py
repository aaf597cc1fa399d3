"""Composing `conf/` with Hydra and checking it: bad input becomes one line that says what to do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lineage.config import IDENTITY, TRAINING, Config
from lineage.errors import LineageError, nearest
from lineage.models import shelf
from lineage.models.precision import PRECISIONS
from lineage.suites import make_suite
from lineage.tasks import Suite

SHARES = (
    "experiment.revisit",
    "log.confidence",
    "train.discount",
    "migration.distil_share",
    "engine.vllm.gpu_memory_utilization",
)
COUNTS = (
    "experiment.lineages",
    "experiment.episodes",
    "agent.memory_budget",
    "agent.memory_chars",
    "agent.episodes_per_handoff",
    "agent.edits_per_episode",
    "agent.compress_edits",
    "agent.episodes_per_doc",
    "agent.doc_title_chars",
    "agent.doc_body_chars",
    "agent.doc_line_chars",
    "agent.doc_tokens",
    "agent.rewrite_notes",
    "agent.rewrite_tokens",
    "agent.docs_opened",
    "agent.search_results",
    "agent.transcript_tokens",
    "agent.retrieved_episodes",
    "migration.verify_tasks",
    "finetune.epochs",
    "finetune.batch",
    "finetune.rank",
    "agent.act_tokens",
    "agent.turns",
    "agent.episode_tokens",
    "agent.observation_chars",
    "agent.history_tokens",
    "agent.summary_tokens",
    "agent.edit_tokens",
    "agent.document_tokens",
    "train.worlds",
    "train.episodes",
    "train.horizon",
    "method.steps",
    "method.groups",
    "method.warm_groups",
    "method.epochs",
    "method.most",
    "method.warm_most",
    "method.batch",
    "method.rank",
    "engine.replicas",
    "engine.max_in_flight",
    "engine.start_timeout_s",
    "log.journal_steps",
    "run.lineages_in_flight",
)
NATURALS = (
    "experiment.probes.same",
    "experiment.probes.similar",
    "experiment.probes.dissimilar",
    "engine.max_restarts",
    "agent.temperature",
    "poison.generation",
    "reward.memory",
    "reward.docs",
    "train.probes.same",
    "train.probes.similar",
    "train.probes.dissimilar",
    "train.held_out",
    "method.warm_steps",
    "method.temperature",
    "method.warm_temperature",
    "method.beta",
    "method.clip",
)


RETIRED = ("log.bootstrap",)
"""Keys that saved configurations may still have. They decided nothing that is logged."""


def conf_dir() -> Path:
    """Return the folder of the shipped tree: inside an installed package, or beside `src/`."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def load(overrides: Sequence[str], *versions: str) -> Config:
    """Return the configuration that `overrides` (Hydra's grammar) make of the shipped tree.

    `versions` are names of model versions that it needs beside those that its tree names. Raises
    LineageError: an unknown key or group option names the nearest valid one.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            try:
                tree = compose("config", overrides=list(overrides))
            except (HydraException, OmegaConfBaseException) as error:
                raise LineageError(_explain(error, compose("config"))) from error
    finally:
        GlobalHydra.instance().clear()
    return with_shelf(typed(tree), *versions)


def with_shelf(config: Config, *versions: str) -> Config:
    """Return `config` with those versions of the shelf that its tree or `versions` name.

    Their ancestors come with them. The others stay out: what is trained changes no configuration
    that does not name it. Raises LineageError as `shelf.chosen` does.
    """
    tree = plain(config)
    del tree["model"]
    del tree["train"]["name"]  # of the version to be made, not of one that is needed
    found = shelf.chosen(config.model, {*_strings(tree), *versions})
    if not found:
        return config
    return replace(
        config, model=replace(config.model, versions={**config.model.versions, **found})
    )


def _strings(tree: Any) -> Iterator[str]:
    """Yield every string value in `tree`."""
    if isinstance(tree, str):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from _strings(child)


def load_suite(name: str, *overrides: str) -> Suite:
    """Return the suite of the entry `name`; raises LineageError as `load` does."""
    return make_suite(load([f"suite={name}", *overrides]).suite)


def load_file(path: Path) -> Config:
    """Return the configuration that a run folder's `config.yaml` holds.

    Raises LineageError where there is none, or where it is not of this version's tree.
    """
    if not path.exists():
        raise LineageError(f"{path.parent} is no run folder: it has no {path.name}")
    try:
        tree = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LineageError(f"{path} is no YAML: {str(error).splitlines()[0]}") from error
    return typed(_current(tree))


def _current(tree: Any) -> Any:
    """Return `tree` without the keys that are retired."""
    for key in RETIRED:
        node, _, name = key.rpartition(".")
        held = OmegaConf.select(tree, node) if isinstance(tree, DictConfig) else None
        if isinstance(held, DictConfig) and name in held:
            del held[name]
    return tree


def typed(tree: Any) -> Config:
    """Check `tree` against the dataclasses and the ranges; raises LineageError."""
    structure = OmegaConf.structured(Config)
    try:
        merged = OmegaConf.merge(structure, tree)
        OmegaConf.resolve(merged)
        missing = OmegaConf.missing_keys(merged)
        if missing:
            raise LineageError(f"conf key {min(missing)!r} has no value: set it")
        config = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise LineageError(_explain(error, tree)) from error
    _check(merged)
    make_suite(config.suite)
    return config


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the override lists of a multirun, in Hydra's order: `a=1,2 b=3` gives two.

    Raises LineageError where they are no overrides, or a sweep of a kind that cannot be listed.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    with one_line():
        batches = BasicSweeper.split_arguments(parsed(overrides), None)
    return [list(point) for batch in batches for point in batch]


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return `overrides` as Hydra reads them. Raises LineageError where it cannot."""
    with one_line():
        found: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    return found


@contextmanager
def one_line() -> Iterator[None]:
    """Raise LineageError with the first line of what Hydra or OmegaConf say."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise LineageError(f"conf: {str(error).splitlines()[0]}") from error


def identity(config: Config) -> dict[str, Any]:
    """Return what decides the content of a run's log: not where, nor how parallel, it runs."""
    tree = plain(config)
    engine = tree["engine"]
    wanted = {node: tree[node] for node in IDENTITY}
    wanted["engine"] = {"kind": engine["kind"], engine["kind"]: _behaviour(engine)}
    used = {*config.schedule.versions, *_suite_versions(tree)}
    for name in config.arms.names:
        if name in config.arms.defined:
            used |= {*(config.arms.defined[name].versions or ())}
    if config.schedule.trained:
        wanted |= {node: tree[node] for node in TRAINING}
        used |= set(config.schedule.trained.values())
    else:
        del wanted["schedule"]["trained"]
    wanted["model"] = _contents(tree, used)
    return wanted


def training_hash(config: Config) -> str:
    """Return the first 8 hex digits of the hash of all that decides what a training makes."""
    tree = plain(config)
    wanted = identity(config) | {node: tree[node] for node in TRAINING}
    wanted["model"] = _contents(tree, {config.train.parent, *_suite_versions(tree)})
    text = json.dumps(wanted, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _suite_versions(tree: dict[str, Any]) -> set[str]:
    """Return the versions that the suite's own keys name."""
    return {name for name in _strings(tree["suite"]) if name in tree["model"]["versions"]}


def _contents(tree: dict[str, Any], used: set[str]) -> dict[str, Any]:
    """Return the versions that are `used`, and those of the shelf, which are there because named.

    A version is what its adapter holds, where that is known, not where it lies.
    """
    found = {}
    for name, version in tree["model"]["versions"].items():
        if name in used or version["digest"]:
            content = {key: value for key, value in version.items() if key != "digest"}
            if version["digest"]:
                content["adapter"] = version["digest"]
                # The day of a training: the next one may end with the same bytes.
                del content["released"]
            found[name] = content
    return found


def _behaviour(engine: dict[str, Any]) -> Any:
    return engine["surrogate"] if engine["kind"] == "surrogate" else engine["vllm"]["dtype"]


def config_hash(config: Config) -> str:
    """Return the first 8 hex digits of the hash of `identity`."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def plain(config: Config) -> dict[str, Any]:
    """Return the configuration as plain dicts, lists and scalars."""
    return asdict(config)


def to_yaml(config: Config) -> str:
    """Return the configuration as `config.yaml` holds it."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


CHOICES = {
    "agent.policy": ("append", "edit", "rewrite-all"),
    "agent.ranking": ("bm25", "dense"),
    "agent.opening": ("first", "choice", "native"),
    "migration.when": ("release", "always"),
    "poison.carrier": ("memory", "doc"),
    "poison.form": ("instruction", "fact"),
    "finetune.history": ("all", "last"),
    "log.correction": ("none", "holm", "bh"),
    "method.kind": ("grpo", "rft"),
    "method.dtype": PRECISIONS,
    "engine.vllm.dtype": PRECISIONS,
}


def _check(tree: Any) -> None:
    for key in SHARES:
        _require(tree, key, lambda value: 0 <= value <= 1, "between 0 and 1")
    for key in COUNTS:
        _require(tree, key, lambda value: value >= 1, "1 or more")
    for key in NATURALS:
        _require(tree, key, lambda value: value >= 0, "0 or more")
    for key, options in CHOICES.items():
        words = f"one of {', '.join(options)}"
        _require(tree, key, lambda value, options=options: value in options, words)
    if not tree.schedule.versions:
        raise LineageError("schedule.versions is empty: name one version a generation")
    for node, named in (("baseline", tree.arms.baseline), ("ceiling", tree.arms.ceiling)):
        if named not in tree.arms.names:
            raise LineageError(f"arms.{node} is {named!r}, which is not among arms.names")


def _require(tree: Any, key: str, test: Any, words: str) -> None:
    value = OmegaConf.select(tree, key)
    if not test(value):
        raise LineageError(f"{key} is {value}: it must be {words}")


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    for key in tree:
        yield f"{prefix}{key}"
        child = tree._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _keys(child, f"{prefix}{key}.")


def _explain(error: Exception, tree: Any) -> str:
    """Return one line for what Hydra or OmegaConf say in many."""
    text = str(error)
    if found := re.search(r"Could not find '([^']+)'", text):
        group, _, option = found.group(1).rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return f"conf group {group!r} has no option {option!r}{nearest(option, options)}"
    found = re.search(r"Could not override '([^']+)'", text) or re.search(
        r"Key '[^']*' (?:not in|is not in)[\s\S]*full_key: (\S+)", text
    )
    if found:
        key = found.group(1)
        known = {*_keys(OmegaConf.structured(Config)), *_keys(tree)} - {key}
        return f"unknown conf key {key!r}{nearest(key, sorted(known))}"
    where = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0]
    return f"conf key {where.group(1)!r}: {first}" if where else f"conf: {first}"
