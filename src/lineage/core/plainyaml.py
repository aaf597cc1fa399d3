"""YAML as a folder of somebody else may hold it: plain values, nothing resolved, nothing expanded.

Pure. What this version writes is read back without loss, also by OmegaConf.
"""

from __future__ import annotations

import pickle
import re
from functools import lru_cache
from typing import Any

import yaml

from lineage.core.errors import first_line

try:
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # a PyYAML built without libyaml
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

DEPTH = 32
"""What nests deeper is refused."""
FLOAT = "tag:yaml.org,2002:float"
EXPONENT = re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")
"""Numbers of YAML 1.2, as Hydra reads them too, that YAML 1.1 takes for text: 1e-5."""
STAMP = "tag:yaml.org,2002:timestamp"
INTERPOLATION = re.compile(r"(\\*)\$\{")
MOST_KEPT, LONGEST_KEPT = 256, 65_536
"""Texts that are kept parsed, and the characters of the longest."""


class _Loader(SafeLoader):
    """Takes a date for text, as Hydra does, and refuses a key that stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} stands twice")
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Dumper(SafeDumper):
    """Writes every value out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {
    first: [(tag, test) for tag, test in tests if tag != STAMP]
    for first, tests in SafeLoader.yaml_implicit_resolvers.items()
}
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(FLOAT, EXPONENT, list("-+0123456789"))


def parse(text: str | bytes) -> Any:
    """Return what `text` holds.

    Raises ValueError, in one line, where it is no YAML, has anchors or aliases (a few hundred bytes
    of them can stand for gigabytes), or nests too deep.
    """
    return pickle.loads(_kept(text)) if len(text) <= LONGEST_KEPT else _parsed(text)


@lru_cache(maxsize=MOST_KEPT)
def _kept(text: str | bytes) -> bytes:
    """Return what `text` holds, pickled: a command asks several times for the settings of a run,
    and a copy is made in a hundredth of the time.
    """
    return pickle.dumps(_parsed(text))


def _parsed(text: str | bytes) -> Any:
    try:
        _check(text)
        return trusted(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except yaml.YAMLError as error:
        raise ValueError(first_line(error)) from error


def trusted(text: str | bytes) -> Any:
    """Return what `text` of our own holds, which may have anchors; raises what PyYAML raises."""
    return yaml.load(text, Loader=_Loader)


def dump(tree: Any) -> str:
    """Return `tree` as YAML that `parse` reads back."""
    text: str = yaml.dump(
        tree, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return text


def literal(tree: Any) -> Any:
    """Return `tree` with its texts escaped: OmegaConf resolves no `${...}` in them."""
    if isinstance(tree, str):
        return INTERPOLATION.sub(lambda found: f"{found[1]}{found[1]}\\${{", tree)
    if isinstance(tree, dict):
        return {name: literal(value) for name, value in tree.items()}
    return [literal(value) for value in tree] if isinstance(tree, list) else tree


def _check(text: str | bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) is not None:
            raise ValueError(f"line {line} has an anchor or alias (& or *): write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(f"line {line} nests more than {DEPTH} deep: make it flatter")
