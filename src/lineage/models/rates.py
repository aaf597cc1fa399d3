"""How long a request waits for a rate limit, and before it is tried again. Pure: no clock.

So many requests, and so many tokens, in any minute: each minute that ends now is counted whole. A
token bucket would let through up to twice as many in the minute after a pause.
"""

from __future__ import annotations

import email.utils
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE = 60.0


@dataclass
class Taken:
    """What a request took of a limit, and when (seconds of whatever clock)."""

    at: float
    amount: float


@dataclass
class Limit:
    """At most `most` in any minute; None: any number. What is larger alone goes alone."""

    most: float | None
    taken: deque[Taken] = field(default_factory=deque)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` may be taken, 0 where it may be now."""
        while self.taken and self.taken[0].at + MINUTE <= now:
            self.taken.popleft()
        if self.most is None:
            return 0.0
        over = sum(one.amount for one in self.taken) + amount - self.most
        for one in self.taken:
            if over <= 0:
                return 0.0
            over -= one.amount
            if over <= 0:
                return one.at + MINUTE - now
        return self.taken[-1].at + MINUTE - now if over > 0 and self.taken else 0.0

    def take(self, amount: float, now: float) -> Taken:
        """Take `amount`; what it really was may be set in what is returned."""
        self.taken.append(Taken(now, amount))
        return self.taken[-1]


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110, 10.2.3), None where it does not.

    `now` is seconds since the epoch. Some servers say it in milliseconds, in a header of their own.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) / unit
        except ValueError:
            continue
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        until = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(until.timestamp() - now, 0.0)


def backoff(first: float, attempt: int, most: float, draw: float) -> float:
    """Return the seconds before the attempt after number `attempt`, counted from 1.

    They double, up to `most`. `draw`, from 0 to 1, takes up to half of it, so that requests that
    failed together are not tried again together.
    """
    return float(min(first * 2.0 ** (attempt - 1), most) * (1 - draw / 2))
