"""The learner of a run: torch learners in the workers of Ray Train, fed through a mailbox.

Ray Train starts one worker a GPU (or one on the CPU), joins them in a process group and watches
them; each runs `work`, which learns batch after batch until the mailbox is closed. More GPUs need
more workers and nothing else.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.config import LoggingConfig

from lineage.core.config import MethodConfig
from lineage.core.errors import LineageError, first_line
from lineage.models.fleet import OFFLINE
from lineage.training.learners.learner import TorchLearner
from lineage.training.values import Batch, Learnt

START_SECONDS = 600.0
CLOSE_SECONDS = 30.0
QUIET = {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
RESERVED = {"CPU": 0.0, "memory": 1.0}
"""What a worker books besides its GPU: next to nothing, since engine and trainer take turns and
the engine may have booked all CPUs. A bundle of Ray must hold something: a byte."""


class Mailbox:
    """An actor between the driver and the workers: batches one way, what was learnt the other."""

    def __init__(self) -> None:
        self.batches: list[Batch | None] = []
        self.changed = asyncio.Condition()
        self.learnt: dict[int, Learnt] = {}
        self.ready = 0

    async def arrive(self) -> None:
        """A worker is ready for batches."""
        async with self.changed:
            self.ready += 1
            self.changed.notify_all()

    async def all_ready(self, workers: int) -> None:
        """Wait until `workers` are ready."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.ready >= workers)

    async def submit(self, batch: Batch | None) -> Learnt | None:
        """Hand `batch` to all workers and wait for what the first learnt; None ends their work."""
        async with self.changed:
            number = len(self.batches)
            self.batches.append(batch)
            self.changed.notify_all()
            if batch is None:
                return None
            await self.changed.wait_for(lambda: number in self.learnt)
            return self.learnt[number]

    async def take(self, number: int) -> Batch | None:
        """Return batch `number` when it is there."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.batches) > number)
            return self.batches[number]

    async def post(self, number: int, learnt: Learnt) -> None:
        """Keep what was learnt from batch `number`."""
        async with self.changed:
            self.learnt[number] = learnt
            self.changed.notify_all()


def work(job: dict[str, Any]) -> None:
    """Learn batches in a worker until there are no more. `job` is what `RayLearner` was given."""
    import torch

    from lineage.models.sft import use_all_cores
    from lineage.training.learners.trainers import is_first

    if not torch.cuda.is_available():
        context = ray.train.get_context()
        use_all_cores(context.get_local_world_size())
    learner = TorchLearner(job["checkpoint"], job["method"], job["parent"])
    learner.load()
    mailbox, number = job["mailbox"], 0
    ray.get(mailbox.arrive.remote())
    while (batch := ray.get(mailbox.take.remote(number))) is not None:
        learnt = learner.step(batch)
        if is_first():
            ray.get(mailbox.post.remote(number, learnt))
        number += 1


class RayLearner:
    """A `Learner` whose work is done by Ray Train. Ray must have been initialised before."""

    def __init__(
        self,
        checkpoint: str,
        method: MethodConfig,
        parent: str,
        workers: int,
        use_gpu: bool,
        folder: Path,
        gpus: float = 1.0,
    ) -> None:
        """`parent` is the folder of the parent's adapter, "" for none.

        `folder` takes what Ray Train writes. A worker books `gpus`: less than one where it shares
        its GPU with an engine.
        """
        self.job = {"checkpoint": checkpoint, "method": method, "parent": parent}
        self.workers, self.folder = workers, folder.absolute()
        self.scaling = ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker=RESERVED | ({"GPU": gpus} if use_gpu else {}),
        )
        self.mailbox: Any = None
        self.fit: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Start the workers and wait until each has loaded the base.

        Raises LineageError where one cannot, or Ray has no room for them.
        """
        # Read by the driver's half of Ray Train, which would write a bar and metrics otherwise.
        os.environ["RAY_TRAIN_METRICS_ENABLED"] = "0"
        self.mailbox = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=1000).remote()
        trainer = TorchTrainer(
            work,
            train_loop_config=self.job | {"mailbox": self.mailbox},
            scaling_config=self.scaling,
            run_config=RunConfig(
                name="train",
                storage_path=str(self.folder),
                failure_config=FailureConfig(max_failures=0),
                worker_runtime_env={"env_vars": OFFLINE["env_vars"] | QUIET},
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )

        self.fit = asyncio.create_task(asyncio.to_thread(trainer.fit))
        try:
            await asyncio.wait_for(
                self._unless_ended(self.mailbox.all_ready.remote(self.workers)), START_SECONDS
            )
        except TimeoutError as error:
            raise LineageError(
                f"the trainer was not ready after {START_SECONDS:.0f} s: "
                f"Ray needs room for {self.workers} x {self.scaling.resources_per_worker}"
            ) from error

    async def learn(self, batch: Batch) -> Learnt:
        """Have `batch` learnt. Raises LineageError where a worker fails; no batch is learnt then.

        Paths of `batch` are made absolute: workers run in folders of their own.
        """
        if self.mailbox is None:
            raise LineageError("the trainer has ended")
        given = replace(
            batch,
            start=str(Path(batch.start).absolute()) if batch.start else "",
            folder=str(Path(batch.folder).absolute()),
        )
        learnt: Learnt = await self._unless_ended(self.mailbox.submit.remote(given))
        return learnt

    async def close(self) -> None:
        """End the workers and the mailbox. Safe to call twice."""
        if self.fit is not None:
            with suppress(RayError):
                await self.mailbox.submit.remote(None)
            with suppress(Exception):
                await asyncio.wait_for(self.fit, CLOSE_SECONDS)
            self.fit = None
        if self.mailbox is not None:
            with suppress(RayError):
                ray.kill(self.mailbox)
            self.mailbox = None

    async def _unless_ended(self, answer: Any) -> Any:
        """Return `answer` when it is there. Raises LineageError where the workers end first."""
        assert self.fit is not None
        asked = asyncio.ensure_future(answer)
        await asyncio.wait({asked, self.fit}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and asked.exception() is None:
            return asked.result()
        asked.cancel()
        error = self.fit.exception() if self.fit.done() else asked.exception()
        raise LineageError(f"the trainer failed: {reason(error)}") from error


def reason(error: BaseException | None) -> str:
    """Return the line of what Ray Train raised that says what went wrong in a worker."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        cause = getattr(failure, "cause", None) or getattr(failure, "_base_exc", None) or failure
        return first_line(cause)
    return "its workers ended" if error is None else first_line(Exception(str(error)))
