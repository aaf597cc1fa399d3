"""The typed configuration: what Hydra composed, checked; what is saved, read again; and its hashes.

The files that it is composed from are `lineage.conftree`, which is reached from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lineage.conftree import PRIMARY, explain
from lineage.conftree import SHARED as SHARED
from lineage.conftree import composed as composed
from lineage.conftree import composed_by_hydra as composed_by_hydra
from lineage.conftree import conf_dir as conf_dir
from lineage.conftree import folders as folders
from lineage.conftree import groups as groups
from lineage.conftree import hydra_tree as hydra_tree
from lineage.conftree import one_line as one_line
from lineage.conftree import options_of as options_of
from lineage.conftree import parsed as parsed
from lineage.conftree import shipped_run as shipped_run
from lineage.core import plainyaml
from lineage.core.config import IDENTITY, TRAINING, Config
from lineage.core.config_agent import LATER_OF_AGENT
from lineage.core.config_engine import ASKED, EXTRA, LATER_KEYS, LATER_SKILLS
from lineage.core.config_training import LATER_COURSES
from lineage.core.errors import LineageError
from lineage.core.fields import AUTO, checked
from lineage.core.jsonfile import read_file
from lineage.core.names import SAFE
from lineage.core.prompts import check_prompts, read_prompts
from lineage.core.tasks import Suite
from lineage.models import shelf, shelves
from lineage.models.profile import MODEL_OWN
from lineage.suites import make_suite

GATE = "gate"
"""The way of opening docs that alone knows a threshold."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRUSTING = "trust_remote_code"
"""vLLM's switch that runs the code in a model's folder."""


def load(overrides: Sequence[str], *versions: str, name: str = PRIMARY) -> Config:
    """Return the configuration that `overrides` (Hydra's grammar) make of the shipped tree.

    `name` is the file that it is composed from; `versions` are names of model versions that it
    needs beside those that its tree names. Raises LineageError: an unknown key or group option
    names the nearest valid one.
    """
    return with_shelf(typed(resolved(composed(overrides, name))), *versions)


def with_shelf(config: Config, *versions: str) -> Config:
    """Return `config` with those versions of the shelf that its tree or `versions` name.

    Their ancestors come with them. The others stay out: what is trained changes no configuration
    that does not name it. Raises LineageError as `shelf.named` does.
    """
    tree = plain(config)
    del tree["model"]
    del tree["train"]["name"]  # of the version to be made, not of one that is needed
    found = shelf.named(config.model, {*_strings(tree), *versions}, shelves.of(config))
    if not found:
        return config
    return replace(config, model=replace(config.model, versions={**config.model.versions, **found}))


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
    """Return the configuration that a run folder's `config.yaml` holds, as plain values.

    It may be somebody else's: nothing in it is resolved, and no suite is imported that is none of
    lineage's own (see `check_suite`). A `run.name` that is no name is left out: the run is where
    it is. Raises LineageError where there is none, or where it is not of this version's tree.
    """
    if not path.exists():
        raise LineageError(f"{path.parent} is no run folder: it has no {path.name}")
    try:
        tree = plainyaml.parse(read_file(path))
    except ValueError as error:
        raise LineageError(f"{path} is no YAML: {error}") from error
    run = tree.get("run") if isinstance(tree, dict) else None
    if isinstance(run, dict) and not SAFE.fullmatch(str(run.get("name"))):
        run["name"] = None
    try:
        config = checked(Config, tree)
        if _target(config) in own_suites():
            make_suite(config.suite)
    except LineageError as error:
        raise LineageError(f"{path}: {error}") from error
    return config


def check_suite(config: Config, path: Path, remedy: str, deliberate: Collection[str] = ()) -> None:
    """Raise LineageError, ending with `remedy`, where the suite that `path` names is not known.

    To make it would run the code of whatever module it names. Known are the suites of `conf/suite`,
    and the `_target_`s that are named `deliberate`ly, by whoever runs the command.
    """
    target = _target(config)
    if target not in own_suites() and target not in deliberate:
        raise LineageError(
            f"{path}: suite._target_ is {target!r}, which is none of lineage's own, and its code "
            f"would be run: {remedy}"
        )


