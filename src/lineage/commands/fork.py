"""The configuration of a fork: that of a run, with overrides, started from one of its snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from lineage import compose
from lineage.commands.flags import setting
from lineage.conftree import ON_DISK, SEARCHPATH
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.fields import checked
from lineage.core.files import behind
from lineage.core.plainyaml import literal
from lineage.inspect.snapshots import Snapshots
from lineage.log.sweep import is_sweep
from lineage.log.views.settings import leaves
from lineage.models.shelves import relocated
from lineage.runs.folder import at_home
from lineage.runs.stored import root_beside

WORLD = ("experiment.name", "experiment.seed", "suite.")
"""Keys that decide the worlds; `suite.` stands for all that begin with it."""


@dataclass(frozen=True)
class Fork:
    """A snapshot to start from: its id, the lineage that goes on, and after which generation.

    `notes` say in a line each what was chosen among several, or is unusual.
    """

    knowledge: str
    pair: int
    generation: int
    notes: tuple[str, ...] = ()


def find_fork(snapshots: Snapshots, at: str) -> Fork:
    """Return where a fork at the snapshot `at` starts: after the first generation that left it.

    A snapshot from within a generation counts as left by it, or, where that received it, by the
    one before. Raises LineageError where `at` names none.
    """
    id = snapshots.find(at)
    left = [place for place in snapshots.left_by(id) if "@" not in at or place.at == at]
    if left:
        first = left[0]
        others = f"{len(left)} generations left {id}: the fork is from {first.at}"
        return Fork(id, first.pair, first.generation, (others,) if len(left) > 1 else ())
    first = snapshots.held_by(id)[0]
    made = snapshots.made(id, first.lineage)
    last = first.generation - (made is None or made.phase != "handoff")
    note = f"no generation left {id}: the fork is from {first.lineage}, " + (
        f"as if its generation {last} had left that" if last >= 0 else "from its beginning"
    )
    return Fork(id, first.pair, last, (note,))


def configured(
    run: Path, fork: Fork, overrides: Sequence[str], url: str | None = None
) -> Config:
    """Return the configuration of `run` with `overrides` (Hydra's grammar) and `fork`'s start.

    Where the run has a `url`, and `run` is a copy of it, so has the fork.

    Options are those of `conf/` and of the folders that `overrides` set hydra.searchpath to.
    """
    run, within = behind(run), compose.folders(overrides)
    home = at_home(compose.load_file(run / "config.yaml"), run, url)
    saved = compose.plain(home)
    tree: Any = OmegaConf.create(literal(saved))
    # It lies beside the run that it is forked from: a name of its own would be that one's folder.
    beside = run.parent if is_sweep(run.parent) else run
    tree.run.name, tree.run.root = None, root_beside(home.run, url) if url else str(beside.parent)
    parsed = _parsed(overrides)
    with compose.one_line():
        for group, option in parsed:
            if _is_option(group, option, within):
                tree = OmegaConf.merge(tree, _option(group, option, within))
        for key, value in parsed:
            if not _is_option(key, value, within):
                OmegaConf.update(tree, key, value, force_add=True)
    start = {
        "folder": None,
        "run": url or str(run),
        "knowledge": fork.knowledge,
        "pair": fork.pair,
        "generation": fork.generation,
    }
    values = compose.resolved(tree) | {"start": start}
    target = str(values["suite"].get("_target_"))
    named = {str(value) for key, value in parsed if key == "suite._target_"}
    named |= {one for place in within[1:] for one in compose.own_suites(place)}
    remedy = f"to fork it all the same, add suite._target_={target}"
    compose.check_suite(checked(Config, values), run / "config.yaml", remedy, named)
    given = {key for key, _ in parsed}
    remedy = "to fork it all the same, set that key yourself"
    compose.check_extra(checked(Config, values), run / "config.yaml", remedy, given)
    compose.check_endpoints(checked(Config, values), run / "config.yaml", remedy, given)
    return compose.with_shelf(relocated(compose.typed(values)))


def changes(run: Path, config: Config) -> list[tuple[str, Any, Any]]:
    """Return key, value in `run` and value in `config` of every key that differs."""
    old = leaves(compose.plain(compose.load_file(run / "config.yaml")))
    new = leaves(compose.plain(config))
    return [
        (key, old.get(key), new.get(key))
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    ]


def other_world(changed: Sequence[tuple[str, Any, Any]]) -> list[str]:
    """Return the keys of `changed` that put the fork in a world its Knowledge is not about."""
    return [
        key
        for key, _, _ in changed
        if any(key.startswith(w) if w.endswith(".") else key == w for w in WORLD)
    ]


def _parsed(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    found = compose.parsed(overrides)
    for override in found:
        _check(override)
    return [
        (override.key_or_group, override.value())
        for override in found
        if override.key_or_group != SEARCHPATH
    ]


def _check(override: Override) -> None:
    if override.is_sweep_override():
        raise LineageError(f"{override.input_line!r} is a sweep: a fork has one value a key")
    if override.is_delete():
        raise LineageError(f"{override.input_line!r} deletes a key: a fork only sets keys")
    if override.key_or_group == "experiment":
        raise LineageError(
            "a fork keeps its experiment, whose name and seed make the world: set single keys "
            "such as schedule.versions"
        )


def _is_option(key: str, value: Any, within: Sequence[Path]) -> bool:
    return isinstance(value, str) and any((place / key).is_dir() for place in within)


def _option(group: str, option: str, within: Sequence[Path]) -> Any:
    """Return what an option of the folders `within` sets: its own file, and those it builds on but
    `SHARED`.
    """
    if option not in compose.groups().get(group, ()):
        # Composed only for its errors, which name the nearest option: all that is shipped composes.
        searched = setting(SEARCHPATH, [f"{ON_DISK}{place.absolute()}" for place in within[1:]])
        compose.load([*([searched] if within[1:] else []), f"{group}={option}"])
    files = (place / group / f"{option}.yaml" for place in within)
    text = next(file for file in files if file.exists()).read_text(encoding="utf-8")
    own: Any = OmegaConf.create(text)
    found: Any = OmegaConf.create({})
    for built_on in own.pop("defaults", []):
        if isinstance(built_on, str) and built_on not in ("_self_", compose.SHARED):
            found = OmegaConf.merge(found, _option(group, built_on, within))
    whole = "@package _global_" in text.partition("\n")[0]
    return OmegaConf.merge(found, own if whole else {group: own})
