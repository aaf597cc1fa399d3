"""A context that overflows: the instance itself sums up what it can no longer hold.

Each summary is a step of its own. How many of the facts in the record it kept is measured from
the log (`lineage.metrics.summaries`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.desk import Desk
from lineage.agent.history import Trace


@dataclass(frozen=True)
class Fault:
    """Why there is no summary: `columns` are those that a step that fails by it has.

    `broken`: the engine failed; else the instance itself could not do it.
    """

    columns: dict[str, Any]
    broken: bool


async def condense(
    desk: Desk, phase: str, name: str, step: int, prompt: str, text: str, about: dict[str, Any]
) -> tuple[str, Fault | None]:
    """Return the instance's summary of `text`, the record of its work on `prompt`, or why not.

    It is logged as step `step` of the episode `name`.
    """
    turns = prompts.summary_turns(prompt, text)
    completion, columns = await desk.ask(name, step, turns, desk.config.summary_tokens)
    error = completion.error or ("" if completion.text.strip() else "the summary is empty")
    desk.write(phase, name, step, "summary", **about, **columns | {"error": error})
    if not error:
        return completion.text, None
    columns = {"error": error, "finish_reason": completion.finish_reason}
    return "", Fault(columns, completion.broken)


async def hold(
    desk: Desk, phase: str, name: str, step: int, prompt: str, trace: Trace, about: dict[str, Any]
) -> tuple[Trace, int, Fault | None]:
    """Return `trace` such that it takes at most `agent.history_tokens`, the next step, and a fault.

    All but the newest turn are summed up where it takes more. Where the instance cannot do that
    they are lost, and the step has the error; where the engine failed that is the fault.
    """
    if len(trace.exchanges) < 2 or desk.count(prompts.record(trace)) <= desk.config.history_tokens:
        return trace, step, None
    older = Trace(trace.summary, trace.exchanges[:-1])
    summary, fault = await condense(desk, phase, name, step, prompt, prompts.record(older), about)
    kept = Trace(summary or trace.summary, trace.exchanges[-1:])
    return kept, step + 1, fault if fault and fault.broken else None


async def study(
    desk: Desk, phase: str, name: str, step: int, prompt: str, context: str, about: dict[str, Any]
) -> tuple[str, int, Fault | None]:
    """Return what the instance keeps of `context`, the next step, and why it keeps nothing.

    A context of more than `agent.history_tokens` is read piece by piece, and after each the
    summary so far and the piece are summed up anew. What it keeps is the step `read`.
    """
    kept = context
    if desk.count(context) > desk.config.history_tokens:
        kept = ""
        for piece in pieces(desk, context):
            text = prompts.record(Trace(kept)) + "\n" + prompts.quoted(piece)
            summary, fault = await condense(
                desk, phase, name, step, prompt or "Learn the text.", text.strip(), about
            )
            step += 1
            if fault:
                return "", step, fault
            kept = summary
    desk.write(phase, name, step, "read", detail=kept, **about)
    return kept, step + 1, None


def pieces(desk: Desk, text: str) -> Iterator[str]:
    """Yield `text` in pieces of whole lines that fit beside a summary.

    A line that is too long alone is cut into words.
    """
    room = max(desk.config.history_tokens - desk.config.summary_tokens, 1)
    held, used = list[str](), 0
    for line in text.splitlines():
        for part in [line] if desk.count(line) <= room else _halves(desk, line.split(), room):
            cost = desk.count(part) + 1
            if held and used + cost > room:
                yield "\n".join(held)
                held, used = [], 0
            held.append(part)
            used += cost
    if held:
        yield "\n".join(held)


def _halves(desk: Desk, words: list[str], room: int) -> Iterator[str]:
    """Yield `words` in runs that take at most `room` tokens, where a single word does."""
    text = " ".join(words)
    if len(words) < 2 or desk.count(text) <= room:
        yield text
        return
    middle = len(words) // 2
    yield from _halves(desk, words[:middle], room)
    yield from _halves(desk, words[middle:], room)
