"""Versions behind an API and versions of an engine of our own, in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage.models.protocol import Completion, Engine, Example, Located, Request, TokenCounter


class Mixed:
    """An `Engine` that asks `remote` for the versions `behind` an API, and `own` for all others."""

    def __init__(self, remote: Engine, own: Engine, behind: Collection[str]) -> None:
        self.remote, self.own, self.behind = remote, own, frozenset(behind)
        self.spare_gpus = own.spare_gpus

    @property
    def tell(self) -> Callable[[str], None]:
        """What hears of what both settle."""
        found: Callable[[str], None] = getattr(self.remote, "tell", lambda said: None)
        return found

    @tell.setter
    def tell(self, tell: Callable[[str], None]) -> None:
        for one in (self.remote, self.own):
            if hasattr(one, "tell"):
                one.tell = tell

    def _of(self, version: str) -> Engine:
        return self.remote if version in self.behind else self.own

    async def start(self, versions: Sequence[str]) -> None:
        """Start what serves `versions`: first what costs no time to see that it is there."""
        for one in (self.remote, self.own):
            if wanted := [name for name in versions if self._of(name) is one]:
                await one.start(wanted)

    async def generate(self, request: Request) -> Completion:
        """Return the completion of whatever serves the version."""
        return await self._of(request.version).generate(request)

    async def counter(self, version: str) -> TokenCounter:
        """Return the token counter of `version`."""
        return await self._of(version).counter(version)

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter from `base`, which must be an engine's of our own."""
        await self._of(base).adapt(name, base, examples, folder, seed)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds, trained from `base`, as version `name`."""
        await self._of(base).serve(name, base, folder)

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are; nowhere of one behind an API."""
        return self._of(version).weights(version)

    def describe(self) -> dict[str, Any]:
        """Return what both tell."""
        return {**self.remote.describe(), **self.own.describe()}

    def faults(self) -> Mapping[str, int]:
        """Return the faults of both."""
        return Counter(self.remote.faults()) + Counter(self.own.faults())

    async def close(self) -> None:
        """Stop both. Safe to call twice."""
        try:
            await self.remote.close()
        finally:
            await self.own.close()
