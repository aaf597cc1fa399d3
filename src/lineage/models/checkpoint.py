"""From a `ModelVersion` to folders on disk: weights found, fetched or converted once into a cache.

The conversion runs as `python -m lineage.models.checkpoint GGUF FOLDER`, so that the process that
needs the folder never imports torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.files import sync_tree
from lineage.models.protocol import Located
from lineage.models.versions import ModelVersion

OWN_PACKAGE = "package:"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The layers that adapters of ours change."""


def locate(version: ModelVersion, cache: Path) -> Located:
    """Return where `version` is, after converting or fetching its checkpoint where need be.

    Raises LineageError, one line that names the remedy, where something is missing.
    """
    makers = {"folder": _folder, "hub": _hub, "package_gguf": _package_gguf}
    kind = version.checkpoint.kind
    if kind not in makers:
        raise LineageError(
            f"checkpoint kind {kind!r} of {version.name} is unknown: "
            f"choose from {', '.join(makers)}"
        )
    checkpoint = makers[kind](version.name, version.checkpoint, cache)
    return Located(checkpoint, _adapter(version))


def weights_in(checkpoint: CheckpointConfig, cache: Path) -> int | None:
    """Return how many weights `checkpoint` has; None where that cannot be told from files that are
    there. Nothing is fetched or converted.
    """
    folder = None
    if checkpoint.kind == "folder":
        folder = Path(checkpoint.path).expanduser()
    elif checkpoint.kind == "hub":
        folder = _cached(checkpoint, cache)
    elif source := _gguf(checkpoint):
        folder = _converted(source, cache)
    tensors = sorted(folder.glob("*.safetensors")) if folder is not None else []
    return sum(map(_weights_of, tensors)) or None


def _cached(checkpoint: CheckpointConfig, cache: Path) -> Path | None:
    """Return the newest snapshot of a hub's checkpoint in `cache`, None where it has none."""
    name = f"models--{checkpoint.path.replace('/', '--')}"
    found = sorted(
        (cache / "hub" / name / "snapshots").glob("*"), key=lambda one: one.stat().st_mtime
    )
    return found[-1] if found else None


def _weights_of(file: Path) -> int:
    """Return the number of weights by the head of a safetensors file: 8 bytes with the length of
    the JSON that follows, a shape a tensor.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        head = json.loads(opened.read(length))
    shapes = (one["shape"] for name, one in head.items() if name != "__metadata__")
    return sum(int(math.prod(shape)) for shape in shapes)


def changed_layers(adapters: Iterable[str]) -> list[str] | None:
    """Return `TARGETS` where the adapters in these folders change no other layers, else None."""
    for folder in adapters:
        named = json.loads((Path(folder) / ADAPTER_FILES[0]).read_bytes())["target_modules"]
        if isinstance(named, str) or not set(named) <= set(TARGETS):
            return None
    return list(TARGETS)


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


def _package_gguf(name: str, checkpoint: CheckpointConfig, cache: Path) -> Path:
    source = _gguf(checkpoint)
    if source is None:
        raise _missing(name, f"package {checkpoint.package}, {checkpoint.path}", checkpoint)
    folder = _converted(source, cache)
    if not folder.exists():
        _convert_once(name, source, folder)
    return folder


def _gguf(checkpoint: CheckpointConfig) -> Path | None:
    """Return the file in the installed package, None where there is none."""
    # Not imported: such a package may have dependencies that are not installed, or be whatever
    # somebody else's configuration names. To find one within another would import that.
    named = checkpoint.package.isidentifier()
    spec = importlib.util.find_spec(checkpoint.package) if named else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    source = Path(places[0]) / checkpoint.path if places else None
    return source if source is not None and source.exists() else None


def _converted(source: Path, cache: Path) -> Path:
    """Return the folder that `source` is converted to, whether it is there yet or not."""
    mark = hashlib.sha256(f"{source}:{source.stat().st_size}".encode()).hexdigest()[:8]
    return (cache / "checkpoints" / f"{source.stem}-{mark}").resolve()


def _convert_once(name: str, source: Path, folder: Path) -> None:
    """Convert `source` beside `folder`, then rename: a half-made folder is never met."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as temporary:
        made = Path(temporary) / "checkpoint"
        command = [sys.executable, "-m", "lineage.models.checkpoint", str(source), str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise LineageError(f"the checkpoint of {name} could not be converted: {last}")
        # Another process may have been first: its folder is as good.
        with suppress(OSError):
            made.rename(folder)


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
        else "train it with jobs/train_r1.py or correct `adapter` in conf/model"
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


def _convert(source: Path, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
    sync_tree(folder)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
