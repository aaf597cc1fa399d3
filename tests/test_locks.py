"""The locks: what pyproject.toml asks for is in them, in a release that it allows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MACHINE = {"platform_machine": "x86_64", "sys_platform": "linux", "python_version": "3.11"}
PIN = re.compile(
    r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def asked(*extras: str) -> Iterator[Requirement]:
    """Return what an install with `extras` asks for, those of extras in extras too."""
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][one] for one in extras)]
    for text in (text for group in groups for text in group):
        one = Requirement(text)
        if one.name == PROJECT["name"]:
            yield from asked(*one.extras)
        elif one.marker is None or one.marker.evaluate(MACHINE):
            yield one


@pytest.mark.parametrize(
    ("name", "extras"), [("plain", ()), ("cpu", ("cpu", "dev")), ("gpu", ("gpu",))]
)
def test_a_lock_has_all_that_is_asked_for(name: str, extras: tuple[str, ...]) -> None:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    pins = {found[1]: found[2] for found in PIN.finditer(text)}
    assert len(pins) == text.count("==") and "://" not in text
    for one in asked(*extras):
        wanted = re.sub(r"[-_.]+", "-", one.name).lower()
        assert wanted in pins, f"{one} is not in locks/{name}.txt: make lock"
        assert one.specifier.contains(pins[wanted]), (
            f"locks/{name}.txt has another {one}: make lock"
        )
