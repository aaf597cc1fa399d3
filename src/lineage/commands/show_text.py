"""What `lineage show` prints. What a model wrote is shown as it is, not obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from lineage.analysis.sheet import Sheet, name, short
from lineage.analysis.tables import scores_by_arm, scores_by_family
from lineage.analysis.terminal import drawn, show_totals
from lineage.analysis.training import PARTS
from lineage.analysis.training_tables import SHORT
from lineage.analysis.visible import one_line, say, visible

ROWS = 24
"""Rows of a table that are shown unless all are asked for."""
LINES = 12
"""Lines of one part of a prompt, or of a text, that are shown unless all are asked for."""
LAST = 2
"""So many of them are its last ones."""
LONGEST = 400
"""Characters of a line."""
CELL = 48
"""Characters of a completion or an answer in a table."""
OPENS = re.compile(r"<(notes|docs?|history|summary|episodes)(?: from=\"[^\"]*\")?>")
"""How a block of a prompt begins (`agent.prompt.fence`); text within one has no `<`."""
STYLES = {"notes": "cyan", "doc": "green", "docs": "green", "history": "magenta"}
WRITTEN = {
    "memory_tokens": ("memory", "d"),
    "copied": ("copied", ".0%"),
    "staleness": ("stale", ".0%"),
    "density": ("facts/100", ".2f"),
}
"""Columns of an alternative, with head and format: see `analysis.training_tables`."""
SCORED = ("act", "probe", "turn", "judge")


def show_run(
    console: Console, summary: dict[str, Any], found: list[dict[str, Any]], full: bool
) -> None:
    """Print the scores of a run and a row a lineage."""
    crowded = len(summary["arms"]) > len(summary["families"])
    console.print(drawn((scores_by_arm if crowded else scores_by_family)(summary)))
    show_totals(summary, console)
    by_lineage: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_lineage.setdefault(row["lineage"], []).append(row)
    family = next(iter(summary["families"]), "")
    rows = [
        (
            lineage,
            " ".join(short(row["version"] for row in of)),
            _series([row["memory_tokens"] for row in of], "d"),
            _series([row["scores"].get(family) for row in of], ".2f"),
            _format(of[-1]["docs"], "d"),
            f"{sum(row['errors'] for row in of)}",
        )
        for lineage, of in by_lineage.items()
    ]
    head = ("lineage", "versions", "memory tokens", f"score on {family}", "docs", "errors")
    note = "by generation: tokens of the memories that it left, mean score of its probes"
    _table(console, Sheet("lineages", head, tuple(rows), note, left=2), full)


def show_generation(
    console: Console,
    found: list[dict[str, Any]],
    shown: dict[str, Any],
    families: Sequence[str],
    full: bool,
) -> None:
    """Print a row a lineage of one generation, then what one of them left and did."""
    number = found[0]["generation"]
    rows = tuple(
        (
            row["lineage"],
            name(row["version"]),
            *(_format(row[key], "d") for key in ("memory_tokens", "memories", "docs")),
            f"{row['edits_made']}/{row['edits_refused']}",
            *(_format(row["scores"].get(family), ".2f") for family in families),
            str(row["errors"]),
        )
        for row in found
    )
    head = ("lineage", "version", "tokens", "mem.", "docs", "edits", *map(_short, families), "err.")
    note = (
        "tokens of the memories that it left; edits made/refused; mean score of its probes by "
        "family; err.: steps with an error"
    )
    _table(console, Sheet(f"generation {number}", head, rows, note, left=2), full)
    parts = [part for part in found[0]["reward"] if any(_has(row, part) for row in found)]
    rewards = tuple(
        (row["lineage"], *(_format(row["reward"][part], "+.3f") for part in parts))
        for row in found
        if row["reward"]["reward"] is not None
    )
    if rewards:
        note = "reward is the sum of the parts, which are weighted and signed"
        head = ("lineage", *map(_short, parts))
        _table(console, Sheet("reward", head, rewards, note), full)
    _show_knowledge(console, shown, full)
    _show_edits(console, shown["edits"], full)
    _show_episodes(console, shown["episodes"], full)


def _has(row: dict[str, Any], part: str) -> bool:
    return row["reward"][part] is not None


def _show_knowledge(console: Console, shown: dict[str, Any], full: bool) -> None:
    memories, docs = shown["memories"], shown["docs"]
    counts = f"{len(memories)} memories, {len(docs)} docs"
    _title(console, f"what {shown['name']} left: {counts}")
    lines = [_entry(one["id"], one["text"], one["edited"], full) for one in memories] + [
        _entry(one["id"], one["title"], one["edited"], full) for one in docs
    ]
    _some(console, lines, full)


def _entry(id: str, text: str, edited: dict[str, Any], full: bool) -> Text:
    by = f"  generation {edited['generation']}, {name(edited['version'])}"
    line = Text.assemble((f"  {id:<5}", "yellow"), _cut(one_line(text), full))
    return line.append(visible(by), "dim")


def _show_edits(console: Console, edits: list[dict[str, Any]], full: bool) -> None:
    if not edits:
        return
    made = sum(edit["made"] for edit in edits)
    _title(console, f"edits: {made} made, {len(edits) - made} refused")
    lines = []
    for edit in edits:
        line = Text.assemble(
            (f"  {visible(edit['episode']):<8}", "dim"),
            (visible(edit["detail"]), "" if edit["made"] else "red"),
            f"  {visible(edit['entry'])}",
        )
        lines.append(line.append(f"  {_cut(one_line(edit['text']), full)}", "dim"))
    _some(console, lines, full)


def _show_episodes(console: Console, episodes: list[dict[str, Any]], full: bool) -> None:
    rows = tuple(
        (
            row["episode"],
            row["family"] or row["phase"],
            _format(row["score"], ".2f"),
            row["task"].removeprefix(f"{row['world']}/")[:CELL],
            (row["completion"] if row["kind"] in SCORED else row["detail"])[:CELL],
            (row["error"] or row["answer"])[:CELL],
        )
        for row in episodes
    )
    head = ("episode", "family", "score", "task", "completion", "right answer, or error")
    sheet = Sheet("episodes", head, rows, "lineage show RUN GENERATION EPISODE shows one", left=6)
    _table(console, sheet, full)


def show_alternatives(console: Console, step: int, found: list[dict[str, Any]], full: bool) -> None:
    """Print the alternatives of a training's step, a row each."""

    def named(row: dict[str, Any]) -> str:
        return f"{row['curriculum']}/{row['pair']}/{row['episode']}"

    parts = [part for part in PARTS if any(row[part] is not None for row in found)]
    rewards = tuple(
        (named(row), *(_format(row[part], "+.3f") for part in ("reward", *parts))) for row in found
    )
    head = ("alternative", "reward", *(_short(part.removeprefix("reward_")) for part in parts))
    note = "reward is the sum of the parts, which are weighted and signed"
    title = f"alternatives of step {step}"
    _table(console, Sheet(f"{title}: reward", head, rewards, note), full)
    written = tuple(
        (
            named(row),
            _format(row["advantage"], "+.2f"),
            "yes" if row["learnt"] else "",
            *(_format(row[key], form) for key, (_, form) in WRITTEN.items()),
            row["opened"] or row["error"][:CELL],
        )
        for row in found
    )
    heads = (words for words, _ in WRITTEN.values())
    note = "ARM/PAIR/EPISODE: lineage show RUN STEP EPISODE --arm ARM --pair PAIR shows one"
    sheet = Sheet(
        f"{title}: what was written",
        ("alternative", "adv.", "learnt", *heads, "opened"),
        written,
        note,
    )
    _table(console, sheet, full)


