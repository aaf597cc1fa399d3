"""vLLM's engine in a thread of this process, asked as its `AsyncLLM` is.

`AsyncLLM` gives the engine a process of its own. Where every core computes that costs more than it
hides: vLLM is imported twice at the start, and at each step one of the threads that compute makes
room for the process that hears of it (docs/benchmarks.md has both in figures).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

GATHER_SECONDS = 0.005
"""So long an idle engine waits for more once it is asked: a step takes longer by far, and what
comes during it must wait for its end."""
PAUSE_SECONDS = 0.001
"""After a step in which nothing could be computed, as its requests wait for their grammars."""

T = TypeVar("T")
Act = tuple[Callable[[], None], Future[Any]]
"""What is to be done between two steps, and the future that has its error or its result."""


class EngineDied(Exception):
    """The engine is gone; whoever owns it must start another."""


class SteppedEngine:
    """What `make` returns, vLLM's `LLMEngine`, which one thread alone makes and touches.

    Raises what `make` raises.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.acts: SimpleQueue[Act | None] = SimpleQueue()
        self.waiting: dict[str, Future[Any]] = {}
        self.numbers = itertools.count()
        made: Future[Any] = Future()
        Thread(target=self._live, args=(make, made), name="engine", daemon=True).start()
        self.engine = made.result()

    async def generate(
        self, prompt: Mapping[str, Any], sampling: Any, request: str, lora_request: Any = None
    ) -> AsyncIterator[Any]:
        """Yield vLLM's output for the `prompt` once it is finished; a request may come twice.

        Raises EngineDied, and what vLLM raises for what it does not take.
        """
        name = f"{next(self.numbers)}-{request}"
        answer: Future[Any] = Future()

        def begin() -> None:
            self.engine.add_request(name, prompt, sampling, lora_request=lora_request)
            self.waiting[name] = answer

        def leave() -> None:
            if self.waiting.pop(name, None) is not None:
                self.engine.abort_request([name])

        self.acts.put((begin, answer))
        try:
            yield await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            self.acts.put((leave, Future()))
            raise

    async def call(self, act: Callable[[Any], T]) -> T:
        """Return what `act` does with the engine between two steps. Raises EngineDied."""
        done: Future[T] = Future()
        self.acts.put((lambda: done.set_result(act(self.engine)), done))
        return await asyncio.wrap_future(done)

    async def add_lora(self, adapter: Any) -> None:
        """Load an adapter, so that no request has to wait for that. Raises EngineDied."""
        await self.call(lambda engine: engine.add_lora(adapter))

    def get_tokenizer(self) -> Any:
        """Return the tokenizer of the checkpoint."""
        return self.engine.get_tokenizer()

    def shutdown(self) -> None:
        """Have the thread end after the step that it is in; what is open is not answered."""
        self.acts.put(None)

    def _live(self, make: Callable[[], Any], made: Future[Any]) -> None:
        try:
            engine = make()
        except BaseException as error:
            made.set_exception(error)
            return
        made.set_result(engine)
        try:
            while self._acted(engine):
                self._step(engine)
        except Exception as error:
            self._refuse(EngineDied(f"{type(error).__name__}: {error}"))
        engine.engine_core.shutdown()

    def _acted(self, engine: Any) -> bool:
        """Do what was asked for since the last step; where nothing is open, wait for it.

        Returns whether the engine goes on.
        """
        idle = not engine.has_unfinished_requests()
        patience = None if idle else 0.0
        while True:
            try:
                asked = self.acts.get(timeout=patience)
            except Empty:
                return True
            if asked is None:
                return False
            act, result = asked
            try:
                act()
            except Exception as error:
                _fail(result, error)
            patience = GATHER_SECONDS if idle else 0.0

    def _step(self, engine: Any) -> None:
        began = time.monotonic()
        for output in engine.step():
            answer = self.waiting.pop(output.request_id, None) if output.finished else None
            if answer is not None and answer.set_running_or_notify_cancel():
                answer.set_result(output)
        if time.monotonic() - began < PAUSE_SECONDS:
            time.sleep(PAUSE_SECONDS)

    def _refuse(self, error: EngineDied) -> None:
        """Answer all that is open, and all that comes until the end, with the `error`."""
        for answer in self.waiting.values():
            _fail(answer, error)
        while (asked := self.acts.get()) is not None:
            _fail(asked[1], error)


def _fail(answer: Future[Any], error: Exception) -> None:
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)
