"""A layer: an engine over another, which its owner starts and closes, and which does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lineage.models.protocol import Completion, Engine, Example, Request, TokenCounter


class Layer:
    """An `Engine` that passes everything on to `engine`; what it is for overrides `generate`."""

    engine: Engine

    async def start(self, versions: Sequence[str]) -> None:
        """The engine behind was started by its owner."""

    async def close(self) -> None:
        """The engine behind is closed by its owner."""

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
        """Return the completion of the engine behind."""
        return await self.engine.generate(request)