def check_extra(config: Config, path: Path, remedy: str, deliberate: Collection[str] = ()) -> None:
    """Raise LineageError, ending with `remedy`, where `path` has vLLM do what may run code.

    Of its arguments numbers and switches name none, but the one that trusts a model's own.
    `deliberate` are the keys that whoever runs the command has set.
    """
    for name, value in (config.engine.vllm.extra or {}).items():
        key = f"{EXTRA}.{name}"
        harmless = name != TRUSTING and isinstance(value, int | float | None)
        if value and not harmless and key not in deliberate:
            raise LineageError(f"{path}: {key} may name code that vLLM would run: {remedy}")


def check_endpoints(
    config: Config,
    path: Path,
    remedy: str,
    deliberate: Collection[str] = (),
    own: Path | None = None,
) -> None:
    """Raise LineageError, ending with `remedy`, where `path` would have prompts, and a key of this
    environment, sent to an API that is none of `conf/model`, nor of such an `own` folder.

    Known are those with the same variable for the key, this machine without any, and those that are
    set `deliberate`ly.
    """
    if config.engine.kind == "surrogate" or "model" in deliberate:
        return
    known = own_endpoints() | (own_endpoints(own) if own else frozenset())
    for name, one in config.model.endpoints.items():
        here = urlsplit(one.base_url).hostname in LOOPBACK and not one.api_key_var
        set_here = f"model.endpoints.{name}.base_url" in deliberate
        if not here and not set_here and (one.base_url, one.api_key_var) not in known:
            sent = f"prompts, and the key in {one.api_key_var}," if one.api_key_var else "prompts"
            raise LineageError(f"{path}: {sent} would be sent to {one.base_url}: {remedy}")


@cache
def own_endpoints(folder: Path | None = None) -> frozenset[tuple[str, str]]:
    """Return base_url and api_key_var of each endpoint in `conf/model`, or in such a `folder`."""
    files = sorted(((folder or conf_dir()) / "model").glob("*.yaml"))
    # Whoever runs the command has put them there: they may have anchors.
    trees: Any = (plainyaml.trusted(file.read_bytes()) or {} for file in files)
    within = (tree.get("model", tree).get("endpoints") or {} for tree in trees)
    found = (one for endpoints in within for one in endpoints.values())
    return frozenset((str(one["base_url"]), str(one.get("api_key_var", ""))) for one in found)


@cache
def own_suites(folder: Path | None = None) -> frozenset[str]:
    """Return the `_target_`s of the entries of `conf/suite`, or of such a `folder` of one's own."""
    files = sorted(((folder or conf_dir()) / "suite").glob("*.yaml"))
    trees = (plainyaml.parse(file.read_bytes()) for file in files)
    entries = (tree.get("suite", tree) for tree in trees)
    return frozenset(str(entry["_target_"]) for entry in entries if "_target_" in entry)


def _target(config: Config) -> str:
    return str(config.suite.get("_target_", ""))


def resolved(tree: DictConfig) -> dict[str, Any]:
    """Return what Hydra composed as plain dicts, lists and scalars; raises LineageError."""
    try:
        found: Any = OmegaConf.to_container(tree)
        # Plain values are looked through faster than a tree of OmegaConf.
        if any("${" in text for text in _strings(found)):
            OmegaConf.resolve(tree)
            found = OmegaConf.to_container(tree)
        if MISSING in _strings(found) and (missing := OmegaConf.missing_keys(tree)):
            raise LineageError(f"conf key {min(missing)!r} has no value: set it")
        return cast(dict[str, Any], found)
    except OmegaConfBaseException as error:
        raise LineageError(explain(error, tree)) from error


def typed(tree: Any) -> Config:
    """Return the configuration that plain values describe, checked; raises LineageError.

    A folder of prompts is read: what the configuration has is their texts.
    """
    config = checked(Config, tree)
    make_suite(config.suite)
    prompts = config.agent.prompts
    if isinstance(prompts, str):
        read = read_prompts(Path(prompts)) or None
        return replace(config, agent=replace(config.agent, prompts=read))
    check_prompts(prompts or {})
    return config


