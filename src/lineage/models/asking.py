"""Asking actors of Ray: what they answer, or what went wrong in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError

from lineage.core.errors import LineageError, last_line

T = TypeVar("T")


async def told(call: Awaitable[T], who: str) -> T:
    """Return what an actor answers to `call`.

    Raises LineageError: the one that it raised there, or a line that says that `who` has died.
    """
    try:
        return await call
    except RayActorError as error:
        raise LineageError(f"{who} died ({last_line(error)}): lineage resume goes on") from error
    except RayTaskError as error:
        if isinstance(error.cause, LineageError):
            raise LineageError(str(error.cause)) from error
        raise LineageError(f"{who} failed: {last_line(error)}") from error
    except RayError as error:
        raise LineageError(f"{who} failed: {last_line(error)}") from error


async def answer(call: Awaitable[T], seconds: float) -> T | None:
    """Return what an actor answers within so many `seconds`.

    None where it does not, because it has died, is still being started or has much to do.
    """
    try:
        return await asyncio.wait_for(call, seconds)
    except (RayError, TimeoutError):
        return None


async def within(seconds: float, *calls: Awaitable[Any]) -> None:
    """Wait for `calls` to actors, but no longer than so many `seconds`, whatever comes of them."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), seconds)
