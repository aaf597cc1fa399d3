"""The meter: counts what passes to the engine, and stops a run whose engine is gone for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lineage.errors import LineageError
from lineage.models.protocol import Completion, Engine, Example, Request, TokenCounter


class Meter:
    """An `Engine` that tells `tell` the tokens of each completion.

    After `most_failures` failed requests in a row, `generate` raises LineageError: single failures
    are data, but a row of them is a broken engine, and a resumed run should meet a working one.
    """

    def __init__(self, engine: Engine, tell: Callable[[int], None], most_failures: int) -> None:
        self.engine, self.tell, self.most_failures = engine, tell, most_failures
        self.failures = 0

    async def start(self, versions: Sequence[str]) -> None:
        """Start the engine behind."""
        await self.engine.start(versions)

    async def close(self) -> None:
        """Close the engine behind."""
        await self.engine.close()

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Let the engine behind train an adapter."""
        await self.engine.adapt(name, base, examples, folder, seed)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Let the engine behind serve one more version."""
        await self.engine.serve(name, base, folder)

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the engine behind."""
        return await self.engine.counter(version)

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind, counted."""
        completion = await self.engine.generate(request)
        self.tell(completion.completion_tokens)
        self.failures = self.failures + 1 if completion.error else 0
        if self.failures >= self.most_failures:
            raise LineageError(
                f"{self.failures} requests in a row failed, the last with: {completion.error}"
            )
        return completion
