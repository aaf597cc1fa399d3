"""Which replica is asked: the less loaded of two that are drawn. Pure.

"The power of two choices" (Mitzenmacher 2001), as Ray Serve's default router has it. The loads are
those that one client knows of its own requests: with several clients the least loaded of all by
such counts would be the same one for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def less_loaded(loads: Sequence[int], well: Sequence[bool], draw: Random) -> int | None:
    """Return the place of the replica to be asked, of as many as there are `loads`.

    Of two that are `well` and drawn it is the one with the smaller load, the first where they are
    equal. Where none is well it is one that is not, drawn; None where there is none.
    """
    places = [place for place, fine in enumerate(well) if fine]
    if not places:
        return draw.randrange(len(loads)) if loads else None
    two = draw.sample(places, 2) if len(places) > 2 else places
    return min(two, key=lambda place: loads[place])
