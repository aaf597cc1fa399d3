"""What a predecessor leaves to a migration."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.agent.history import Past
from lineage.core.config import MigrationConfig
from lineage.core.knowledge import Knowledge
from lineage.core.tasks import World


@dataclass(frozen=True)
class Legacy:
    """Knowledge and raw episodes of the lineage, its world as it is now, and the settings.

    `memories` says whether the lineage keeps memories at all. `asked` are the past tasks that may
    be asked again where that is not those of `past`.
    """

    knowledge: Knowledge
    past: tuple[Past, ...]
    world: World
    config: MigrationConfig
    memories: bool = True
    asked: tuple[Past, ...] = ()

    @property
    def askable(self) -> tuple[Past, ...]:
        """The past tasks that may be asked again."""
        return self.asked or self.past
