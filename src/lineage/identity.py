"""What of a configuration decides a run's log, or what a training makes; and its hashes. Pure.

A key that came later counts in no hash while it says what was so before there was such a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from lineage.core.config import IDENTITY, TRAINING, Config
from lineage.core.config_agent import LATER_OF_AGENT
from lineage.core.config_engine import ASKED, LATER_KEYS, LATER_SKILLS
from lineage.core.config_training import LATER_COURSES
from lineage.core.fields import AUTO
from lineage.models.profile import MODEL_OWN

GATE = "gate"
"""The way of opening docs that alone knows a threshold."""


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
    return {name for name in strings(tree["suite"]) if name in tree["model"]["versions"]}


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


def strings(tree: Any) -> Iterator[str]:
    """Yield every string value in `tree`."""
    if isinstance(tree, str):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from strings(child)
