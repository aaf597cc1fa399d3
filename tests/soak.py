"""Runs in shards on Ray nodes of this machine, under kills that are drawn from a seed.

    make soak ARGS="--kills 100 --seed 7"

A run is begun, and processes of it are killed or stopped again and again; where the driver ends it
is gone on with by `lineage resume`. Where a run is finished before all kills are spent the next one
is begun. Each must hold the step ids and contents of the run that nobody disturbed, each once.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import psutil
import pytest
from helpers import run, surrogate, timeless
from ray.cluster_utils import Cluster as Nodes
from raynodes import NODE, place, prepare, processes

from lineage.log.sittings import met, read_sittings
from lineage.models.cluster import HEAD_SECONDS

WHAT = (
    *("agent.docs=true", "experiment.lineages=6"),
    *("arms.names=[inherit,shuffled,cold]", "arms.ceiling=inherit"),
)
"""The run; where it ends soon most kills meet the start of the next one."""
HOW = (
    *("engine=surrogate", "run.shards=3", "run.lineages_in_flight=4", "log.journal_steps=1"),
    *("engine.replicas=2", "engine.hang_timeout_s=3", "engine.start_timeout_s=120"),
    *("engine.max_restarts=1000", "run.ray_timeout_s=60"),
)
PROGRAM = """
import sys
from lineage.cli import main
from lineage.models import cluster
cluster.HEAD_SECONDS = {}
main(sys.argv[1:])
"""
"""`lineage`, which misses Ray's head so many seconds before it stops."""
SECONDS = 300.0
"""In which a run must come further after a kill."""
WORKER, WORKERS = {"num_cpus": 1}, 3
"""Nodes that may be killed: two of them hold the engines."""
ALL_ANEW = ("keeper", "driver", "head")
"""What the whole run is begun anew after."""
OFTEN = {
    "engine": 6,
    "engine hangs": 4,
    "shard": 6,
    "keeper": 3,
    "node": 4,
    "driver": 5,
    "head": 1,
}
"""How often each kind is drawn; a head is missed for 40 s before the run stops."""


@dataclass
class Outcome:
    """What came of the kills: how many of each kind, the seconds from each to the next step that
    was durable, and of all finished runs the steps that were lost, twice there, or differ."""

    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    runs: int = 0
    steps: int = 0
    lost: int = 0
    twice: int = 0
    differing: int = 0
    told: Counter[str] = field(default_factory=Counter)
    log: str = ""


