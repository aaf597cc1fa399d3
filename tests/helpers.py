"""What several tests share: configurations of small runs, and reading what they logged."""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from omegaconf import OmegaConf
from rich.console import Console

from lineage import compose
from lineage.core.config import Config
from lineage.core.intervals import Interval, Range, optional, ratio_bounds
from lineage.core.seeds import derive
from lineage.core.tasks import Suite
from lineage.log.schema import CLOCK_COLUMNS
from lineage.metrics import METRICS, summarise
from lineage.models.meter import Meter
from lineage.models.protocol import Completion, Engine, Request
from lineage.runs import run as run_module
from lineage.runs.run import execute
from lineage.suites import make_suite

FULL = settings.get_current_profile_name() == "full"
"""Whether every case is tried (`--hypothesis-profile full`), or a share with some of each kind."""
full = pytest.mark.skipif(not FULL, reason="what it shows a cheaper test shows too")
"""A test of the full profile: whatever breaks it was seen to break another, that takes less."""


# transformers and trl read what is installed as they are imported, each for most of a second.
metadata.packages_distributions = cache(metadata.packages_distributions)


_A_THEME = {one.measure.__module__: name for name, one in METRICS.items()}
OF_EACH_THEME = METRICS.keys() if FULL else {"scores", *_A_THEME.values()}
"""Metrics that differ in which datasets they read, and how: to compute all of them takes long."""


class Late:
    """The module of this name, imported when a test first asks it for something.

    Every worker collects every file, and with trl that takes 13 seconds.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # as pytest asks whatever stands in a file of tests
            raise AttributeError(name)
        before = len(sys.modules)
        found = getattr(importlib.import_module(self._name), name)
        if len(sys.modules) > before:
            # A training of accelerate's collects garbage at its end, and looked through all that.
            gc.freeze()
        return found


class Undrawn:
    """No picture at all: to draw them takes longer than all that is shown in words."""

    def __getattr__(self, name: str) -> Any:
        return lambda *of: None


class Screen(io.StringIO):
    """An output that somebody looks at."""

    def isatty(self) -> bool:
        return True


def surrogate(tmp: Path, *overrides: str) -> Config:
    """Return a small run on the surrogate, below `tmp`."""
    return compose.load(
        [
            "engine=surrogate",
            "experiment.lineages=3",
            "agent.docs=true",
            f"run.root={tmp / 'runs'}",
            f"run.cache={tmp / 'cache'}",
            *overrides,
        ]
    )


def suite_of(name: str, *overrides: str) -> Suite:
    """Return the suite `name` of such a run.

    A run on it needs nothing else composed, which takes longer than the run.
    """
    return make_suite(compose.load(["engine=surrogate", f"suite={name}", *overrides]).suite)


def flattened(place: Path, *overrides: str) -> tuple[str, ...]:
    """Return what a command is told to run as with `overrides`, from one file without groups.

    Hydra composes the tree of a command anew three times, and for each point of a sweep: three
    times as fast from that, which is written to `place`, as from all groups.
    """
    shipped: Any = OmegaConf.load(compose.conf_dir() / "config.yaml")
    own = [one for one in shipped.defaults if "override hydra/launcher" in one]
    # Each group costs a tenth of it: what the shipped file has of logging stands in the node.
    for one in ("job_logging", "hydra_logging"):
        assert {f"override hydra/{one}": "none"} in shipped.defaults
        silent = {"version": 1, "root": None, "disable_existing_loggers": False}
        shipped.hydra[one] = silent
    groups = ("hydra_help", "help", "output", "env", "job_logging", "hydra_logging")
    unasked = [{f"override hydra/{group}": None} for group in groups]
    begin = {"defaults": [*own, *unasked, "_self_"], "hydra": shipped.hydra}
    OmegaConf.save(OmegaConf.merge(begin, compose.composed(overrides)), place / "flat.yaml")
    return ("--config-dir", str(place), "--config-name", "flat")


@contextmanager
def answering(
    change: Callable[[Request, Completion], Completion], module: ModuleType = run_module
) -> Iterator[None]:
    """Let `change` see and replace each completion between engine and run.

    `module` is the one whose run that is: of a training `lineage.training.run`.
    """

    class Changed(Meter):
        async def generate(self, request: Request) -> Completion:
            return change(request, await super().generate(request))

    module.Meter = Changed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.Meter = Meter  # type: ignore[attr-defined]


@contextmanager
def counting(module: ModuleType = run_module) -> Iterator[list[str]]:
    """Give the ids of all requests that come between engine and run, as `answering` sees them."""
    asked: list[str] = []

    def count(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        return answer

    with answering(count, module):
        yield asked


@contextmanager
def engine_answering(
    change: Callable[[Request, Completion], Completion], module: ModuleType = run_module
) -> Iterator[None]:
    """Let `change` see and replace each completion as the engine gives it, before it is metered.

    Others are asked meanwhile, as they are of an engine in another process.
    """
    make = module.make_engine

    def changed(*arguments: Any, **more: Any) -> Engine:
        made: Any = make(*arguments, **more)
        inner = made.generate

        async def generate(request: Request) -> Completion:
            await asyncio.sleep(0)
            return change(request, await inner(request))

        made.generate = generate
        return made  # type: ignore[no-any-return]

    module.make_engine = changed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.make_engine = make  # type: ignore[attr-defined]


def torn(request: Request, answer: Completion) -> Completion:
    """Return every third list of edits torn, as a model leaves it that ran out of tokens."""
    tear = bool(request.schema) and derive(request.id) % 3 == 0
    return replace(answer, text=answer.text[:-9]) if tear else answer


def run(config: Config, folder: Path) -> None:
    """Run `config` without a terminal and without a report, which takes longer than a small run."""
    execute(config, folder, Console(quiet=True), report=False)


def measured(
    config: Config, folder: Path, names: Collection[str] = tuple(METRICS)
) -> dict[str, Any]:
    """Run `config` without a terminal, write its metrics but no page, and return them.

    To compute them all takes longer than a small run: `names` are those that are looked at.
    """
    run(config, folder)
    summary = summarise(folder, names)
    (folder / "metrics.json").write_text(json.dumps(summary, indent=1))
    return summary


def reported(config: Config, folder: Path) -> dict[str, Any]:
    """Run `config` without a terminal, write its report and return the summary of its metrics."""
    return execute(config, folder, Console(quiet=True))


def steps(folder: Path) -> list[dict[str, Any]]:
    """Return the whole step log, sorted by id, with its partition keys."""
    table = pq.read_table(folder / "steps", partitioning="hive")
    return sorted(table.to_pylist(), key=lambda row: row["step_id"])


def timeless(folder: Path) -> list[dict[str, Any]]:
    """Return the step log without its clock columns."""
    return unclocked(steps(folder))


def unclocked(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a step log without their clock columns."""
    clock = set(CLOCK_COLUMNS)
    return [{k: v for k, v in row.items() if k not in clock} for row in log]


def ratio(
    above: Mapping[int, float], below: Mapping[int, float], confidence: float, of: Range
) -> Interval | None:
    """Return mean(above) / mean(below) over the pairs that both have, with its interval.

    None where the ratio is not defined; see `ratio_bounds`.
    """
    pairs = sorted(above.keys() & below.keys())
    a, b = (np.array([[side[pair] for pair in pairs]], dtype=float) for side in (above, below))
    found, defined = ratio_bounds(a, b, confidence, of)
    if not defined[0]:
        return None
    mean = float(a.sum() / b.sum())
    return Interval(mean, optional(found.low[0]), optional(found.high[0]), len(pairs))
