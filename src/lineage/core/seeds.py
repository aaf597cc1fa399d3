"""Seeds: every random draw of lineage comes from ids, never from global state.

A seed is a hash of the ids of the thing it is drawn for, so that it does not depend on how
many workers there are, on the order in which they finish, or on which other draws were made.
"""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache

THINGS_KEPT = 2**16
"""Things whose drifts are remembered: those of a thousand worlds of the default size."""
SEED_BITS = 63


def derive(*ids: str | int) -> int:
    """Return the seed of the thing named by `ids`, an integer in [0, 2**63).

    `derive("a", 1)` and `derive("a/1")` differ: each id is hashed with its length and type.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in ids:
        data = f"{type(part).__name__}:{part}".encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big") >> (64 - SEED_BITS)


def rng(*ids: str | int) -> random.Random:
    """Return a generator of its own for the thing named by `ids`."""
    return random.Random(derive(*ids))


def last_drift(generation: int, chance: float, *ids: str | int) -> int:
    """Return the last generation up to `generation` in which the thing named by `ids` drifted.

    It does with `chance` in each from 1 on; 0: it never did. Generations that are asked for in
    order are drawn once each.
    """
    if not chance:
        return 0
    known = _drifts(chance, ids)
    age = generation
    while age > 0 and age not in known and rng(*ids, "drifts", age).random() >= chance:
        age -= 1
    known[generation] = found = known.get(age, age)
    return found


@lru_cache(maxsize=THINGS_KEPT)
def _drifts(chance: float, ids: tuple[str | int, ...]) -> dict[int, int]:
    """Return by generation the last drift up to it, as far as that is known."""
    return {}