def identity(config: Config) -> dict[str, Any]:
    """Return what decides the content of a run's log: not where, nor how parallel, it runs."""
    tree = plain(config)
    engine = tree["engine"]
    wanted = {node: tree[node] for node in IDENTITY}
    if GATE not in _openings(tree):
        del wanted["agent"]["gate"]
    kind = engine["kind"]
    of_kind = {"vllm": _of_vllm, "surrogate": _of_surrogate}.get(kind)
    behaviour = of_kind(engine[kind]) if of_kind else engine.get(kind, engine["options"])
    wanted["engine"] = {"kind": kind, kind: behaviour}
    used = {*config.schedule.versions, *_suite_versions(tree)}
    for name in config.arms.names:
        if name in config.arms.defined:
            used |= {*(config.arms.defined[name].versions or ())}
    if config.schedule.trained:
        wanted |= _of_training(tree)
        used |= set(config.schedule.trained.values())
    else:
        del wanted["schedule"]["trained"]
    wanted["model"] = _contents(tree, used)
    start = wanted["start"]
    for arm in wanted["arms"]["defined"].values():
        for later in ("without", "opening"):
            if not arm[later]:
                del arm[later]
    del start["history"]  # what it holds counts, not where
    if not start["history_hash"]:
        del start["history_hash"]
    del start["allow_drop"]  # what is lost is lost by the budget
    if start["secrets"] == "redact":
        del start["secrets"]
    if start["replays"] == "commits":
        del start["replays"]
    if config.agent.memory_budget != AUTO:
        del wanted["agent"]["memory_share"]
    for name in LATER_OF_AGENT:
        if not wanted["agent"][name]:
            del wanted["agent"][name]
    return wanted


def _openings(tree: dict[str, Any]) -> set[str]:
    """Return the ways in which docs are opened: that of the agent, and those of single arms."""
    arms = tree["arms"]
    named = (arms["defined"].get(name) or {} for name in arms["names"])
    return {tree["agent"]["opening"], *(arm.get("opening") or "" for arm in named)}


def _of_vllm(vllm: dict[str, Any]) -> Any:
    """Return what of vLLM's keys decides what is answered: the precision.

    And, where they say something, that of the cache and arguments that only vLLM knows.
    """
    cache, extra = vllm["kv_cache_dtype"], vllm["extra"]
    more = {} if cache in (None, MODEL_OWN) else {"kv_cache_dtype": cache}
    more |= {"extra": extra} if extra else {}
    return {"dtype": vllm["dtype"], **more} if more else vllm["dtype"]


def _of_surrogate(surrogate: dict[str, Any]) -> Any:
    """Return a surrogate's keys, of its later skills those that say something."""
    skills = {
        name: {key: value for key, value in skill.items() if value or key not in LATER_SKILLS}
        for name, skill in surrogate["skills"].items()
    }
    return {**surrogate, "skills": skills}


def _of_training(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the nodes of a training, of the later keys of curricula those that say something."""
    found = {node: tree[node] for node in TRAINING}
    found["curricula"] = {
        name: {k: v for k, v in course.items() if k not in LATER_COURSES or v != LATER_COURSES[k]}
        for name, course in tree["curricula"].items()
    }
    return found


def training_hash(config: Config) -> str:
    """Return the first 8 hex digits of the hash of all that decides what a training makes."""
    tree = plain(config)
    wanted = identity(config) | _of_training(tree)
    wanted["model"] = _contents(tree, {config.train.parent, *_suite_versions(tree)})
    return _hash(wanted)


def _suite_versions(tree: dict[str, Any]) -> set[str]:
    """Return the versions that the suite's own keys name."""
    return {name for name in _strings(tree["suite"]) if name in tree["model"]["versions"]}


def _contents(tree: dict[str, Any], used: set[str]) -> dict[str, Any]:
    """Return the versions that are `used`, and those of the shelf, which are there because named.

    A version is what its adapter holds, where that is known, not where it lies.
    """
    found, gated = {}, GATE in _openings(tree)
    for name, version in tree["model"]["versions"].items():
        if name in used or version["digest"]:
            content = {k: v for k, v in version.items() if k not in ("digest", "price")}
            if content["gate"] is None or not gated:
                del content["gate"]
            held = version["checkpoint"].items()
            content["checkpoint"] = {k: v for k, v in held if v or k not in LATER_KEYS}
            endpoint = tree["model"]["endpoints"].get(version["checkpoint"]["endpoint"], {})
            if asked := {key: endpoint[key] for key in ASKED if key in endpoint}:
                content["endpoint"] = asked
            if version["digest"]:
                content["adapter"] = version["digest"]
                # The day of a training: the next one may end with the same bytes.
                del content["released"]
            found[name] = content
    return found


def config_hash(config: Config) -> str:
    """Return the first 8 hex digits of the hash of `identity`."""
    return _hash(identity(config))


def _hash(wanted: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]


def plain(config: Config) -> dict[str, Any]:
    """Return the configuration as plain dicts, lists and scalars."""
    return asdict(config)


def to_yaml(config: Config) -> str:
    """Return the configuration as `config.yaml` holds it."""
    return plainyaml.dump(plain(config))
