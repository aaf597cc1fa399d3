"""Composing `conf/` with Hydra and checking it: bad input becomes one line that says what to do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lineage.core import plainyaml
from lineage.core.config import IDENTITY, TRAINING, Config
from lineage.core.errors import LineageError, nearest
from lineage.core.fields import checked, keys
from lineage.core.jsonfile import read_file
from lineage.core.names import SAFE
from lineage.core.tasks import Suite
from lineage.models import shelf
from lineage.suites import make_suite

SHARED = "base"
"""The option that holds what all options of its group share: none that is chosen by itself."""


def conf_dir() -> Path:
    """Return the folder of the shipped tree: inside an installed package, or beside `src/`."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def groups() -> dict[str, tuple[str, ...]]:
    """Return the groups of the shipped tree, each with its options, the default first."""
    root = conf_dir()
    chosen = plainyaml.parse((root / "config.yaml").read_bytes())["defaults"]
    found = {}
    for group, default in (item for one in chosen if isinstance(one, dict) for item in one.items()):
        options = {file.stem for file in (root / group).glob("*.yaml")} - {SHARED, default}
        found[group] = (default, *sorted(options))
    return found


def load(overrides: Sequence[str], *versions: str) -> Config:
    """Return the configuration that `overrides` (Hydra's grammar) make of the shipped tree.

    `versions` are names of model versions that it needs beside those that its tree names. Raises
    LineageError: an unknown key or group option names the nearest valid one.
    """
    return with_shelf(typed(resolved(composed(overrides))), *versions)


def composed(overrides: Sequence[str]) -> DictConfig:
    """Return what Hydra makes of `overrides`; raises LineageError as `load` does.

    It takes a third of a second, nearly all of it for the groups. So what it made of a choice of
    options is kept, and values are set on a copy of that, as Hydra sets them. Whatever else is
    asked for, and what is wrong, is left to Hydra.
    """
    if (parts := _parted(overrides)) is not None:
        tree = deepcopy(_of_choice(parts[0]))
        with suppress(OmegaConfBaseException, ValueError, TypeError):
            for one in parts[1]:
                OmegaConf.update(tree, one.key_or_group, one.value(), merge=True)
            return tree
    return composed_by_hydra(overrides)


def _parted(overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]] | None:
    """Return the overrides that choose an option, and those that set a value; None for others."""
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    options, values = [], []
    try:
        for one in parsed(overrides):
            settled = one.type is OverrideType.CHANGE and not one.is_sweep_override()
            if not settled or one.package is not None or one.is_hydra_override():
                return None
            if one.key_or_group not in folders:
                values.append(one)
            elif isinstance(one.value(), str):
                options.append(str(one.input_line))
            else:
                return None
    except LineageError:
        return None
    return tuple(options), values


def composed_by_hydra(overrides: Sequence[str]) -> DictConfig:
    """Return what Hydra makes of `overrides` from the files; raises LineageError as `load` does."""
    with hydra_tree():
        try:
            return cast(DictConfig, compose("config", overrides=list(overrides)))
        # Hydra raises ValueError for a group that is set to a number or null, and TypeError for
        # one that is set to a list of them.
        except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
            line = _no_option(overrides) or _explain(error, compose("config"))
            raise LineageError(line) from error


@contextmanager
def hydra_tree() -> Iterator[None]:
    """Let Hydra compose the shipped tree, as long as this lasts."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()


@cache
def _of_choice(options: tuple[str, ...]) -> DictConfig:
    return composed_by_hydra(options)


def with_shelf(config: Config, *versions: str) -> Config:
    """Return `config` with those versions of the shelf that its tree or `versions` name.

    Their ancestors come with them. The others stay out: what is trained changes no configuration
    that does not name it. Raises LineageError as `shelf.named` does.
    """
    tree = plain(config)
    del tree["model"]
    del tree["train"]["name"]  # of the version to be made, not of one that is needed
    found = shelf.named(config.model, {*_strings(tree), *versions})
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


def check_suite(
    config: Config, path: Path, remedy: str, deliberate: Collection[str] = ()
) -> None:
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


@cache
def own_suites() -> frozenset[str]:
    """Return the `_target_`s of the entries of `conf/suite`."""
    files = sorted((conf_dir() / "suite").glob("*.yaml"))
    trees = (plainyaml.parse(file.read_bytes()) for file in files)
    entries = (tree.get("suite", tree) for tree in trees)
    return frozenset(str(entry["_target_"]) for entry in entries if "_target_" in entry)


def _target(config: Config) -> str:
    return str(config.suite.get("_target_", ""))


def resolved(tree: DictConfig) -> dict[str, Any]:
    """Return what Hydra composed as plain dicts, lists and scalars; raises LineageError."""
    try:
        OmegaConf.resolve(tree)
        missing = OmegaConf.missing_keys(tree)
        if missing:
            raise LineageError(f"conf key {min(missing)!r} has no value: set it")
        return cast(dict[str, Any], OmegaConf.to_container(tree))
    except OmegaConfBaseException as error:
        raise LineageError(_explain(error, tree)) from error


def typed(tree: Any) -> Config:
    """Return the configuration that plain values describe, checked; raises LineageError."""
    config = checked(Config, tree)
    make_suite(config.suite)
    return config


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
    # ValueError: a whole number of more digits than Python reads.
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise LineageError(f"conf: {str(error).splitlines()[0]}") from error


def identity(config: Config) -> dict[str, Any]:
    """Return what decides the content of a run's log: not where, nor how parallel, it runs."""
    tree = plain(config)
    engine = tree["engine"]
    wanted = {node: tree[node] for node in IDENTITY}
    kind = engine["kind"]
    # Of vLLM's keys only the precision decides what is answered.
    behaviour = engine["vllm"]["dtype"] if kind == "vllm" else engine.get(kind, engine["options"])
    wanted["engine"] = {"kind": kind, kind: behaviour}
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
    return _hash(wanted)


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


def _no_option(overrides: Sequence[str]) -> str:
    """Return one line for a group that is set to what is no name of an option; "" for none."""
    for override in parsed(overrides):
        group, value = override.key_or_group, override.value()
        options = sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))
        named = isinstance(value, str) or (override.is_delete() and value is None)
        if options and not named:
            return (
                f"conf group {group!r} takes the name of an option, not {value}: "
                f"choose from {', '.join(options)}"
            )
    return ""


def _explain(error: Exception, tree: Any) -> str:
    """Return one line for what Hydra or OmegaConf say in many."""
    text = str(error)
    if found := re.search(r"Could not find '([^']+)'", text):
        group, _, option = found.group(1).rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return f"conf group {group!r} has no option {option!r}{nearest(option, options)}"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found.group(1)
        known = keys(Config, OmegaConf.to_container(tree)) - {key}
        return f"unknown conf key {key!r}{nearest(key, sorted(known))}"
    where = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0]
    return f"conf key {where.group(1)!r}: {first}" if where else f"conf: {first}"
