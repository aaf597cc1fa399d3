"""The files of `conf/`, and of folders of one's own beside it, as Hydra composes them.

What is wrong becomes one line that says what to do. The typed configuration that comes of them is
`lineage.compose`.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lineage.core import plainyaml
from lineage.core.config import Config, RunConfig
from lineage.core.environ import variable
from lineage.core.errors import LineageError, nearest
from lineage.core.fields import checked, keys

SHARED = "base"
"""The option that holds what all options of its group share: none that is chosen by itself."""
PRIMARY = "config"
"""The file that all else is composed from; another is named with --config-name."""
SEARCHPATH = "hydra.searchpath"
"""The key of the folders that are searched after the shipped tree."""
ON_DISK = "file://"
SEARCHED = "LINEAGE_SEARCHPATH"
"""The variable that tells our plugins of Hydra the same (`hydra_plugins.lineage_fleet`)."""
PLUGINS = {
    "hydra/launcher": "pip install hydra-{}-launcher",
    "hydra/sweeper": "pip install hydra-{}-sweeper",
    "hydra/sweeper/optuna": "pip install 'lineage[sweep]'",
}
"""Where options come from that Hydra itself does not have."""
OWN_GROUPS = tuple(
    f"~hydra/{group}" for one in HydraConf().defaults for group in one if one[group] is not None
)
"""The overrides that leave out the groups of Hydra's own node."""
UNLEXED = "LexerNoViableAltException: "
"""How Hydra's line begins where a sign is none of its grammar; below that sign is a caret."""

MOST_PARSED = 1024
"""Overrides that are kept parsed."""
Stamp = tuple[str, int, int]
"""A file, when it was changed (nanoseconds), and its size."""


def conf_dir() -> Path:
    """Return the folder of the shipped tree: inside an installed package, or beside `src/`."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def folders(overrides: Sequence[str] = ()) -> tuple[Path, ...]:
    """Return the folders that options are looked for in: the shipped tree, then one's own.

    Those are what `overrides` set hydra.searchpath to. Raises LineageError where one is not there.
    """
    found = [conf_dir()]
    for one in parsed([text for text in overrides if SEARCHPATH in text]):
        named = one.value() if one.key_or_group == SEARCHPATH else ()
        # What is no list of texts is said by Hydra.
        for text in named if isinstance(named, list) else ():
            if "://" in str(text).removeprefix(ON_DISK):
                continue  # a package's: Hydra finds it, and it has no folder to be listed
            place = Path(str(text).removeprefix(ON_DISK))
            if not place.is_dir():
                raise LineageError(f"{SEARCHPATH} names {place}, which is no folder")
            found.append(place)
    return tuple(found)


def groups(within: Sequence[Path] = ()) -> dict[str, tuple[str, ...]]:
    """Return the groups of the shipped tree, each with its options, the default first.

    `within` are the folders whose options count (default: the shipped tree alone).
    """
    chosen = _primary()["defaults"]
    found = {}
    for group, default in (item for one in chosen if isinstance(one, dict) for item in one.items()):
        if " " not in group:  # "override hydra/launcher" is Hydra's own affair
            options = {*options_of(group, within)} - {SHARED, default}
            found[group] = (default, *sorted(options))
    return found


def shipped_run() -> RunConfig:
    """Return the node `run` of the shipped tree, as `lineage.compose.load([])` has it.

    The file that all is composed from holds all of it: who only looks for a run need not compose.
    """
    return checked(RunConfig, _primary()["run"], "run")


def shipped_shelf() -> str:
    """Return `model.shelf` of the shipped tree, as `lineage.compose.load([])` has it."""
    chosen = groups()["model"][0]
    # Shipped: it may have anchors.
    option: Any = plainyaml.trusted((conf_dir() / "model" / f"{chosen}.yaml").read_bytes())
    return str(option["shelf"])


def _primary() -> Any:
    """Return what the file holds that the shipped tree is composed from."""
    return plainyaml.parse((conf_dir() / f"{PRIMARY}.yaml").read_bytes())


def options_of(group: str, within: Sequence[Path] = ()) -> list[str]:
    """Return the names of the options of `group`, sorted, `SHARED` among them."""
    places = within or (conf_dir(),)
    return sorted({file.stem for place in places for file in (place / group).glob("*.yaml")})


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return `overrides` as Hydra reads them. Raises LineageError where it cannot."""
    with one_line():
        return [_parsed(text) for text in overrides]


