"""The typed configuration: what Hydra composed, checked; and what is saved, read again.

The files that it is composed from are `lineage.conftree`, its hashes `lineage.identity`; both are
reached from here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
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
from lineage.conftree import shipped_shelf as shipped_shelf
from lineage.core import plainyaml
from lineage.core.config import Config
from lineage.core.config_engine import EXTRA
from lineage.core.errors import LineageError
from lineage.core.fields import checked
from lineage.core.jsonfile import read_file
from lineage.core.names import SAFE
from lineage.core.prompts import check_prompts, read_prompts
from lineage.core.tasks import Suite
from lineage.identity import config_hash as config_hash
from lineage.identity import identity as identity
from lineage.identity import plain as plain
from lineage.identity import strings
from lineage.identity import training_hash as training_hash
from lineage.models import shelf, shelves
from lineage.suites import make_suite

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
    found = shelf.named(config.model, {*strings(tree), *versions}, shelves.of(config))
    if not found:
        return config
    return replace(config, model=replace(config.model, versions={**config.model.versions, **found}))


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
        if any("${" in text for text in strings(found)):
            OmegaConf.resolve(tree)
            found = OmegaConf.to_container(tree)
        if MISSING in strings(found) and (missing := OmegaConf.missing_keys(tree)):
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


def to_yaml(config: Config) -> str:
    """Return the configuration as `config.yaml` holds it."""
    return plainyaml.dump(plain(config))
