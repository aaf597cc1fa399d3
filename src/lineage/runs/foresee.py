"""What becomes of the entries of a folder, before anything is asked. Pure but for `foreseen`.

What a model will write is not known before; what the memory budget holds is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lineage.agent.budget import may_help
from lineage.agent.index import Index, index_of
from lineage.agent.migrations.distil import distilled
from lineage.agent.prompt import memory_block
from lineage.core.config import Config
from lineage.core.edits import overflow
from lineage.core.errors import LineageError
from lineage.core.knowledge import Doc, Knowledge, Memory
from lineage.models.counting import counter_of
from lineage.models.protocol import TokenCounter
from lineage.models.versions import window_of
from lineage.runs.arms import Arm

KEPT, CHANGED, CUT = "kept", "changed", "cut"
NOTHING = ("none", "rebuild")
"""Migrations that hand nothing of what came on."""
NAMED = 5
"""Entries that an error names; the others are counted."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one entry and why; `what` is `KEPT`, `CHANGED` or `CUT`.

    `label` is its text, or the title of a doc; `tokens` are those of its text or body. Not `sure`:
    a model is asked first, which may make room. `mark` says that credentials were taken out of it.
    """

    entry: str
    what: str
    why: str
    label: str
    tokens: int
    sure: bool = True
    mark: str = ""

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return "; ".join(filter(None, (self.why, self.mark)))


@dataclass(frozen=True)
class Foresight:
    """What a migration of `kind` to `version` makes of Knowledge.

    `tokens` are those of all memories as a prompt holds them, of `budget`. Without `counted` the
    version's tokenizer is not here, and what the budget holds is not known: nothing is cut by it.
    """

    version: str
    kind: str
    budget: int
    tokens: int
    fates: tuple[Fate, ...]
    counted: bool = True

    def of(self, what: str) -> tuple[Fate, ...]:
        """Return the fates that are `what`."""
        return tuple(fate for fate in self.fates if fate.what == what)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        numbers = ", ".join(f"{len(self.of(what)):,} {what}" for what in (KEPT, CHANGED, CUT))
        used = f"{self.tokens:,} of {self.budget:,} tokens" if self.counted else "n/a tokens"
        count = f"{len(self.fates):,} {'entry' if len(self.fates) == 1 else 'entries'}"
        return f"{self.kind} to {self.version}: of {count} {numbers}; memories take {used}"


@dataclass(frozen=True)
class Reader:
    """Who is to read: a version, its window and counter, and the migration that brings it there."""

    config: Config
    version: str
    kind: str
    count: TokenCounter | None
    window: int
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def foresee(knowledge: Knowledge, reader: Reader) -> Foresight:
    """Return what becomes of each entry of `knowledge`; `reader.secrets` were taken out of it."""
    count = reader.count or (lambda text: 0)
    budget = reader.config.agent.budget(reader.window)
    fitted = reader.count is not None and reader.kind not in NOTHING
    index = index_of(knowledge.docs, reader.config.agent, budget, count)
    cut, sure = _cut(knowledge, reader, budget, index) if fitted else ({}, True)
    fates = tuple(
        replace(fate, sure=sure) if fate.entry in cut else fate
        for fate in (_fate(entry, reader, cut, count) for entry in knowledge.entries)
    )
    tokens = count(memory_block(knowledge, index=index.block))
    return Foresight(reader.version, reader.kind, budget, tokens, fates, reader.count is not None)


def _fate(entry: Memory | Doc, reader: Reader, cut: Mapping[str, str], count: TokenCounter) -> Fate:
    is_doc = isinstance(entry, Doc)
    label, text = (entry.title, entry.body) if isinstance(entry, Doc) else (entry.text, entry.text)
    most, tokens = reader.config.agent.doc_tokens, count(text)
    long = is_doc and (tokens > most or len(label) > reader.config.agent.doc_title_chars)
    what, why = KEPT, ""
    if reader.kind in NOTHING:
        what, why = CUT, f"migration {reader.kind} hands nothing of it on"
    elif entry.id in cut:
        what, why = CUT, cut[entry.id]
    elif reader.kind == "rewrite" and not long:
        what, why = CHANGED, f"restated by {reader.version}"
    elif long:
        why = f"{tokens:,} tokens: a prompt holds its first sections, up to agent.doc_tokens={most}"
        if tokens <= most:
            why = "a prompt holds the beginning of its title, up to agent.doc_title_chars"
    mark = ""
    if entry.id in reader.secrets:
        mark = f"in prompts and log a mark stands for: {', '.join(reader.secrets[entry.id])}"
        what = CHANGED if what == KEPT else what
    return Fate(entry.id, what, why, label, tokens, mark=mark)


def _cut(
    knowledge: Knowledge, reader: Reader, budget: int, index: Index
) -> tuple[dict[str, str], bool]:
    """Return why memories go that the budget does not hold, by id, and whether that is sure."""
    assert reader.count is not None
    count, said = reader.count, over_budget(budget)
    if reader.kind == "distil":
        share = reader.config.migration.distil_share
        budget = distilled(budget, index.tokens, share)
        said = f"{said} x migration.distil_share={share:g}"

    def fits(some: Knowledge) -> bool:
        return count(memory_block(some, index=index.block)) <= budget

    dropped = overflow(knowledge, fits, frozenset())
    gone = {change.outcome.entry for change in dropped}
    sure = reader.kind in ("verbatim", "verify") and not may_help(knowledge, gone)
    said += "" if sure else f", unless {reader.version} says it in less"
    return dict.fromkeys(gone, said), sure


def over_budget(budget: int) -> str:
    """Return why a memory goes that a `budget` of so many tokens does not hold."""
    return f"over agent.memory_budget={budget}"


def foreseen(
    config: Config,
    arms: Sequence[Arm],
    knowledge: Knowledge,
    secrets: Mapping[str, tuple[str, ...]],
) -> tuple[Foresight, ...]:
    """Return what the first generation of each arm that inherits `knowledge` makes of it.

    Arms with the same first version and migration are one.
    """
    firsts = dict.fromkeys((a.versions[0], a.migration) for a in arms if a.receives.hands_over)
    return tuple(
        foresee(
            knowledge,
            Reader(
                config,
                version,
                kind,
                counter_of(config, version),
                window_of(config, version),
                secrets,
            ),
        )
        for version, kind in firsts
    )


def check_kept(found: Sequence[Foresight], allow: str, unsure: bool = True) -> None:
    """Raise LineageError, which ends with how to `allow` it, where an entry would be lost.

    Without `unsure` only where that is sure.
    """
    for one in found:
        if lost := [fate for fate in one.of(CUT) if unsure or fate.sure]:
            names = ", ".join(fate.entry for fate in lost[:NAMED])
            more = f" and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
            taken = f"they take {one.tokens:,} tokens of {one.budget:,}"
            raise LineageError(
                f"{len(lost):,} of {len(one.fates):,} entries would be lost with {one.version} "
                f"({names}{more}; {taken}): raise agent.memory_budget, or {allow}"
            )