@lru_cache(maxsize=MOST_PARSED)
def _parsed(text: str) -> Override:
    """Return the override `text`, which a command asks about a dozen times."""
    found: list[Override] = OverridesParser.create().parse_overrides([text])
    return found[0]


@contextmanager
def one_line() -> Iterator[None]:
    """Raise LineageError with the first line of what Hydra or OmegaConf say."""
    try:
        yield
    except OverrideParseException as error:
        raise LineageError(f"conf: {_unread(error)}") from error
    # ValueError: a whole number of more digits than Python reads.
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise LineageError(f"conf: {str(error).splitlines()[0]}") from error


def _unread(error: OverrideParseException) -> str:
    """Return what is wrong with an override that is none, and how it would be one."""
    text = str(error.override)
    said, *below = str(error).splitlines()
    key, equals, value = text.partition("=")
    quote = "'" if "'" not in value else '"'
    around = '"' if quote == "'" else "'"
    remedy = f"quote the value, {around}{key}={quote}{value}{quote}{around}"
    if not equals:
        return f"{text!r} is no override: write KEY=VALUE"
    if said.startswith(UNLEXED) and below:
        place = len(below[0]) - 1 - len(UNLEXED)
        sign = text[place : place + 1]
        if place < len(key):
            return f"{text!r} has {sign!r} in its key: keys are words, with dots between them"
        return f"{text!r} has {sign!r}, which means nothing unquoted: {remedy}"
    reason = (below[0] if said.startswith("Error parsing") and below else said).partition(
        " expecting {"
    )[0]
    return f"{text!r} cannot be read ({reason}): close its brackets, or {remedy}"


def composed(overrides: Sequence[str], name: str = PRIMARY) -> DictConfig:
    """Return what Hydra makes of `overrides` from the file `name`; raises LineageError.

    It takes a seventh of a second, nearly all of it for the groups. So what it made of a choice of
    options is kept, and values are set on a copy of that, as Hydra sets them. Whatever else is
    asked for, and what is wrong, is left to Hydra.
    """
    own = folders(overrides)[1:]
    if (parts := _parted(overrides, own)) is not None:
        # Files of one's own are worked on while a notebook is open; the shipped ones are not.
        files = (file for place in own for file in sorted(place.rglob("*.yaml")))
        found = ((str(file), file.stat()) for file in files)
        stamps = tuple((file, one.st_mtime_ns, one.st_size) for file, one in found)
        tree: DictConfig = pickle.loads(_of_choice(parts[0], name, stamps))
        with suppress(OmegaConfBaseException, ValueError, TypeError):
            for one in parts[1]:
                _set(tree, one)
            return tree
    return composed_by_hydra(overrides, name)


def _set(tree: DictConfig, one: Override) -> None:
    """Set in `tree` what `one` says; raises ValueError where only Hydra knows what is wrong."""
    key, value = one.key_or_group, one.value()
    new = one.is_add() and not isinstance(value, dict | list)
    if new and OmegaConf.select(tree, key, throw_on_missing=False) is not None:
        raise ValueError(f"{key} is there already")
    OmegaConf.update(tree, key, value, merge=True, force_add=one.is_add() or one.is_force_add())


def _parted(
    overrides: Sequence[str], own: Sequence[Path]
) -> tuple[tuple[str, ...], list[Override]] | None:
    """Return the overrides that choose an option, and those that set a value; None for others.

    What is Hydra's own sets nothing here, but for where options are looked for.
    """
    places = [path for place in (conf_dir(), *own) for path in place.iterdir()]
    known = {path.name for path in places if path.is_dir()}
    options, values = [], []
    try:
        for one in parsed(overrides):
            key, change = one.key_or_group, one.type is OverrideType.CHANGE
            if one.is_delete() or one.is_sweep_override() or one.package is not None:
                return None
            if one.is_hydra_override():
                if not change:
                    return None
                if key == SEARCHPATH:
                    options.append(str(one.input_line))
            elif key not in known and (change or "/" not in key):
                values.append(one)
            elif change and isinstance(one.value(), str):
                options.append(str(one.input_line))
            else:
                return None
    except LineageError:
        return None
    return tuple(options), values


