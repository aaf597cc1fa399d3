"""The nodes of a Ray cluster on which shards may be, and what their actors died of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lineage.core.errors import LineageError, last_line
from lineage.log.record import RECORD
from lineage.models.asking import answer
from lineage.runs.shard import sees

START_SECONDS = 60.0
"""How long a node may take to start a process."""


def alive() -> list[str]:
    """Return the ids of the nodes that Ray takes to be there."""
    return sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])


async def seeing(folder: Path, nodes: Sequence[str]) -> frozenset[str]:
    """Return which of `nodes` see the run's `folder`: this one, and who shares it."""
    here = ray.get_runtime_context().get_node_id()
    others, record = [node for node in nodes if node != here], (folder / RECORD).read_bytes()
    look = ray.remote(sees)
    asked = (
        look.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(folder, record)
        for node in others
    )
    found = await asyncio.gather(*(answer(one, START_SECONDS) for one in asked))
    mine = [here] if here in nodes else []
    return frozenset((*mine, *(node for node, seen in zip(others, found, strict=True) if seen)))


def refusal(error: RayError) -> str:
    """Return why the actor of a shard could not be made, "" where it was."""
    if "creation task" not in str(error):
        return ""
    return last_line(error).rpartition(f"{LineageError.__name__}: ")[2]
