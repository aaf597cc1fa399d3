"""`receipt.html`, and the same tables for the terminal: what a memory is worth at an upgrade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lineage.report.figures import memory_by_version
from lineage.report.headline import banner
from lineage.report.page import drawn, page, pictured, text, warned
from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds, gained, noted

LABEL = 60
"""Characters of an entry in a table."""
ARMS = {
    "old-without": "without memory",
    "old-as-it-is": "memory as it is",
    "without": "without memory",
    "as-it-is": "memory as it is",
    "advised": "memory as advised",
}
FEW = 3
"""Tasks of an entry that a table names; receipt.json names all."""
MARKS = ("stale", "contradicted", "unused", "repeated")
ORDER = ("drop", "revise", "keep")
HOPEFUL = (
    "memory as advised was chosen by these very tasks, so its score is too hopeful: ask other tasks"
)

Receipt = Mapping[str, Any]


def receipt_sheets(found: Receipt) -> tuple[Sheet, ...]:
    """Return the tables of a receipt: arms, entries, price, cost."""
    return (_arms(found), _entries(found), _price(found), _cost(found))


def receipt_html(found: Receipt) -> str:
    """Return the page of a receipt: one file, all text escaped."""
    verdict = found["verdict"]
    names = (found["from"], found["to"])
    scores = [(arm["version"], _received(arm), arm["score"]) for arm in found["arms"]]
    return page(
        f"receipt: {found['folder']}, {found['from']} to {found['to']}",
        warned(banner(found["engine"], names)),
        f'<p class="answer">{text(verdict["sentence"])}</p>',
        f"<p>{text(advice_words(found))}</p>",
        pictured([memory_by_version(scores)]),
        *(drawn(sheet) for sheet in receipt_sheets(found)),
        f"<p><small>{text(_how(found))}</small></p>",
        f"<p><small>{text(_origin(found))}</small></p>",
    )


def advice_words(found: Receipt) -> str:
    """Return in a sentence how many entries to keep, revise and drop."""
    advice = found["advice"]
    numbers = ", ".join(f"{len(advice[word])} to {word}" for word in ("keep", "revise", "drop"))
    every = sum(map(len, advice.values()))
    return f"Of {every} entries {numbers}."


def _arms(found: Receipt) -> Sheet:
    rows = tuple(
        (
            row["version"],
            _received(row),
            bounds(row["score"]) if row["score"] else NOT_COMPUTED,
            bounds(row["gain"], signed=True) if row["gain"] else NOT_COMPUTED,
            _tokens(row["memory_tokens"]),
            _tokens(row["doc_tokens"]),
        )
        for row in found["arms"]
    )
    level = f"{found['confidence']:.0%}"
    hopeful = HOPEFUL if any(row["arm"] == "advised" for row in found["arms"]) else ""
    note = noted(f"mean over {found['tasks']} tasks [{level} interval]", hopeful)
    head = ("version", "receives", "score", "over without", "memory tokens", "doc tokens")
    return Sheet("what each version makes of the memory", head, rows, note, left=2)


def _entries(found: Receipt) -> Sheet:
    entries = sorted(found["entries"], key=lambda one: ORDER.index(one["advice"]))
    rows = tuple(
        (
            one["advice"],
            one["id"],
            _cut(one["text"]),
            one["why"],
            NOT_COMPUTED if one["worth"] is None else f"{one['worth']:+.2f}",
            gained(_starred(one)).strip() if one["overall"] else NOT_COMPUTED,
            f"{one['tokens']:,}",
            ", ".join(mark for mark in MARKS if one[mark]) or "-",
            _few(one["about"]),
        )
        for one in entries
    )
    head = (
        *("advice", "id", "memory, or title of a doc", "why"),
        *("worth on its tasks", "worth on all", "tokens", "marks", "its tasks"),
    )
    note = noted(
        "worth: what the score loses without the entry",
        "n/a: left out only in a group, which moved nothing",
        "* beyond chance, of all entries together (Benjamini and Hochberg 1995)",
        "its tasks: those that its words are about, few of them: look before you drop",
    )
    return Sheet("what each entry is worth", head, rows, note, left=4)


def _few(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - FEW} more" if len(tasks) > FEW else ""
    return (", ".join(tasks[:FEW]) or "-") + more


def _starred(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one["overall"], "starred": one["real"]}


def _price(found: Receipt) -> Sheet:
    price = found["price"]
    rows = tuple(
        (when, _received(row))
        + tuple(_tokens(row[name]) for name in ("memory_tokens", "doc_tokens", "prompt_tokens"))
        for when, row in (("before", price["before"]), ("after", price["after"]))
    )
    head = ("", "receives", "memory tokens", "doc tokens", "whole prompt")
    note = f"tokens a prompt; before by {found['from']}, after by {found['to']}, each by its own"
    return Sheet("price of the memory", head, rows, f"{note} tokenizer", left=2)


def _cost(found: Receipt) -> Sheet:
    cost = found["cost"]
    money = NOT_COMPUTED if cost["money"] is None else f"{cost['money']:,.2f}"
    row = tuple(f"{cost[name]:,}" for name in ("completions", "prompt_tokens", "completion_tokens"))
    head = ("completions", "tokens read", "tokens written", "seconds", "money")
    note = noted(
        "what is asked twice is answered once",
        "" if cost["money"] is not None else "money: by run.price_hour, run.price_million_tokens "
        "and the prices of versions behind an API",
    )
    return Sheet("cost of finding out", head, ((*row, f"{cost['seconds']:,.0f}", money),), note, 0)


def _how(found: Receipt) -> str:
    return (
        f"Differences are paired by task; intervals are over tasks, which are taken to be "
        f"independent. Contrasts that decide are tested together at "
        f"{1 - found['confidence']:.0%} (Benjamini and Hochberg 1995). Worth nothing: the whole "
        f"interval is within {found['margin']:g} of 0. Tasks that would tell: "
        f"{found['verdict']['formula']}, with d = {found['margin']:g} and power "
        f"{found['power']:g}. An entry is about a task by its words alone. "
        f"{found['left_out'].capitalize()}."
    )


def _origin(found: Receipt) -> str:
    commit = str(found["commit"] or NOT_COMPUTED)[:7]
    machine = found["machine"] or {}
    return (
        f"commit {commit}; {machine.get('processor', NOT_COMPUTED)}, "
        f"{machine.get('cores', NOT_COMPUTED)} cores; engine {found['engine']}; "
        f"command: {found['command'] or NOT_COMPUTED}"
    )


def _received(row: Mapping[str, Any]) -> str:
    return ARMS.get(row["arm"], f"migrated by {row['arm']}")


def _tokens(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{value:,.0f}"


def _cut(label: str) -> str:
    line = " ".join(label.split())
    return line if len(line) <= LABEL else line[: LABEL - 1] + "…"
