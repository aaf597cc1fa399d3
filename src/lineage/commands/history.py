"""What the git history of a folder of memory tells: a sentence, who wrote what, each entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage.core.credentials import redact
from lineage.core.knowledge import EMPTY, IMPORT, Memory, Origin
from lineage.core.lives import DAY, Life, Median, median_life
from lineage.core.text import one_line, say, unfolded
from lineage.report.terminal import new_table, plain

if TYPE_CHECKING:
    from lineage.markdown.history import History

NOT_SAID = "n/a"
CONFIDENCE = 0.95
SHOWN = 40
"""Characters of an entry in a table."""


def history_of(folder: Path, revision: str, format: str) -> History | None:
    """Return the history of `folder`, which need not be in git; None where no commit has it.

    Raises LineageError where the repository cannot be read.
    """
    from lineage.markdown.git import is_near_git, place_of
    from lineage.markdown.history import read_history

    if not is_near_git(folder):
        return None
    place = place_of(folder)
    return read_history(place, revision, format) if place is not None else None


def sentence(history: History) -> str:
    """Return in a sentence what lived how long, by whom, and what was undone."""
    models = {name for one in history.snapshots for name in one.by}
    undone = sum(life.undone for life in history.lives)
    days = [_date(history.snapshots[0].at), _date(history.end)]
    by = f" by {_many(len(models), 'model')}" if models else ", none of which names a model"
    parts = [
        f"history: {_many(len(history.lives), 'entry', 'entries')} over "
        f"{_many(len(history.commits), 'commit')} from {days[0]} to {days[1]}{by}: "
        f"{_half(_median(history, history.lives))}",
        f"{_many(undone, 'change')} {'was' if undone == 1 else 'were'} reverted",
    ]
    if not history.whole:
        parts.append("commits before the first of these are not read, or not in this clone")
    return "; ".join(parts)


def show_history(console: Console, history: History, each: bool, most: int | None) -> None:
    """Print who wrote what and how long it lives; `each`: and what became of `most` entries."""
    table = new_table()
    table.add_column("model", no_wrap=True)
    for name in ("written", "still there", "revised", "dropped", "reverted"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("half gone after days", no_wrap=True)
    for row in _by_model(history):
        counts = (f"{row[k]:,}" for k in ("written", "there", "revised", "dropped", "reverted"))
        table.add_row(plain(row["model"] or NOT_SAID), *counts, _bounds(row["median"]))
    unfolded(console).print(table)
    if each:
        _show_each(console, history, most)


def document(history: History | None) -> dict[str, Any] | None:
    """Return all of it as JSON has it; None where there is none."""
    if history is None:
        return None
    texts = _texts(history)
    return {
        "sentence": sentence(history),
        "commits": [
            {"commit": one.commit, "at": _moment(one.at), "models": list(one.by)}
            for one in history.snapshots
        ],
        "whole": history.whole,
        "until": _moment(history.end),
        "median": asdict(_median(history, history.lives)),
        "models": [row | {"median": asdict(row["median"])} for row in _by_model(history)],
        "entries": [
            {
                "kind": life.last.kind,
                "path": life.last.path,
                "text": text,
                "there": life.gone is None,
                "days": _days(history, life),
                "events": [
                    {
                        "what": one.what,
                        "commit": history.snapshots[one.index].commit,
                        "at": _moment(history.snapshots[one.index].at),
                        "models": list(history.snapshots[one.index].by),
                        "reverted_by": None
                        if one.undone is None
                        else history.snapshots[one.undone].commit,
                    }
                    for one in life.events
                ],
            }
            for life, text in zip(history.lives, texts, strict=True)
        ],
    }


def written_by(history: History) -> dict[tuple[str, str, str], str]:
    """Return by kind, title and text of what is still there who wrote it last, and when."""
    found = {}
    for life in history.lives:
        if life.gone is None:
            last = [one.index for one in life.events if one.what != "moved"][-1]
            found[life.last.says] = f"{_models(history, last)}, {_when(history, last)}"
    return found


def _show_each(console: Console, history: History, most: int | None) -> None:
    table = new_table()
    for name in ("written", "by", "until"):
        table.add_column(name, no_wrap=True)
    table.add_column("days", justify="right", no_wrap=True)
    table.add_column("meanwhile", overflow="fold")
    table.add_column("memory, or title of a doc", overflow="ellipsis", no_wrap=True)
    texts = _texts(history)
    for life, text in list(zip(history.lives, texts, strict=True))[:most]:
        line = one_line(text)
        days = _days(history, life)
        cells = (
            _when(history, life.born),
            _models(history, life.born),
            "there" if life.gone is None else _when(history, life.gone),
            NOT_SAID if days is None else f"{days:.0f}",
            _meanwhile(life),
            line if len(line) <= SHOWN else line[: SHOWN - 1] + "…",
        )
        table.add_row(*map(plain, cells))
    console.print()
    unfolded(console).print(table)
    if most is not None and len(texts) > most:
        say(console, f"the first {most:,} of {len(texts):,} entries; all of them with --all")


def _by_model(history: History) -> list[dict[str, Any]]:
    """Return a row a model, and one for commits that name none; one that names two counts twice."""
    by = [one.by or (None,) for one in history.snapshots]
    rows = []
    for model in dict.fromkeys(name for names in by for name in names):
        its = [model in names for names in by]
        own = [life for life in history.lives if its[life.born] and _is_known(history, life)]
        events = [one for life in history.lives for one in life.events if its[one.index]]
        rows.append(
            {
                "model": model,
                "written": len(own),
                "there": sum(life.gone is None for life in own),
                "revised": sum(one.what == "revised" for one in events),
                "dropped": sum(one.what == "dropped" for one in events),
                "reverted": sum(one.undone is not None for one in events),
                "median": _median(history, own),
            }
        )
    return rows


def _median(history: History, found: Sequence[Life]) -> Median:
    return median_life(history.snapshots, found, history.end, CONFIDENCE, history.whole)


def _is_known(history: History, life: Life) -> bool:
    """Whether it is known when `life` began: not where older commits are not read."""
    return history.whole or life.born > 0


def _days(history: History, life: Life) -> float | None:
    if not _is_known(history, life):
        return None
    until = history.end if life.gone is None else history.snapshots[life.gone].at
    return (until - history.snapshots[life.born].at) / DAY


def _texts(history: History) -> list[str]:
    """Return how each entry is called, its text or its title, without credentials."""
    nobody = Origin(0, IMPORT, "")
    said = (life.last.title or life.last.text for life in history.lives)
    memories = tuple(Memory(f"m{n}", text, nobody, nobody) for n, text in enumerate(said))
    return [memory.text for memory in redact(EMPTY.evolve(memories=memories)).knowledge.memories]


def _models(history: History, index: int) -> str:
    if index == 0 and not history.whole:
        return NOT_SAID
    return " + ".join(history.snapshots[index].by) or NOT_SAID


def _when(history: History, index: int) -> str:
    before = "" if index or history.whole else "by "
    return before + _date(history.snapshots[index].at)


def _meanwhile(life: Life) -> str:
    counts = {
        what: sum(one.what == what for one in life.events)
        for what in ("revised", "moved", "restored")
    }
    said = [f"{what} {count}x" if count > 1 else what for what, count in counts.items() if count]
    return ", ".join([*said, *([f"{life.undone} reverted"] if life.undone else [])])


def _half(median: Median) -> str:
    if median.days is None:
        return "more than half of what was written is still there"
    return f"half of what is written lives longer than {_bounds(median, ' days')}"


def _bounds(median: Median, unit: str = "") -> str:
    if median.days is None:
        return NOT_SAID
    low, high = (NOT_SAID if one is None else f"{one:.0f}" for one in (median.low, median.high))
    return f"{median.days:.0f}{unit} [{low}, {high}]"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _date(at: int) -> str:
    return _moment(at)[:10]


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
