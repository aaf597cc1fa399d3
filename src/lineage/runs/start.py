"""What the lineages of a run begin with: nothing, imported Markdown, or a fork of another run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from lineage.core.config import Config, RunConfig, StartConfig
from lineage.core.credentials import Redacted, redact
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.lives import Snapshot
from lineage.core.urls import is_url
from lineage.log.reader import knowledge_of, read_snapshots
from lineage.markdown.folder import read_folder
from lineage.markdown.history import at_commit, read_at
from lineage.runs.replay import replayed
from lineage.runs.told import History, history_of


@dataclass(frozen=True)
class Start:
    """The Knowledge of the first generation, its ancestry, and which generation and pairs run.

    `ancestry` are the snapshots that lead to `knowledge`, so that the run's own log holds them.
    Of a folder `warnings` say what is not as it may seem, and `redacted` what was taken out of it.
    """

    knowledge: Knowledge = EMPTY
    ancestry: tuple[Knowledge, ...] = ()
    generation: int = 0
    pairs: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    redacted: Redacted = field(default_factory=lambda: Redacted(EMPTY))
    replayed: tuple[Snapshot, ...] = ()
    """What each generation of an arm that replays a git history leaves."""
    history: History = field(default_factory=History)
    """What migrations may read beside it: episodes that lived elsewhere."""


def start_of(config: Config, replays: bool = False) -> Start:
    """Return where the lineages of `config` begin; `replays`: with the history of the folder.

    Raises LineageError where a fork's run or snapshot is not there, or a folder is no Knowledge.
    """
    start, every = config.start, tuple(range(config.experiment.lineages))
    if start.folder and start.run:
        raise LineageError("start.folder and start.run are both set: leave one null")
    if start.folder:
        begun = from_folder(start.folder, start, every)
        begun = replace(begun, history=history_of(start))
        return replace(begun, replayed=replayed(config)) if replays else begun
    if replays:
        raise LineageError(
            "arm 'replay' replays the git history of a memory folder: set start.folder=REPO@COMMIT"
        )
    if not start.run:
        return Start(pairs=every)
    if start.generation + 1 >= len(config.schedule.versions):
        raise LineageError(
            f"generation {start.generation} left that Knowledge and the schedule ends there: "
            "name more versions in schedule.versions"
        )
    run, snapshots = _folder_of(start.run, config.run), {EMPTY.id: EMPTY}
    for id, parent, content in read_snapshots(run, start.pair):
        # The first parent counts: content that comes back later would close a circle.
        snapshots.setdefault(id, knowledge_of(content, parent, run))
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


@cache
def _folder_of(start: str, run: RunConfig) -> Path:
    """Return the folder of the run that `start` names, a copy of one with a URL: made once."""
    if not is_url(start):
        return Path(start)
    # Arrow takes a moment to load, which folders need not wait for.
    from lineage.runs.stored import read_from

    return read_from(run, start)


def from_folder(folder: str, start: StartConfig, pairs: tuple[int, ...]) -> Start:
    """Return the start with what `folder` holds, without the credentials in it unless kept.

    REPO@COMMIT is what it held there. Raises LineageError as `read_folder` and `read_at` do.
    """
    named = at_commit(folder)
    found = read_at(*named).reading if named else read_folder(Path(folder))
    redacted = redact(found.knowledge)
    if start.secrets == "keep":
        redacted = Redacted(found.knowledge, redacted.kinds)
    came = redacted.knowledge.rooted()
    return Start(came, pairs=pairs, warnings=found.warnings, redacted=redacted)
