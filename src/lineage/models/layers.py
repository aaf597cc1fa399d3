"""What is known of weights without loading them: the tensors of a folder, and which are attention.

A LoRA of ours changes the projections of the attention. Which these are follows from the names of
a checkpoint's tensors, since families name them differently (q_proj, qkv_proj, c_attn, ...).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lineage.core.errors import LineageError

ATTENTION = re.compile(r"\.(?:self_attn|self_attention|attention|attn)\.(?:\w+\.)*?(\w+)\.weight$")
"""A tensor of an attention block, and the name of its layer."""
ADAPTER = re.compile(r"^base_model\.model\.(.+)\.lora_(A|B)(?:\.default)?\.weight$")
"""A tensor of an adapter as PEFT names it: the layer that it changes, and which factor it is."""
Shapes = Mapping[str, tuple[int, ...]]
"""By name of a tensor: its shape."""


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the tensors in the safetensors files of `folder`; raises OSError, ValueError."""
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= _head(file)
    return found


def _head(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a file by its head: 8 bytes with the length of the JSON that follows,
    a shape a tensor.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        head = json.loads(opened.read(length))
    return {name: tuple(one["shape"]) for name, one in head.items() if name != "__metadata__"}


def weights(shapes: Shapes) -> int:
    """Return how many numbers tensors of these shapes hold."""
    return sum(int(math.prod(shape)) for shape in shapes.values())


def attention(shapes: Shapes) -> tuple[str, ...]:
    """Return the names of the attention's projections, sorted; none where none are known by name.

    Norms and biases, which have one dimension, are none.
    """
    found = {
        match[1]
        for name, shape in shapes.items()
        if len(shape) == 2 and (match := ATTENTION.search(name))
    }
    return tuple(sorted(found))


def changed(targets: Iterable[str], folders: Iterable[Path]) -> list[str] | None:
    """Return `targets` where the adapters in `folders` change no other layers, else None."""
    ours = list(targets)
    for folder in folders:
        named = json.loads((folder / "adapter_config.json").read_bytes())["target_modules"]
        if isinstance(named, str) or not set(named) <= set(ours):
            return None
    return ours or None


def check_adapter(name: str, adapter: Shapes, base: Shapes) -> None:
    """Raise LineageError where the adapter of version `name` was made for another base.

    Of an adapter's layer (out, in), factor A is (rank, in) and B is (out, rank); some families
    store a layer as (in, out). Layers that the base does not name are no proof, unless it names
    none of them.
    """
    factors = [(match, shape) for one, shape in adapter.items() if (match := ADAPTER.match(one))]
    known = [(match, shape, base.get(f"{match[1]}.weight", ())) for match, shape in factors]
    wrong = ""
    for match, shape, layer in known:
        own = shape[-1] if match[2] == "A" else shape[0]
        if layer and own not in layer:
            size = " x ".join(map(str, layer))
            wrong = f"it changes {match[1]} by {own} numbers, and the checkpoint's is {size}"
            break
    if base and known and not any(layer for *_, layer in known):
        wrong = "the checkpoint has none of the layers that it changes"
    if wrong:
        raise LineageError(
            f"the adapter of {name} is of another base ({wrong}): correct `adapter` or `checkpoint`"
        )