def show_episode(
    console: Console, steps: list[dict[str, Any]], docs: dict[str, dict[str, Any]], full: bool
) -> None:
    """Print the steps of an episode; `docs` are those it could find, by id."""
    first = steps[0]
    place = (first["lineage"], f"generation {first['generation']}", first["version"])
    _title(console, f"{first['episode']} of {', '.join(place)}: {first['phase']}")
    _field(console, "task", " ".join((first["family"], first["task"])).strip())
    met = {None: "never met before"}.get(first["met"], f"first met in generation {first['met']}")
    _field(console, "", met if first["task"] else "")
    _field(console, "Knowledge", first["knowledge_before"])
    for number, step in enumerate(steps):
        console.print(Rule(Text(f"{number} {step['kind']}"), align="left", style="dim"))
        _show_step(console, step, docs, full)


def _show_step(
    console: Console, step: dict[str, Any], docs: dict[str, dict[str, Any]], full: bool
) -> None:
    kind = step["kind"]
    if step["prompt"]:
        for line in _prompt(step["prompt"], full):
            say(console, line)
    _field(console, {"search": "query", "edit": "outcome"}.get(kind, "detail"), step["detail"])
    if kind == "search":
        found = [f"{id} {docs[id]['title']}" if id in docs else id for id in step["results"] or ()]
        _field(console, "found", "; ".join(found) or "nothing")
    if kind == "open":
        _show_opened(console, docs.get(step["entry"]), step["entry"], full)
    elif step["entry"]:
        _field(console, "entry" if kind == "edit" else "echoes", step["entry"])
    if step["completion"]:
        _block(
            console, "text" if kind == "edit" else "completion", step["completion"], "bold", full
        )
    if kind in SCORED and (step["answer"] or step["score"] is not None):
        right = step["score"] == 1
        score = "no score" if step["score"] is None else f"{step['score']:.2f}"
        _field(console, "score", score, "green" if right else "red")
        _block(console, "right", step["answer"], "green", full)
    if step["reward"] is not None:
        parts = {
            key: step[key] for key in step if key.startswith("reward") and step[key] is not None
        }
        _field(console, "reward", ", ".join(f"{key} {value:+.3f}" for key, value in parts.items()))
    if step["knowledge_after"] != step["knowledge_before"]:
        _field(console, "Knowledge", step["knowledge_after"])
    if step["error"]:
        _block(console, "error", step["error"], "red", full)
    _field(console, "tokens", _tokens(step))


