"""Learning in a Ray Train worker group: one worker here, one a GPU where there are more.

The workers live as long as the training and take batches from a mailbox, an actor. Several of them
split a batch: TRL and accelerate give each its share and average the gradients.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lineage.config import MethodConfig
from lineage.errors import LineageError
from lineage.models.fleet import OFFLINE
from lineage.training.batch import Batch, Learnt

SHARE_OF_CPU = 0.01
"""What a worker books where there is no GPU: the engine, idle while it learns, has the rest."""


class Mailbox:
    """Passes batches to the workers and what they learnt back. An asynchronous Ray actor."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.batches: list[Batch] = []
        self.posted = asyncio.Condition()
        self.answers: dict[int, Learnt | str] = {}
        self.closed = False
        self.ready = 0

    async def arrive(self) -> None:
        """Say that a worker is ready."""
        async with self.posted:
            self.ready += 1
            self.posted.notify_all()

    async def all_ready(self) -> None:
        """Return when every worker is."""
        async with self.posted:
            await self.posted.wait_for(lambda: self.ready >= self.workers)

    async def post(self, batch: Batch) -> int:
        """Hand in a batch; returns its number."""
        async with self.posted:
            self.batches.append(batch)
            self.posted.notify_all()
            return len(self.batches) - 1

    async def take(self, number: int) -> Batch | None:
        """Return batch `number` when it is there, None when there will be none."""
        async with self.posted:
            await self.posted.wait_for(lambda: self.closed or len(self.batches) > number)
            return None if self.closed else self.batches[number]

    async def answer(self, number: int, learnt: Learnt | str) -> None:
        """Hand in what came of batch `number`: a text is an error."""
        async with self.posted:
            self.answers[number] = learnt
            self.posted.notify_all()

    async def result(self, number: int) -> Learnt | str:
        """Return what came of batch `number` when it is there."""
        async with self.posted:
            await self.posted.wait_for(lambda: number in self.answers)
            return self.answers[number]

    async def close(self) -> None:
        """Let the workers end."""
        async with self.posted:
            self.closed = True
            self.posted.notify_all()


class RayLearner:
    """A `Learner` in a worker group of Ray Train; Ray must be running.

    `folder` takes what Ray Train writes.
    """

    def __init__(
        self,
        checkpoint: str,
        method: MethodConfig,
        parent: str,
        workers: int,
        use_gpu: bool,
        folder: Path,
    ) -> None:
        """`parent` is the folder of the parent's adapter, "" for none."""
        self.checkpoint, self.method, self.parent = checkpoint, method, parent
        self.workers, self.use_gpu, self.folder = workers, use_gpu, folder
        self.mailbox: Any = None
        self.group: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the workers and wait until each has the model."""
        self.mailbox = ray.remote(Mailbox).options(num_cpus=0).remote(self.workers)
        self.group = asyncio.create_task(asyncio.to_thread(self._fit))
        await self._or_failure(self.mailbox.all_ready.remote(), "starting")

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch` and leave its folder."""
        number = await self.mailbox.post.remote(batch)
        learnt = await self._or_failure(self.mailbox.result.remote(number), f"step {batch.step}")
        if isinstance(learnt, str):
            raise LineageError(f"training step {batch.step} failed: {learnt}")
        assert isinstance(learnt, Learnt)
        return learnt

    async def close(self) -> None:
        """Let the workers end, and wait until they have."""
        if self.mailbox is None:
            return
        try:
            await self.mailbox.close.remote()
            if self.group is not None:
                await self.group
        except (RayError, LineageError):
            pass  # Whoever asked for a step has been told.
        finally:
            ray.kill(self.mailbox)
            self.mailbox = None

    async def _or_failure(self, answer: Any, what: str) -> Any:
        """Return `answer`, or raise LineageError where the workers end before it is there."""
        assert self.group is not None
        waiting = asyncio.ensure_future(_awaited(answer))
        await asyncio.wait({waiting, self.group}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        failure = self.group.exception()
        reason = str(failure).strip().splitlines()[-1] if failure else "the workers ended"
        raise LineageError(f"training failed at {what}: {reason}")

    def _fit(self) -> None:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        resources = None if self.use_gpu else {"CPU": SHARE_OF_CPU}
        trainer = TorchTrainer(
            work,
            train_loop_config={
                "checkpoint": self.checkpoint,
                "method": self.method,
                "parent": self.parent,
                "use_gpu": self.use_gpu,
                "mailbox": self.mailbox,
            },
            scaling_config=ScalingConfig(
                num_workers=self.workers, use_gpu=self.use_gpu, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name="learner",
                storage_path=str(self.folder.absolute()),
                worker_runtime_env=OFFLINE,
            ),
        )
        trainer.fit()


async def _awaited(answer: Any) -> Any:
    return await answer


def work(config: dict[str, Any]) -> None:
    """What each worker of the group does: learn batches until there are no more."""
    from ray import train

    from lineage.models.sft import use_all_cores
    from lineage.training.learners.torch_learner import TorchLearner

    mailbox = config["mailbox"]
    context = train.get_context()
    first, workers = context.get_world_rank() == 0, context.get_world_size()
    if not config["use_gpu"]:
        use_all_cores(workers)
    learner = TorchLearner(config["checkpoint"], config["method"], config["parent"])
    learner.load()
    ray.get(mailbox.arrive.remote())
    number = 0
    while (batch := ray.get(mailbox.take.remote(number))) is not None:
        learnt: Learnt | str
        try:
            learnt = learner.step(batch)
        except LineageError as error:
            # It must not end the group: the driver decides.
            learnt = str(error)
        if first or isinstance(learnt, str):
            ray.get(mailbox.answer.remote(number, learnt))
        number += 1