@cache
def _of_choice(options: tuple[str, ...], name: str, stamps: tuple[Stamp, ...]) -> bytes:
    """Return what Hydra makes of `options`, pickled: read again it is a copy, made in a tenth of
    the time that a deep copy takes.
    """
    # A third of the time goes into Hydra's own node, which is not asked for.
    without = () if _of_own_node(options, stamps) else OWN_GROUPS
    return pickle.dumps(composed_by_hydra((*options, *without), name))


def _of_own_node(options: Sequence[str], stamps: Sequence[Stamp]) -> bool:
    """Whether files of one's own, or a package's, may say something of Hydra's own node: it may be
    wrong.
    """
    places = [text.replace(ON_DISK, "") for text in options if SEARCHPATH in text]
    files = (Path(file) for file, *_ in stamps)
    return any("://" in place for place in places) or any(b"hydra" in f.read_bytes() for f in files)


def composed_by_hydra(
    overrides: Sequence[str], name: str = PRIMARY, hydra: bool = False
) -> DictConfig:
    """Return what Hydra makes of `overrides` from the files; raises LineageError as `load` does.

    With `hydra`, its own node is among them.
    """
    # Hydra looks for the first file before it knows of hydra.searchpath.
    with searched(folders(overrides)[1:] if name != PRIMARY else ()), hydra_tree():
        try:
            return cast(
                DictConfig, compose(name, overrides=list(overrides), return_hydra_config=hydra)
            )
        # Hydra raises ValueError for a group that is set to a number or null, and TypeError for
        # one that is set to a list of them.
        except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
            line = _no_option(overrides) or explain(error)
            raise LineageError(line) from error


@contextmanager
def searched(own: Sequence[Path]) -> Iterator[None]:
    """Let Hydra look for the file that all is composed from in the folders `own`, too."""
    with variable(SEARCHED, os.pathsep.join(str(place.absolute()) for place in own)):
        yield


@contextmanager
def hydra_tree() -> Iterator[None]:
    """Let Hydra compose the shipped tree, as long as this lasts."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(
            config_dir=str(conf_dir()), job_name="lineage", version_base="1.3"
        ):
            yield
    finally:
        GlobalHydra.instance().clear()


def _no_option(overrides: Sequence[str]) -> str:
    """Return one line for a group that is set to what is no name of an option; "" for none."""
    within = folders(overrides)
    for override in parsed(overrides):
        group, value = override.key_or_group, override.value()
        options = options_of(group, within)
        named = isinstance(value, str) or (override.is_delete() and value is None)
        if options and not named:
            return (
                f"conf group {group!r} takes the name of an option, not {value}: "
                f"choose from {', '.join(options)}"
            )
    return ""


def explain(error: Exception, tree: Any = None) -> str:
    """Return one line for what Hydra or OmegaConf say in many, of `tree` (default: the shipped)."""
    if isinstance(error, OverrideParseException):
        return f"conf: {_unread(error)}"
    # Hydra says nothing itself where OmegaConf has said it.
    text = str(error) or str(error.__cause__ or "")
    if found := re.search(r"Cannot find primary config '([^']+)'", text):
        return f"--config-name: there is no file {found.group(1)}.yaml in conf/ or --config-dir"
    if found := re.search(r"Could not find '([^']+)'", text):
        group, _, option = found.group(1).rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        plugin = PLUGINS.get(f"{group}/{option}", PLUGINS.get(group, ""))
        install = f" (if it is a plugin: {plugin.format(option)})" if plugin else ""
        return f"conf group {group!r} has no option {option!r}{install}{nearest(option, options)}"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found.group(1)
        values = composed(()) if tree is None else tree
        known = keys(Config, OmegaConf.to_container(values)) - {key}
        return f"unknown conf key {key!r}{nearest(key, sorted(known))}"
    where = re.search(r"full_key: (\S+)", text)
    first = (text.strip().splitlines() or [type(error).__name__])[0]
    return f"conf key {where.group(1)!r}: {first}" if where else f"conf: {first}"
