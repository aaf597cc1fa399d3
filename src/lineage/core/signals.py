"""SIGINT and SIGTERM of whatever works for long: here they are handled, and nowhere else.

The first lets go of what is held (engines, Ray, the folder) and ends in KeyboardInterrupt, which
the command line answers with how to go on and 130. The second ends the process and all that it
started at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130
"""What a process ends with that was stopped by a signal, whichever of the two it was."""
LOOK_SECONDS = 0.1
"""Between two looks at whether a thread that shall stop has."""

T = TypeVar("T")


class Stoppable:
    """A context in which both signals stop the work; on leaving it they do what they did before.

    It is left by KeyboardInterrupt once there was a signal, whatever the work makes of it: DuckDB
    turns one into an error of its own, and others drop it. A signal that the process was started
    to ignore stays ignored. Outside the main thread, where no handler can be set, nothing changes,
    but that `apart` may stop it.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.before: dict[signal.Signals, Any] = {}
        self.cancel: Callable[[], object] | None = None
        self.told: socket.socket | None = None
        self.watched = -1

    def __enter__(self) -> Stoppable:
        if threading.current_thread() is threading.main_thread():
            found = {one: signal.getsignal(one) for one in SIGNALS}
            self.before = {one: is_ for one, is_ in found.items() if is_ is not signal.SIG_IGN}
            for one in self.before:
                signal.signal(one, self._handle)
            listens, self.told = socket.socketpair()
            self.told.setblocking(False)
            self.watched = signal.set_wakeup_fd(self.told.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=_watch, args=(listens,), daemon=True).start()
        else:
            _elsewhere.append(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self in _elsewhere:
            _elsewhere.remove(self)
        for one, handler in self.before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        if self.told is not None:
            signal.set_wakeup_fd(self.watched)
            self.told.close()
        cancelled = isinstance(error, asyncio.CancelledError)
        if (self.stopped or cancelled) and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error

    def run(self, work: Coroutine[Any, Any, T], runner: asyncio.Runner | None = None) -> T:
        """Return what `work` comes to, in an event loop of its own; a signal cancels it.

        With a `runner` it is that one's loop, which goes on afterwards.
        """
        if self.stopped:
            work.close()
            raise KeyboardInterrupt

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            self.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await work
            finally:
                self.cancel = None

        return (asyncio.run if runner is None else runner.run)(cancellable())

    def stop(self) -> bool:
        """Cancel the work; return whether there was any to cancel.

        Where there was none, what is being done goes on to its end, which is KeyboardInterrupt.
        """
        self.stopped, cancel = True, self.cancel
        if cancel is not None:
            cancel()
        return cancel is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.stop():
            raise KeyboardInterrupt


_elsewhere: list[Stoppable] = []
"""Those that are entered outside the main thread."""


def apart(work: Callable[[], T]) -> T:
    """Return what `work` comes to, in a thread of its own: for one whose event loop runs already.

    An interrupt of this thread stops what is `Stoppable` there, waits for it, and goes on up.
    """
    others = list(_elsewhere)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            while not future.done():
                for one in [one for one in _elsewhere if one not in others]:
                    # Once: to be told again would end what closes the engines.
                    others.append(one)
                    one.stop()
                wait([future], LOOK_SECONDS)
            raise


def _watch(listens: socket.socket) -> None:
    """End the process at the second signal that `listens` is told of.

    A thread, because a handler of Python waits for the main thread, which may be in a library.
    """
    heard = 0
    with listens:
        while told := listens.recv(1):
            heard += told[0] in SIGNALS
            if heard > 1:
                end_at_once()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Undo on leaving what the work does to the handlers of both signals.

    Ray sets handlers of its own when it is joined, Python's and, beneath, one that aborts; setting
    Python's again replaces both. What they make of a signal meanwhile is KeyboardInterrupt here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in SIGNALS}
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        for one, handler in before.items():
            if handler is not None:
                signal.signal(one, handler)


def end_at_once() -> None:
    """End this process and all that it started, now: nothing is given back or written."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    os._exit(INTERRUPTED)
