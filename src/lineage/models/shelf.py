"""The shelf: a folder of trained versions, each whole or not there at all.

    <shelf>/<name>/version.yaml               the version, as conf/model would describe it
                   adapter_config.json
                   adapter_model.safetensors
                   README.md                  the card
                   training.json              the record of its training
                   ...                        the pictures that the card shows

Where the shelf is a URL a folder of the cache stands for it (`models.shelves`).

A version never changes. A configuration holds the ones that it names, with the digest of their
adapters, so that what is trained later changes no other configuration.
"""

from __future__ import annotations

import errno
import json
import math
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lineage.core import names as names_of_paths
from lineage.core.config_engine import CheckpointConfig, ModelConfig, VersionConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.fields import checked
from lineage.core.files import NONCE, sync_folder, sync_tree
from lineage.core.jsonfile import read_file
from lineage.core.plainyaml import dump, parse
from lineage.models.checkpoint import ADAPTER_FILES, digest
from lineage.models.gguf import base_name

VERSION_FILE = "version.yaml"
CARD_FILE = "README.md"
RECORD_FILE = "training.json"
LENGTH_BYTES = 8
"""Of a safetensors file, at its start: how long its header is."""
HERE = "."
"""The adapter's place in version.yaml: so a version can be moved and copied."""


