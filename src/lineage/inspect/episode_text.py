"""What `lineage show` prints of one episode. What a model wrote is shown, not obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from lineage.core.text import one_line, say, visible

LINES = 12
"""Lines of one part of a prompt, or of a text, that are shown unless all are asked for."""
LAST = 2
"""So many of them are its last ones."""
LONGEST = 400
"""Characters of a line."""
OPENS = re.compile(r"<(notes|docs?|history|summary|episodes)(?: from=\"[^\"]*\")?>")
"""How a block of a prompt begins (`agent.prompt.fence`); text within one has no `<`."""
STYLES = {"notes": "cyan", "doc": "green", "docs": "green", "history": "magenta"}
SCORED = ("act", "probe", "turn", "judge")
"""The kinds of steps whose completion is an answer, or part of one."""
HELD = {"memory_tokens": "memories", "doc_tokens": "docs"}
"""What of a prompt is counted apart."""


def show_episode(
    console: Console, steps: list[dict[str, Any]], docs: dict[str, dict[str, Any]], full: bool
) -> None:
    """Print the steps of an episode; `docs` are those it could find, by id."""
    first = steps[0]
    place = (first["lineage"], f"generation {first['generation']}", first["version"])
    say_title(console, f"{first['episode']} of {', '.join(place)}: {first['phase']}")
    _field(console, "task", " ".join((first["family"], first["task"])).strip())
    if first["task"]:
        never = first["met"] is None
        met = "never met before" if never else f"first met in generation {first['met']}"
        _field(console, "", met)
    _field(console, "Knowledge", first["knowledge_before"])
    for number, step in enumerate(steps):
        console.print(Rule(Text(one_line(f"{number} {step['kind']}")), align="left", style="dim"))
        _show_step(console, step, docs, full)


def _show_step(
    console: Console, step: dict[str, Any], docs: dict[str, dict[str, Any]], full: bool
) -> None:
    kind = step["kind"]
    if step["prompt"]:
        for line in _prompt(step["prompt"], full):
            say(console, line)
    if kind != "open":
        titles = {"search": "query", "edit": "outcome"}
        _field(console, titles.get(kind, "detail"), step["detail"])
    if kind == "search":
        found = [f"{id} {docs[id]['title']}" if id in docs else id for id in step["results"] or ()]
        _field(console, "found", "; ".join(found) or "nothing")
    if kind == "open":
        _show_opened(console, step, docs, full)
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


def _show_opened(
    console: Console, step: dict[str, Any], docs: dict[str, dict[str, Any]], full: bool
) -> None:
    entry = step["entry"]
    if entry in docs:
        _block(
            console, "opened", f"{entry} {docs[entry]['title']}\n{docs[entry]['body']}", "", full
        )
    else:
        _field(console, "opened", f"{entry} {step['detail']}" if entry else "nothing")


def _tokens(step: dict[str, Any]) -> str:
    if not step["prompt_tokens"] and not step["completion_tokens"]:
        return ""
    parts = [f"{step['prompt_tokens']} of prompt ({step['cached_tokens']} cached"]
    parts += [f"{step[key]} of {words}" for key, words in HELD.items() if step[key]]
    text = ", ".join(parts) + f"), {step['completion_tokens']} of completion"
    ended = f", ended by {step['finish_reason']}" if step["finish_reason"] else ""
    return f"{text}{ended}, {step['engine_seconds'] or step['wall_seconds']:.1f} s"


def _prompt(prompt: str, full: bool) -> Iterator[Text]:
    """Yield a prompt line by line, its blocks marked; a long part is folded."""
    for block, lines in _parts(prompt):
        style = STYLES.get(block, "blue") if block else ""
        for line in _folded(lines, full):
            yield Text.assemble(("│ " if block else "  ", style), (line, style))


def _parts(prompt: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the parts of a prompt: the name of a block ("" between blocks) and its lines."""
    block, held = "", list[str]()
    for line in _lines(prompt):
        begins = OPENS.fullmatch(line) if not block else None
        if begins:
            yield block, held
            block, held = begins[1], []
        held.append(line)
        if block and line.startswith(f"</{block}>"):
            yield block, held
            block, held = "", []
    yield block, held


def _lines(text: str) -> list[str]:
    # Not `splitlines`: other ends of a line than ours are to be seen.
    return text.removesuffix("\n").split("\n") if text else []


def _folded(lines: Sequence[str], full: bool) -> Iterator[str]:
    whole = full or len(lines) <= LINES
    for number, line in enumerate(lines):
        if whole or number < LINES - LAST - 1 or number >= len(lines) - LAST:
            yield cut_line(visible(line), full)
        elif number == LINES - LAST - 1:
            yield f"… {len(lines) - LINES + 1} more lines: --full"


def cut_line(line: str, full: bool) -> str:
    """Return `line`, without what is over `LONGEST` unless `full`."""
    left = len(line) - LONGEST
    return line if full or left <= 0 else f"{line[:LONGEST]} … {left:,} more characters: --full"


def _block(console: Console, title: str, text: str, style: str, full: bool) -> None:
    for number, line in enumerate(_folded(_lines(text), full)):
        _line(console, title if number == 0 else "", line, style)


def _field(console: Console, title: str, text: str, style: str = "") -> None:
    if text:
        _line(console, title, one_line(text), style)


def _line(console: Console, title: str, text: str, style: str) -> None:
    say(console, Text.assemble((f"{title:<11}", "dim"), (text, style)))


def say_title(console: Console, text: str) -> None:
    """Print the line above a part of the output."""
    say(console, Text(one_line(text), "bold"))
