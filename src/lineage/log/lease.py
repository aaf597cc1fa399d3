"""A lease of a URL: one process at a time works there, and nobody waits long for one that died.

A store of Arrow's writes no object on condition that there is none. So each that wants the lease
puts an object of its own below `.lease/` and looks afterwards who else did: of two the later
one sees the other, whatever the order. One that is renewed is alive, and whoever came later gives
way. One that is not, for as long as it says that it lasts, is dead; it is told so by an object
beside its own, should it only have slept. No clocks of two machines are compared: what is waited
for is one's own time, and both times of last change are the store's.
"""

from __future__ import annotations

import json
import platform
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from lineage.core.errors import LineageError
from lineage.core.files import NONCE
from lineage.core.jsonfile import parse_json
from lineage.core.text import visible
from lineage.log.store import StorageError, Store

FOLDER = ".lease"
"""Below which leases are: nobody fetches or publishes what begins with a dot."""
OVER = ".over"
"""How the name of the object ends that says that a lease was taken over."""
RENEWALS = 3
"""So often is a lease renewed in the time that it lasts."""
LOOKS = 6
"""So often is one that may be dead looked at in that time."""
COARSE = 2.0
"""Seconds by which times may be rounded: of a change by the store, of a start by the system."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its object says: a process of a machine, since its start (Unix time).

    `space` tells within which processes are numbered: a machine since it was started, a container.
    """

    host: str
    process: int
    space: str
    started: float
    lasts_s: float
    renewed: int

    @property
    def alive(self) -> bool | None:
        """Whether it is a process that lives; None where it is of elsewhere."""
        if not self.space or self.space != _space():
            return None
        try:
            came = psutil.Process(self.process).create_time()
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        return bool(abs(came - self.started) <= COARSE)  # else another one has its number


class Lease:
    """A context that holds the lease of the URL of `store`, renewed by a thread.

    Raises StorageError, and LineageError on entering where another process holds it: one of another
    machine is known by its renewing it, which takes a third of the time that it lasts. `tell` is
    told where it is waited. `pause` waits for so many seconds.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store, self.tell, self.pause = store, tell, pause
        here = psutil.Process()
        self.holder = Holder(
            platform.node(), here.pid, _space(), here.create_time(), store.config.lease_s, 0
        )
        self.name = f"{FOLDER}/{secrets.token_hex(NONCE)}"
        self.stop, self.lost = threading.Event(), False
        self.taken: list[str] = []
        self.thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self.renew()
        self.thread.start()
        try:
            for name in self._others():
                self._await(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end()

    def check(self) -> None:
        """Raise LineageError where another process has taken the lease over."""
        if self.lost:
            raise LineageError(
                f"{self.store.url} was taken over by another process, since this one did not renew "
                f"its lease for {self.holder.lasts_s:g} s: nothing more is published from here"
            )

    def renew(self) -> None:
        """Show that this process lives, and see whether it was taken for dead."""
        self.store.write(self.name, json.dumps(asdict(self.holder)).encode())
        self.holder = replace(self.holder, renewed=self.holder.renewed + 1)
        self.lost = self.lost or self._there(f"{self.name}{OVER}")

    def _there(self, name: str) -> bool:
        # By its folder's list, which is one request: to ask for what is not there takes two.
        return name.removeprefix(f"{FOLDER}/") in self.store.below(FOLDER)

    def _others(self) -> list[str]:
        names = [f"{FOLDER}/{one}" for one in self.store.below(FOLDER)]
        return [one for one in names if one != self.name and not one.endswith(OVER)]

    def _await(self, name: str) -> None:
        """Return once the lease `name` is known to be over; raise LineageError where it is not."""
        first = found = self._read(name)
        if found is None:
            return
        if found.alive is False or self._old(name, found):
            self._take(name)
            return
        if found.alive:
            raise self._refused(found)
        self.tell(
            f"{self.store.url} is held by {_told(found)}, which may be dead: waiting for "
            f"{found.lasts_s:g} s at most"
        )
        until = time.monotonic() + found.lasts_s
        while time.monotonic() < until:
            self.pause(found.lasts_s / LOOKS)
            found = self._read(name)
            if found is None:
                return  # it has ended
            if found != first:
                raise self._refused(found)
        self._take(name)

    def _refused(self, holder: Holder) -> LineageError:
        return LineageError(
            f"{self.store.url} is being written by {_told(holder)}: wait until that has ended, or "
            "stop it"
        )

    def _take(self, name: str) -> None:
        if self._there(name):
            self.store.write(f"{name}{OVER}", b"")
            self.taken.append(f"{name}{OVER}")
            self.store.remove(name)

    def _read(self, name: str) -> Holder | None:
        """Return who holds the lease `name`; None where it is no more."""
        if not self._there(name):
            return None
        where = f"{self.store.url}/{name}"
        found = parse_json(self.store.read(name), where, Holder, "remove it")
        return Holder(**{one.name: found[one.name] for one in fields(Holder)})

    def _old(self, name: str, holder: Holder) -> bool:
        """Whether it was renewed so long before our own that nobody need wait for it."""
        times = [self.store.changed(one) for one in (self.name, name)]
        mine, theirs = (one or 0.0 for one in times)
        return mine - theirs > holder.lasts_s + COARSE

    def _work(self) -> None:
        while not self.stop.wait(self.holder.lasts_s / RENEWALS):
            # One that cannot be renewed is taken over by whoever waits for it, if anybody does.
            with suppress(StorageError):
                self.renew()

    def _end(self) -> None:
        self.stop.set()
        self.thread.join()
        with suppress(StorageError):
            for name in (self.name, *self.taken):
                self.store.remove(name)


def _told(holder: Holder) -> str:
    return f"process {holder.process} of {visible(holder.host)}"


def _space() -> str:
    """Return what tells within which processes are numbered as they are here; "" where nothing."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""
