"""Run folders that somebody damaged: each kind of file in them, each kind of damage."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

DEEP = 100_000
"""So deep a file nests: no parser that calls itself can follow."""
FILES = (
    *("run.json", "config.yaml", "metrics.json", ".lock", "done/000-inherit-g00.json"),
    "steps/arm=inherit/generation=0/000-inherit.parquet",
    "knowledge/arm=inherit/generation=0/000-inherit.parquet",
    "worlds/arm=cold/generation=1/000-cold.parquet",
)
"""One of each kind that a run folder holds."""


def gone(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def torn(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])


def junk(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 3)


def deep(file: Path) -> None:
    file.write_bytes(b"[" * DEEP)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def odd(file: Path) -> None:
    """Let it be whole, and every value in it of another type."""
    if file.suffix == ".json":
        found = json.loads(file.read_bytes())
        wrong = {key: [7] if isinstance(value, (str, dict)) else {"a": "b"} for key, value in
                 found.items()}  # fmt: skip
        keep = {key: found[key] for key in ("schema",) if key in found}
        file.write_text(json.dumps(wrong | keep))
    elif file.suffix == ".yaml":
        file.write_text("engine: [7]\nexperiment: 7\nrun: null\n")
    elif file.suffix == ".parquet":
        names = ("knowledge", "worlds", "steps")
        dataset = next(name for name in names if name in file.parts)
        run = file.parents[3]
        other = names[(names.index(dataset) + 1) % len(names)]
        shutil.copy(run / other / Path(*file.parts[-3:]), file)
    else:
        junk(file)


def broken(file: Path) -> None:
    """Let its end be whole, and what is before it not."""
    data = bytearray(file.read_bytes())
    for at in range(8, min(len(data) - 16, 2_000), 3):
        data[at] ^= 0xFF
    file.write_bytes(bytes(data))


Damage = Callable[[Path], None]
DAMAGES: tuple[Damage, ...] = (gone, empty, torn, junk, deep, folder, pipe, odd, broken)
