"""What the lineages of a run begin with: nothing, imported Markdown, or a fork of another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.log.reader import knowledge_of, read_snapshots
from lineage.markdown.folder import import_knowledge


@dataclass(frozen=True)
class Start:
    """The Knowledge of the first generation, its ancestry, and which generation and pairs run.

    `ancestry` are the snapshots that lead to `knowledge`, so that the run's own log holds them.
    """

    knowledge: Knowledge = EMPTY
    ancestry: tuple[Knowledge, ...] = ()
    generation: int = 0
    pairs: tuple[int, ...] = ()


def start_of(config: Config) -> Start:
    """Return where the lineages of `config` begin.

    Raises LineageError where a fork's run or snapshot is not there, or a folder is no Knowledge.
    """
    start, every = config.start, tuple(range(config.experiment.lineages))
    if start.folder and start.run:
        raise LineageError("start.folder and start.run are both set: leave one null")
    if start.folder:
        return Start(import_knowledge(Path(start.folder)).rooted(), pairs=every)
    if not start.run:
        return Start(pairs=every)
    if start.generation + 1 >= len(config.schedule.versions):
        raise LineageError(
            f"generation {start.generation} left that Knowledge and the schedule ends there: "
            "name more versions in schedule.versions"
        )
    snapshots = {EMPTY.id: EMPTY}
    for id, parent, content in read_snapshots(Path(start.run), start.pair):
        # The first parent counts: content that comes back later would close a circle.
        snapshots.setdefault(id, knowledge_of(content, parent, Path(start.run)))
    if start.knowledge not in snapshots:
        raise LineageError(f"{start.run} has no Knowledge {start.knowledge!r}: see lineage log")
    chain = [snapshots[start.knowledge]]
    while chain[-1].parent:
        if chain[-1].parent not in snapshots:
            raise LineageError(
                f"{start.run} lacks {chain[-1].parent}, an ancestor of {start.knowledge}: "
                "fork from a whole run"
            )
        chain.append(snapshots[chain[-1].parent])
    return Start(chain[0], tuple(chain[1:]), start.generation + 1, (start.pair,))
