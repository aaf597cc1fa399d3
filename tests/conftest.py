"""Before any test imports anything: no model hub, Ray on the loopback interface, matplotlib's files
in a folder of their own, and what is compiled is kept. Then what several files share: how much is
tried, and in what order.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import lineage.models  # noqa: F401 - what Ray reads when it is first imported

os.environ["HF_HUB_OFFLINE"] = "1"
# Each of the many processes that tests start would compile all of lineage again, most of a second.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# The workers have the folder of who started them: looking for fonts takes a second.
WORKER = "PYTEST_XDIST_WORKER"
if WORKER not in os.environ:
    _matplotlib = tempfile.mkdtemp(prefix="lineage-matplotlib-")
    os.environ["MPLCONFIGDIR"] = _matplotlib
    atexit.register(shutil.rmtree, _matplotlib, ignore_errors=True)
else:
    # What is registered first is called last: a worker ends without freeing one by one all objects
    # that it has imported, with torch for five seconds.
    atexit.register(os._exit, 0)
os.environ.setdefault("MPLBACKEND", "Agg")
# How long an example takes says nothing on a machine that others use too.
settings.register_profile("small", deadline=None, max_examples=25)
settings.register_profile("full", deadline=None, max_examples=200)
settings.load_profile("small")

LONG = (
    *("soak", "notebooks", "submit", "shards", "training", "learners", "pictures", "damaged"),
    *("provenance", "reader_fuzz", "warehouse", "fleet", "tuner", "arms", "run", "play"),
    *("terminal", "measure_tables", "search", "sweeps", "stored", "textworld", "failures"),
    *("resume", "upgrade", "reasoning", "results", "compaction", "placement", "open"),
)
"""Files that take long, about the longest first: so all workers end at about the same time."""
TORCH = ("learners", "training_report", "bases", "shelf", "cpu_lora", "precision", "safety")
"""Files that import torch, which takes ten seconds with what stands on it."""

PARTS = ("cluster", "engine")
"""Markers of tests that are no part of the fast ones."""
SELDOM = (20_000, 20, 20)
"""When garbage is collected: as often as Python does by itself took a twentieth of all time."""


def pytest_configure(config: pytest.Config) -> None:
    """Let each of several workers compute with one thread: those of torch wait for each other by
    turning round, which took six times a tiny training's own time from the other workers.
    """
    if config.getoption("numprocesses", None):
        os.environ["OMP_NUM_THREADS"] = "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which no test is asked for: with torch it takes seconds."""
    asked = config.getoption("markexpr")
    if not asked or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    if asked in PARTS:
        return f"mark.{asked}" not in text or None
    whole = re.search(r"^pytestmark = .*", text, re.MULTILINE)
    marks = re.findall(r"mark\.(\w+)", whole[0]) if whole else ()
    wanted = asked.split(" and ")
    return any(mark in PARTS and f"not {mark}" in wanted for mark in marks) or None


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Let one worker have all files of `TORCH`: what an id begins with is given to one of them."""
    if module_path.stem.removeprefix("test_") not in TORCH or WORKER not in os.environ:
        return None
    name = f"tests/torch::{module_path.name}"
    return pytest.Module.from_parent(parent, path=module_path, nodeid=name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again through what is there as long as the tests are:
    modules, and the tests themselves. That took a tenth of a composition's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)


def pytest_sessionfinish() -> None:
    """Let an interpreter that ends find all of it: some libraries complain of what they do not."""
    if WORKER not in os.environ:
        gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Let no fsync wait for the disk: what tests write outlives its process, which is killed here,
    without one; a seventh of their time went into waiting.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Let runs and trainings draw nothing, in a file of tests that look at no page, and compute of
    their metrics those only that a listing, a sweeper and the end of a run ask for.

    Either takes longer than a small run, and each of the many points of sweeps has both.
    """
    from lineage.inspect.listing import ASKED
    from lineage.metrics import summarise_all
    from lineage.report import sweep_page, training_page, write

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "summarise_all", partial(summarise_all, names=ASKED))
        patch.setattr(write, "score_by_generation", lambda summary: None)
        patch.setattr(write, "report_html", lambda run, summary, log: "")
        patch.setattr(sweep_page, "sweep_scores", lambda sweep: None)
        patch.setattr(sweep_page, "sweep_interactions", lambda sweep: None)
        patch.setattr(training_page, "training_by_step", lambda summary: "a picture")
        patch.setattr(training_page, "picture_bytes", lambda figure, kind: b"")
        patch.setattr(training_page, "training_html", lambda folder, summary: "")
        yield
