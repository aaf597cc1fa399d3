"""GGUF files: found, joined where packages hold them in parts, and converted once into the cache.

The conversion runs as `python -m lineage.models.gguf FILE FOLDER`, so that the process that needs
the folder never imports torch.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.files import once, sha256
from lineage.core.installed import file_in

SUFFIX = ".gguf"
MAGIC = b"GGUF"
"""How such a file begins."""
GROWTH = 4
"""Bytes of 16-bit weights to a byte of the file, at most: 4-bit weights have scales beside them."""
BLOCK = 2**20
"""Bytes that are copied and hashed at once."""
MIB = 2**20


def base_name(path: str) -> str:
    """Return what the base at `path` is called in an adapter's record: of parts, the whole file."""
    stem, dot, _ = Path(path).name.partition(SUFFIX)
    return stem + dot


def files_of(checkpoint: CheckpointConfig) -> tuple[Path, ...]:
    """Return the files that hold the GGUF of `checkpoint`, in order, one or several parts.

    Raises FileNotFoundError that says which is missing.
    """
    if checkpoint.kind == "gguf":
        file = Path(checkpoint.path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"{file} is no file")
        return (file.resolve(),)
    packages = checkpoint.packages or [checkpoint.package]
    return tuple(_in_package(one, checkpoint.path) for one in packages)


def _in_package(package: str, path: str) -> Path:
    if (found := file_in(package, path)) is None:
        raise FileNotFoundError(f"package {package}, {path}")
    return found


def converted(checkpoint: CheckpointConfig, files: Sequence[Path], cache: Path) -> Path:
    """Return the folder that `files` are converted to, whether it is there yet or not."""
    told = checkpoint.sha256 or "".join(f"{file}:{file.stat().st_size}" for file in files)
    mark = hashlib.sha256(told.encode()).hexdigest()[:8]
    stem = files[0].name.partition(SUFFIX)[0]
    return (cache / "checkpoints" / f"{stem}-{mark}").resolve()


def convert_once(
    name: str, checkpoint: CheckpointConfig, files: Sequence[Path], folder: Path
) -> None:
    """Convert `files` beside `folder`, then rename: a half-made folder is never met.

    What is joined is removed with the rest. Raises LineageError, one line, where there is no room,
    the checksum is another, or transformers cannot read the file.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(name, files, folder.parent)
    with once(folder) as making:
        source = files[0]
        if len(files) > 1:
            source = making.with_name(f"{folder.name}{SUFFIX}")
            _join(files, source)
        if checkpoint.sha256 and (found := sha256(source)) != checkpoint.sha256:
            place = ", ".join(checkpoint.packages or [str(source)])
            remedy = f": install it again, {checkpoint.remedy}" if checkpoint.remedy else ""
            raise LineageError(
                f"the checkpoint of {name} is damaged or another one ({place}: SHA-256 {found}, "
                f"not {checkpoint.sha256}){remedy}"
            )
        command = [sys.executable, "-m", "lineage.models.gguf", str(source), str(making)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise LineageError(
                f"the checkpoint of {name} could not be converted ({last.rstrip('.')}): take "
                "another file, or a folder that transformers reads (kind: folder)"
            )


def _check_room(name: str, files: Sequence[Path], place: Path) -> None:
    """Raise LineageError where the disk may be too small for what is made of `files`."""
    size = sum(file.stat().st_size for file in files)
    needed = GROWTH * size + (size if len(files) > 1 else 0)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise LineageError(
            f"the checkpoint of {name} needs {needed // MIB} MiB in {place} while it is converted, "
            f"and {free // MIB} are free: make room, or name another folder with run.cache"
        )


def _join(files: Sequence[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, joined, BLOCK)


def convert(source: Path, folder: Path) -> None:
    """Write the checkpoint in `source` to `folder`, its weights in bfloat16, and its tokenizer.

    Raises ValueError or another error of transformers where it cannot read the file.
    """
    # To import torch takes many times as long as to see this.
    with source.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"it does not begin with {MAGIC.decode()}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(**place)
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:  # those that transformers adds do not come from the file
        raise ValueError(
            f"its tokenizer has {tokenizer.vocab_size} tokens and its weights are of {rows}"
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:  # whatever transformers raises: its first line is the reason
        sys.exit(first_line(error))
