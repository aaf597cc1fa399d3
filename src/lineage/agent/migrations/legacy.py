"""What a predecessor leaves to a migration."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.agent.history import Past
from lineage.core.config import MigrationConfig
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.tasks import World


@dataclass(frozen=True)
class Legacy:
    """Knowledge and raw episodes of the lineage, its world as it is now, and the settings.

    `memories` says whether the lineage keeps memories at all. `asked` are the past tasks that may
    be asked again where that is not those of `past`. `since` is what this version has had of it
    before: all of it, or nothing where it takes over from another.
    """

    knowledge: Knowledge
    past: tuple[Past, ...]
    world: World
    config: MigrationConfig
    memories: bool = True
    asked: tuple[Past, ...] = ()
    since: Knowledge = EMPTY

    @property
    def askable(self) -> tuple[Past, ...]:
        """The past tasks that may be asked again."""
        return self.asked or self.past
