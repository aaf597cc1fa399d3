"""How many replicas there are to be, by what is in flight on them. Pure: no Ray, no clock.

As Ray Serve's autoscaling: a target of requests in flight a replica, and how long a load must last
before there is one more, or one fewer. One at a time, so that an engine measures what others left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from lineage.core.config_engine import ReplicasConfig


class Step(StrEnum):
    """What to do about the number of replicas."""

    STAY = "stay"
    MORE = "more"
    LESS = "less"


@dataclass(frozen=True)
class Standing:
    """How replicas of a checkpoint stand: so many serve, and so many requests are in flight.

    `coming`: one more waits for its place, or starts. `lost`: so many serve no more, because they
    failed; they count against the bounds, or what kills engines would do so for ever.
    """

    in_flight: int
    serving: int
    coming: bool = False
    lost: int = 0


@dataclass(frozen=True)
class Scale:
    """The state: for how many seconds more were wanted than there are (`over`), or fewer.

    `target` is how many requests in flight one replica shall have.
    """

    bounds: ReplicasConfig
    target: float
    over: float = 0.0
    under: float = 0.0

    def wanted(self, in_flight: int) -> int:
        """Return how many replicas so many requests want, within the bounds."""
        count = math.ceil(in_flight / self.target)
        return min(max(count, self.bounds.min), self.bounds.max)

    def looked(self, at: Standing, seconds: float) -> tuple[Scale, Step]:
        """Return the state after a look, so many `seconds` after the one before, and what to do.

        LESS gives up the one that is coming where there is one.
        """
        wanted, have = self.wanted(at.in_flight), at.serving + at.coming
        room = not at.coming and have + at.lost < self.bounds.max
        over = self.over + seconds if wanted > have and room else 0.0
        under = self.under + seconds if wanted < have else 0.0
        if over and over >= self.bounds.upscale_delay_s:
            return replace(self, over=0.0, under=0.0), Step.MORE
        if under and under >= self.bounds.downscale_delay_s:
            return replace(self, over=0.0, under=0.0), Step.LESS
        return replace(self, over=over, under=under), Step.STAY
