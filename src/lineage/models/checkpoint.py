"""From a `ModelVersion` to folders on disk: weights found, fetched, or converted once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.core.config import RunConfig
from lineage.core.config_engine import OPENAI, CheckpointConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.files import sha256
from lineage.core.urls import is_url
from lineage.models import gguf, layers
from lineage.models.chat_template import has_template, with_template
from lineage.models.protocol import Located
from lineage.models.versions import ModelVersion

if TYPE_CHECKING:
    from lineage.log.store import Store

OWN_PACKAGE = "package:"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def shared_cache(run: RunConfig) -> Store | None:
    """Return the store that `run.cache` is, None where it is a folder."""
    if not is_url(run.cache):
        return None
    # Arrow takes a moment to load, which folders need not wait for.
    from lineage.log.store import Store

    return Store(run.cache, run.storage)


def locate(version: ModelVersion, cache: Path, shared: Store | None = None) -> Located:
    """Return where `version` is, after converting or fetching its checkpoint where need be.

    `cache` is a folder; what is converted comes from the `shared` one, or is put there. Raises
    LineageError, one line that names the remedy, where something is missing.
    """

    def made(name: str, checkpoint: CheckpointConfig, cache: Path) -> Path:
        return _gguf(name, checkpoint, cache, shared)

    makers = {"folder": _folder, "hub": _hub, "gguf": made, "package_gguf": made}
    kind = version.checkpoint.kind
    if kind not in makers:
        raise LineageError(
            f"checkpoint kind {kind!r} of {version.name} is unknown: "
            f"choose from {', '.join(makers)}"
        )
    checkpoint = makers[kind](version.name, version.checkpoint, cache)
    adapter = _adapter(version)
    if adapter is not None:
        _check_base(version.name, adapter, checkpoint)
    return Located(_templated(version, checkpoint, cache), adapter)


def weights_in(checkpoint: CheckpointConfig, cache: Path) -> int | None:
    """Return how many weights `checkpoint` has; None where that cannot be told from files that are
    there. Nothing is fetched or converted.
    """
    folder = None
    if checkpoint.kind == OPENAI:
        return None
    if checkpoint.kind == "folder":
        folder = Path(checkpoint.path).expanduser()
    elif checkpoint.kind == "hub":
        folder = _cached(checkpoint, cache)
    else:
        with suppress(FileNotFoundError):
            folder = gguf.converted(checkpoint, gguf.files_of(checkpoint), cache)
    return (layers.weights(layers.shapes_of(folder)) or None) if folder is not None else None


def _cached(checkpoint: CheckpointConfig, cache: Path) -> Path | None:
    """Return the newest snapshot of a hub's checkpoint in `cache`, None where it has none."""
    name = f"models--{checkpoint.path.replace('/', '--')}"
    found = sorted(
        (cache / "hub" / name / "snapshots").glob("*"), key=lambda one: one.stat().st_mtime
    )
    return found[-1] if found else None


def _missing(name: str, what: str, checkpoint: CheckpointConfig) -> LineageError:
    remedy = f": {checkpoint.remedy}" if checkpoint.remedy else ""
    return LineageError(f"the checkpoint of {name} is missing ({what}){remedy}")


def _folder(name: str, checkpoint: CheckpointConfig, cache: Path) -> Path:
    folder = Path(checkpoint.path).expanduser()
    if not (folder / "config.json").exists():
        raise _missing(name, f"{folder} has no config.json", checkpoint)
    return folder.resolve()


def _hub(name: str, checkpoint: CheckpointConfig, cache: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(checkpoint.path, cache_dir=cache / "hub"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _missing(name, f"{checkpoint.path}: {first_line(error)}", checkpoint) from error


def _gguf(name: str, checkpoint: CheckpointConfig, cache: Path, shared: Store | None) -> Path:
    sources: tuple[Path, ...] = (Path(checkpoint.path),)
    missing = ""
    try:
        sources = gguf.files_of(checkpoint)
    except FileNotFoundError as error:
        missing = str(error)
    # By its checksum alone what was made of a file is known without the file.
    if missing and not checkpoint.sha256:
        raise _missing(name, missing, checkpoint)
    folder = gguf.converted(checkpoint, sources, cache)

    def make() -> None:
        if missing:
            raise _missing(name, missing, checkpoint)
        gguf.convert_once(name, checkpoint, sources, folder)

    if shared is not None:
        # The folder's name is of this machine.
        _share(shared, f"checkpoints/{checkpoint.sha256 or sha256(*sources)}", folder, make)
    elif not folder.exists():
        make()
    return folder


def _share(shared: Store, name: str, folder: Path, make: Callable[[], None]) -> None:
    """Have `folder`, from `shared` where it has it, else by `make`; then `shared` has it too."""
    from lineage.log.blobs import MANIFEST, bring, put

    manifest = f"{name}{MANIFEST}"
    if not folder.exists() and bring(shared, manifest, folder):
        return
    if not folder.exists():
        make()
    if not shared.has(manifest):
        put(shared, manifest, folder)


def _templated(version: ModelVersion, folder: Path, cache: Path) -> Path:
    """Return `folder`, or one beside it with the template that conf gives its checkpoint."""
    template = version.checkpoint.chat_template
    if template:
        return with_template(folder, template, cache)
    if has_template(folder) is False:
        raise LineageError(
            f"the checkpoint of {version.name} has no chat template: give one as chat_template of "
            f"model.versions.{version.name}.checkpoint, as conf/model/gemma3-270m.yaml does"
        )
    return folder


def _check_base(name: str, adapter: Path, checkpoint: Path) -> None:
    """Raise LineageError where the adapter is plainly of another base than the checkpoint."""
    # What cannot be read is said by whoever loads it.
    with suppress(OSError, ValueError):
        layers.check_adapter(name, layers.shapes_of(adapter), layers.shapes_of(checkpoint))


def _adapter(version: ModelVersion) -> Path | None:
    if not version.adapter:
        return None
    if version.adapter.startswith(OWN_PACKAGE):
        folder = Path(str(files("lineage"))) / version.adapter.removeprefix(OWN_PACKAGE)
    else:
        folder = Path(version.adapter).expanduser().resolve()
    remedy = (
        "train it again with lineage train, or correct model.shelf"
        if version.digest
        else "train it with jobs/train_adapter.py or correct `adapter` in conf/model"
    )
    for needed in ADAPTER_FILES:
        if not (folder / needed).exists():
            raise LineageError(
                f"the adapter of {version.name} is missing ({folder / needed}): {remedy}"
            )
    if version.digest and digest(folder) != version.digest:
        raise LineageError(
            f"the adapter of {version.name} in {folder} is not the one that the configuration "
            "names: put that one back, or begin a new run"
        )
    return folder


def digest(folder: Path) -> str:
    """Return the SHA-256 of the adapter in `folder`, over its files together."""
    content = b"".join((folder / name).read_bytes() for name in ADAPTER_FILES)
    return hashlib.sha256(content).hexdigest()