def _show_opened(console: Console, doc: dict[str, Any] | None, entry: str, full: bool) -> None:
    if not entry:
        _field(console, "opened", "nothing")
    elif doc is None:
        _field(console, "opened", entry)
    else:
        _block(console, "opened", f"{entry} {doc['title']}\n{doc['body']}", "green", full)


def _tokens(step: dict[str, Any]) -> str:
    if not step["prompt_tokens"] and not step["completion_tokens"]:
        return ""
    parts = [f"{step['prompt_tokens']} of prompt ({step['cached_tokens']} cached"]
    parts += [f"{step[key]} of {words}" for key, words in _HELD.items() if step[key]]
    text = ", ".join(parts) + f"), {step['completion_tokens']} of completion"
    ended = f", ended by {step['finish_reason']}" if step["finish_reason"] else ""
    return f"{text}{ended}, {step['engine_seconds'] or step['wall_seconds']:.1f} s"


_HELD = {"memory_tokens": "memories", "doc_tokens": "docs"}


def _prompt(prompt: str, full: bool) -> Iterator[Text]:
    """Yield a prompt line by line, its blocks marked; a long part is folded."""
    for block, lines in _parts(prompt):
        style = STYLES.get(block, "blue") if block else ""
        for line in _folded(lines, full):
            yield Text.assemble(("│ " if block else "  ", style), (line, style))


def _parts(prompt: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the parts of a prompt: the name of a block ("" between blocks) and its lines."""
    block, held = "", list[str]()
    for line in prompt.splitlines():
        begins = OPENS.fullmatch(line) if not block else None
        if begins:
            yield block, held
            block, held = begins[1], []
        held.append(line)
        if block and line.startswith(f"</{block}>"):
            yield block, held
            block, held = "", []
    yield block, held


def _folded(lines: Sequence[str], full: bool) -> Iterator[str]:
    whole = full or len(lines) <= LINES
    for number, line in enumerate(lines):
        if whole or number < LINES - LAST - 1 or number >= len(lines) - LAST:
            yield _cut(visible(line), full)
        elif number == LINES - LAST - 1:
            yield f"… {len(lines) - LINES + 1} more lines: --full"


def _cut(line: str, full: bool) -> str:
    left = len(line) - LONGEST
    return line if full or left <= 0 else f"{line[:LONGEST]} … {left:,} more characters: --full"


def _block(console: Console, title: str, text: str, style: str, full: bool) -> None:
    for number, line in enumerate(_folded(text.splitlines(), full)):
        _line(console, title if number == 0 else "", line, style)


def _field(console: Console, title: str, text: str, style: str = "") -> None:
    if text:
        _line(console, title, one_line(text), style)


def _line(console: Console, title: str, text: str, style: str) -> None:
    say(console, Text.assemble((f"{title:<11}", "dim"), (text, style)))


def _title(console: Console, text: str) -> None:
    say(console, Text(one_line(text), "bold"))


def _some(console: Console, lines: list[Text], full: bool) -> None:
    shown = lines if full else lines[:ROWS]
    for line in shown:
        say(console, line)
    if len(shown) < len(lines):
        say(console, Text(f"  … {len(lines) - len(shown)} more: --full", "dim"))


def _table(console: Console, sheet: Sheet, full: bool) -> None:
    shown = sheet.rows if full else sheet.rows[:ROWS]
    left = len(sheet.rows) - len(shown)
    note = sheet.note + (f"; {left} more rows: --full" if left else "")
    console.print(drawn(Sheet(sheet.title, sheet.head, shown, note, sheet.left)))


def _short(head: str) -> str:
    return SHORT.get(f"reward_{head}", head)


def _series(values: Sequence[float | None], form: str) -> str:
    return " ".join("-" if value is None else format(value, form) for value in values)


def _format(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