class Soak:
    """A cluster on this machine, a run on it at a time, and what kills them."""

    def __init__(
        self, folder: Path, ray: str, seed: int, say: Callable[[str], None], head_seconds: float
    ) -> None:
        """`head_seconds`: how long a driver misses Ray's head before it stops."""
        self.folder, self.ray, self.draw, self.say = folder, ray, Random(seed), say
        self.program = PROGRAM.format(head_seconds)
        self.outcome, self.nodes, self.heads = Outcome(), Nodes(), 0
        self.kinds: dict[str, Callable[[], bool]] = {
            "engine": lambda: signalled("ray::Host", self.draw, signal.SIGKILL),
            "engine hangs": lambda: signalled("ray::Host", self.draw, signal.SIGSTOP),
            "shard": lambda: signalled("ray::Shard", self.draw, signal.SIGKILL),
            "keeper": lambda: signalled("ray::Keeper", self.draw, signal.SIGKILL),
            "node": self._kill_node,
            "driver": self._kill_driver,
            "head": self._kill_head,
        }
        run(surrogate(folder, *WHAT), folder / "runs" / "undisturbed")
        self.undisturbed = timeless(folder / "runs" / "undisturbed")
        self.driver: subprocess.Popen[bytes] | None = None
        self.run = folder

    def __enter__(self) -> Soak:
        # The head has room for no engine, only for keeper and driver.
        self.nodes.add_node(num_cpus=0, temp_dir=f"{self.ray}{self.heads}", **NODE)
        for _ in range(WORKERS):
            self.nodes.add_node(**WORKER, **NODE)
        return self

    def __exit__(self, *raised: object) -> None:
        if self.driver is not None:
            self.driver.kill()
            self.driver.wait()
        self.nodes.shutdown()

    def soak(self, kills: int, weights: Mapping[str, int]) -> Outcome:
        """Spend so many `kills`, finish what was begun, and return what came of it."""
        more = self.draw.choices(list(weights), list(weights.values()), k=kills)
        kinds = [*weights, *more][:kills]
        self.draw.shuffle(kinds)
        self._begin()
        while kinds:
            # Some meet what the last one left, others what has long gone on.
            self._last(self.draw.choice((0.0, 0.5, 2.0, 6.0)))
            if self._finished():
                self._compare()
                self._begin()
                continue
            self._go_on()
            if not (any(self.run.glob("done/*.json")) and self.kinds[kinds[-1]]()):
                continue
            kind = kinds.pop()
            self.outcome.kills[kind] += 1
            self._recover(kind)
        while not self._finished():
            self._go_on()
            time.sleep(0.1)
        self._compare()
        self.outcome.log = (self.folder / "driver.log").read_text()
        return self.outcome

    def _last(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.driver and self.driver.poll() is None:
            time.sleep(0.05)

    def _begin(self) -> None:
        """Begin the next run."""
        self.run, self.driver = self.folder / "runs" / f"run{self.outcome.runs}", None
        self._go_on()

    def _go_on(self) -> None:
        """Have a driver, where there is none yet or the last one ended before the run did."""
        if self.driver is not None and self.driver.poll() is None:
            return
        words = ["resume", str(self.run)]
        if not (self.run / "config.yaml").exists():
            where = (f"run.root={self.run.parent}", f"run.cache={self.folder / 'cache'}")
            place = (f"run.name={self.run.name}", "run.ray_address=auto")
            words = ["run", *HOW, *WHAT, *where, *place]
        with (self.folder / "driver.log").open("ab") as log:
            command = [sys.executable, "-c", self.program, *words]
            # So that a run finds the head that was started last.
            where = {**os.environ, "RAY_ADDRESS": self.nodes.address}
            self.driver = subprocess.Popen(command, stdout=log, stderr=log, env=where)

    def _finished(self) -> bool:
        return self.driver is not None and self.driver.poll() == 0

    def _recover(self, kind: str) -> None:
        """Wait until all is at work again that was, and a step later than that is durable."""
        since, clock = time.monotonic(), time.time()
        whole = 0.0
        while not self._finished():
            self._go_on()
            if not whole and self._whole(clock if kind in ALL_ANEW else 0.0):
                whole = time.time()
            if whole and newest(self.run) > max(whole, clock):
                seconds = time.monotonic() - since
                self.outcome.seconds.setdefault(kind, []).append(seconds)
                self.say(f"{self.outcome.kills.total():4}  {kind:<13} {seconds:6.1f} s")
                return
            if time.monotonic() - since > SECONDS:
                raise AssertionError(f"nothing is done {SECONDS:g} s after: {kind}")
            time.sleep(0.05)
        self.say(f"{self.outcome.kills.total():4}  {kind:<13}   the run ended")

    def _whole(self, since: float) -> bool:
        """Whether engines, keeper and shards begun after `since` are all there, none stopped."""

        def at_work(one: psutil.Process) -> bool:
            with suppress(psutil.Error):
                return one.create_time() > since and one.status() != psutil.STATUS_STOPPED
            return False

        titles = {"ray::Host": 2, "ray::Keeper": 1, "ray::Shard": 3}
        return all(sum(map(at_work, processes(title))) >= count for title, count in titles.items())

    def _kill_driver(self) -> bool:
        if self.driver is None or self.driver.poll() is not None:
            return False
        self.driver.kill()
        self.driver.wait()
        return True

    def _kill_node(self) -> bool:
        """Kill a node that is not the head with all that is on it, and add another."""
        lost = self.draw.choice([one for one in self.nodes.list_all_nodes() if not one.head])
        self.nodes.remove_node(lost, allow_graceful=False)
        self.nodes.add_node(**WORKER, **NODE)
        return True

    def _kill_head(self) -> bool:
        """Kill what the head knows of the cluster; once the driver has noticed, start all anew."""
        if self.driver is None:
            return False
        self.nodes.head_node.kill_gcs_server()
        self.driver.wait(SECONDS)
        self.nodes.shutdown()
        self.nodes, self.heads = Nodes(), self.heads + 1
        self.__enter__()
        return True

    def _compare(self) -> None:
        """Compare the run that is finished with that which nobody disturbed."""
        found = timeless(self.run)
        ids = Counter(step["step_id"] for step in found)
        wanted = {step["step_id"]: step for step in self.undisturbed}
        self.outcome.runs += 1
        self.outcome.steps += len(found)
        self.outcome.lost += len(wanted.keys() - ids.keys())
        self.outcome.twice += sum(ids.values()) - len(ids)
        self.outcome.differing += sum(wanted.get(step["step_id"]) != step for step in found)
        self.outcome.told.update(met(read_sittings(self.run)) or {})


def signalled(title: str, draw: Random, what: signal.Signals) -> bool:
    """Send a signal to one of the processes of a `title`; return whether there was one."""
    found = processes(title)
    if found:
        chosen = draw.choice(found)
        with suppress(psutil.Error):
            chosen.send_signal(what)
            if what == signal.SIGKILL:
                chosen.wait(SECONDS)
            return True
    return False


def newest(run: Path) -> float:
    """Return when a step of the run was made durable last, in seconds since the epoch."""
    times = [0.0]
    for file in (*run.glob("journal/*.jsonl"), *run.glob("done/*.json")):
        with suppress(FileNotFoundError):
            times.append(file.stat().st_mtime)
    return max(times)


def soaked(
    kills: int,
    seed: int,
    weights: Mapping[str, int] = OFTEN,
    say: Callable[[str], None] = print,
    head_seconds: float = HEAD_SECONDS,
) -> Outcome:
    """Return what came of so many `kills`, drawn from `seed`: each kind once where they suffice,
    then as often as `weights`."""
    with (
        tempfile.TemporaryDirectory(prefix="lineage-soak-") as folder,
        place() as ray,
        pytest.MonkeyPatch.context() as patch,
    ):
        prepare(patch, ray)
        try:
            with Soak(Path(folder), ray, seed, say, head_seconds) as soak:
                return soak.soak(kills, weights)
        except BaseException:
            say((Path(folder) / "driver.log").read_text()[-2000:])
            raise


def told(outcome: Outcome) -> str:
    """Return what came of the kills, in a few lines."""
    lines = [
        f"{outcome.kills.total()} kills over {outcome.runs} finished runs of "
        f"{outcome.steps // max(1, outcome.runs)} steps: lost {outcome.lost}, twice "
        f"{outcome.twice}, differing {outcome.differing}"
    ]
    for kind, count in sorted(outcome.kills.items()):
        times = outcome.seconds.get(kind, [])
        took = f"median {median(times):.1f} s, longest {max(times):.1f} s" if times else "n/a"
        lines.append(f"{kind:<13} {count:3} kills, at work again after: {took} (n={len(times)})")
    lines.append(f"the runs tell: {dict(outcome.told)}")
    return "\n".join(lines)


def main() -> None:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time; it is shown")
    options = parser.parse_args()
    seed = options.seed or time.time_ns() % 1_000_000
    print(f"seed {seed}")
    outcome = soaked(options.kills, seed)
    print(told(outcome))
    sys.exit(bool(outcome.lost or outcome.twice or outcome.differing))


if __name__ == "__main__":
    main()