class Shelf:
    """A shelf in a `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def names(self) -> tuple[str, ...]:
        """Return the names of its versions."""
        return names(self.folder)

    def refresh(self, name: str) -> None:
        """Have in the folder what the shelf has as `name`: that version, or nothing."""

    def offer(self, name: str) -> None:
        """Put the version `name`, which the folder has, on the shelf.

        Raises LineageError where that has another one by now.
        """


def names(shelf: Path) -> tuple[str, ...]:
    """Return the names of the versions on `shelf`; none where there is no such folder."""
    if not shelf.is_dir():
        return ()
    found = (entry.name for entry in shelf.iterdir() if entry.is_dir())
    return tuple(sorted(name for name in found if not name.startswith(".")))


def read_version(shelf: Path, name: str) -> VersionConfig:
    """Return the version `name` on `shelf`, its adapter as an absolute path.

    Raises LineageError where its folder is torn, or holds something else.
    """
    folder = (shelf / name).resolve()
    file = folder / VERSION_FILE
    try:
        version = checked(VersionConfig, parse(read_file(file)))
        if not version.digest:
            raise ValueError("no digest")
        adapter = (folder / version.adapter).resolve()
        if not version.adapter or not adapter.is_relative_to(folder):
            raise ValueError(f"adapter {version.adapter!r} is not below it")
        for needed in ADAPTER_FILES:
            if not (adapter / needed).is_file():
                raise ValueError(f"no {needed}")
    except (OSError, ValueError, LineageError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else first_line(error)
        raise LineageError(
            f"{shelf / name} is no trained version ({VERSION_FILE}: {reason}): move it away"
        ) from error
    return replace(version, adapter=str(adapter))


def named(
    config: ModelConfig, wanted: Collection[str], shelf: Shelf | None = None
) -> dict[str, VersionConfig]:
    """Return the versions on the shelf of `config` that are among `wanted`, and their ancestors.

    `shelf` is that shelf, where it may be no folder. Left out is what `config` holds already, as
    the saved configuration of a run does. Raises LineageError where a name is one of conf too, or
    as `read_version` does.
    """
    shelf = shelf or Shelf(folder_of(config))
    on_shelf = set(shelf.names())
    found: dict[str, VersionConfig] = {}
    left = sorted(on_shelf & set(wanted), reverse=True)
    while left:
        name = left.pop()
        if name in found:
            continue
        if name in config.versions:
            if not config.versions[name].digest:
                raise LineageError(
                    f"model version {name!r} is of conf and on the shelf {shelf}: "
                    "rename the folder on the shelf"
                )
            continue
        shelf.refresh(name)
        found[name] = read_version(shelf.folder, name)
        parent = found[name].parent
        # One of conf with the name of a folder on the shelf is an error only where it is named.
        if parent in on_shelf and parent not in config.versions:
            left.append(parent)
    return found


def folder_of(config: ModelConfig) -> Path:
    """Return the folder of a shelf that is no URL."""
    return Path(config.shelf).expanduser()


def check_name(config: ModelConfig, name: str) -> None:
    """Raise LineageError where no new version may be called `name`: before it is trained."""
    names_of_paths.check_name("train.name", name)
    if name in config.versions and not config.versions[name].digest:
        raise LineageError(f"model version {name!r} is of conf: choose another train.name")


def register(
    shelf: Path,
    name: str,
    version: VersionConfig,
    adapter: Path,
    card: str,
    record: Mapping[str, Any],
    pictures: Mapping[str, bytes] | None = None,
) -> Path:
    """Put the version `name` on `shelf` and return its folder, which appears whole or not at all.

    `version` says what it is; its adapter and digest are those of the folder `adapter`, whose
    weights are stored as bfloat16. `pictures` are what the card shows, by file name. Nothing
    happens where the same version is there already. Raises LineageError where another one is,
    where the name is not safe, or where `adapter` cannot be read.
    """
    check_name(ModelConfig(shelf=str(shelf)), name)
    shelf.mkdir(parents=True, exist_ok=True)
    with _unfinished(shelf, name) as folder:
        files = {
            "adapter_config.json": _portable(adapter / "adapter_config.json", version.checkpoint),
            "adapter_model.safetensors": _halved(adapter / "adapter_model.safetensors"),
            CARD_FILE: card.encode(),
            RECORD_FILE: (json.dumps(record, indent=1) + "\n").encode(),
            **(pictures or {}),
        }
        for file, data in files.items():
            (folder / file).write_bytes(data)
        made = replace(version, adapter=HERE, digest=digest(folder))
        (folder / VERSION_FILE).write_bytes(dump(asdict(made)).encode())
        sync_tree(folder)
        target = shelf / name
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            _require_same(shelf, name, made)
        sync_folder(shelf)
    return target


def parameters(adapter: Path) -> int:
    """Return how many numbers the weights in the folder `adapter` are, without loading them.

    Raises LineageError where they cannot be read.
    """
    file = adapter / "adapter_model.safetensors"
    try:
        data = file.read_bytes()
        end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
        header = json.loads(data[LENGTH_BYTES:end])
        return sum(math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_weights(file) from error


@contextmanager
def _unfinished(shelf: Path, name: str) -> Iterator[Path]:
    """Give a folder beside the versions that is gone afterwards, unless it was renamed."""
    folder = shelf / f".{name}.{secrets.token_hex(NONCE)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_same(shelf: Path, name: str, made: VersionConfig) -> None:
    there = replace(read_version(shelf, name), adapter=HERE, released=made.released)
    # A training that is resumed registers again: later, with other minutes, but the same version.
    if there != made:
        raise LineageError(
            f"{shelf} holds another version {name!r}: choose another train.name, or move that away"
        )


def _portable(file: Path, checkpoint: CheckpointConfig) -> bytes:
    """Return PEFT's configuration without what differs between machines and processes."""
    try:
        config = json.loads(file.read_bytes())
        modules = config["target_modules"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LineageError(f"{file} is no adapter's configuration: train it again") from error
    if isinstance(modules, list):  # PEFT keeps a set
        config["target_modules"] = sorted(modules)
    hub = checkpoint.kind == "hub"
    config["base_model_name_or_path"] = checkpoint.path if hub else base_name(checkpoint.path)
    return (json.dumps(config, indent=1, sort_keys=True) + "\n").encode()


def _halved(file: Path) -> bytes:
    """Return the weights in `file`, what is float32 as bfloat16."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load, save

    try:
        data = file.read_bytes()
        weights = load(data)
    except (OSError, SafetensorError) as error:
        raise _no_weights(file) from error
    if all(weight.dtype != torch.float32 for weight in weights.values()):
        return data
    half = {
        key: weight.to(torch.bfloat16) if weight.dtype == torch.float32 else weight
        for key, weight in weights.items()
    }
    return bytes(save(half, metadata={"format": "pt"}))


def _no_weights(file: Path) -> LineageError:
    return LineageError(f"{file} holds no adapter's weights: train it again")
