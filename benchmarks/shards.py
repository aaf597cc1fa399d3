"""How many requests a second a fleet of instant engines answers, over 1 to 4 Ray nodes.

    python benchmarks/shards.py                 1 to 4 nodes of this machine, a shard each
    python benchmarks/shards.py --nodes 2 --lineages 3400    10,200 in flight

On one node there is one shard, which is the driver. The nodes share the processors of this machine:
what more of them bring is bounded by these, and by other work on it. From the first finished
generation to the last: the requests a second, what share of a core the driver takes, and how many
requests it would see through in a second that is all its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import lineage.models  # what Ray reads when it is first imported

# isort: split
import ray
from ray.cluster_utils import Cluster as Nodes
from rich.console import Console
from rich.table import Table

import lineage
from lineage import compose
from lineage.models.cluster import PLACE, TOKEN
from lineage.runs.run import execute

NODE: dict[str, Any] = {"object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
EVERY = 0.05
"""Seconds between two looks at whether a generation is finished."""


def measured(folder: Path, nodes: int, lineages: int) -> tuple[int, float, float]:
    """Return requests, seconds and the driver's processor seconds of a run over so many `nodes`."""
    config = compose.load(
        [
            "engine=surrogate",
            "engine.hosted=true",
            "experiment=tiny",
            f"engine.replicas={nodes}",
            f"experiment.lineages={lineages}",
            "arms.names=[inherit,cold,oracle]",
            f"run.shards={nodes}",
            f"run.root={folder / 'runs'}",
            f"run.cache={folder / 'cache'}",
            f"run.lineages_in_flight={3 * lineages}",
        ]
    )
    run, first = folder / "runs" / f"over-{nodes}", list[tuple[float, float]]()

    def look() -> None:
        while not first:
            if any(run.glob("done/*.json")):
                first.append(clocks())
            time.sleep(EVERY)

    threading.Thread(target=look, daemon=True).start()
    execute(config, run, Console(quiet=True), report=False)
    seconds, driver = (now - then for now, then in zip(clocks(), first[0], strict=True))
    with lineage.open(run) as log:
        ((requests,),) = log.sql("SELECT count(*) FROM steps WHERE prompt_tokens > 0").fetchall()
    return int(requests), seconds, driver


def clocks() -> tuple[float, float]:
    """Return the time, and the processor time of this process."""
    return time.monotonic(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4], help="how many")
    parser.add_argument(
        "--lineages", type=int, default=100, help="pairs, of three arms each: all in flight"
    )
    options = parser.parse_args()
    table = Table("nodes", "requests", "requests a second", "driver, of a core", "its bound")
    folder = Path(tempfile.mkdtemp(prefix="lineage-"))
    token = folder / "auth_token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    # Where Ray notes which cluster is the latest, in a folder that it takes to be there.
    (folder / "ray").mkdir()
    os.environ |= {PLACE: str(token), "RAY_TMPDIR": str(folder)}
    try:
        cluster = Nodes()
        try:
            for count in sorted(options.nodes):
                while (there := len(cluster.list_all_nodes())) < count:
                    head = {} if there else {"temp_dir": str(folder / "r")}
                    cluster.add_node(num_cpus=1, **NODE, **head)
                ray.init(address=cluster.address, log_to_driver=False)
                requests, seconds, driver = measured(folder, count, options.lineages)
                ray.shutdown()
                rate, of_core = requests / seconds, driver / seconds
                bound = requests / driver
                told = f"{requests:,}", f"{rate:,.0f}", f"{of_core:.1%}", f"{bound:,.0f}"
                table.add_row(str(count), *told)
        finally:
            ray.shutdown()
            cluster.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console().print(table)


if __name__ == "__main__":
    main()
