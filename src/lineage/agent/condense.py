"""A history that overflows: the instance itself sums up what it can no longer hold.

Each summary is a step of its own. How many of the facts in the record it kept is measured from
the log (`lineage.metrics.summaries`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.context import Context
from lineage.agent.history import Trace
from lineage.agent.steps import Steps


@dataclass(frozen=True)
class Fault:
    """Why there is no summary: `columns` are those that a step that fails by it has.

    `broken`: the engine failed; else the instance itself could not do it.
    """

    columns: dict[str, Any]
    broken: bool


async def condense(steps: Steps, prompt: str, text: str) -> tuple[str, Fault | None]:
    """Return the instance's summary of `text`, the record of its work on `prompt`, or why not."""
    turns = prompts.summary_turns(steps.context.texts, prompt, text)
    completion, columns = await steps.ask(turns, steps.context.config.summary_tokens)
    error = completion.error or ("" if completion.text.strip() else "the summary is empty")
    steps.write("summary", **columns | {"error": error})
    if not error:
        return completion.text, None
    columns = {"error": error, "finish_reason": completion.finish_reason}
    return "", Fault(columns, completion.broken)


async def hold(steps: Steps, prompt: str, trace: Trace) -> tuple[Trace, Fault | None]:
    """Return `trace` such that it takes at most `agent.history_tokens`, and a fault.

    All but the newest turn are summed up where it takes more. Where the instance cannot do that
    they are lost, and the step has the error; where the engine failed that is the fault.
    """
    context = steps.context
    taken = context.count(prompts.record(trace))
    if len(trace.exchanges) < 2 or taken <= context.config.history_tokens:
        return trace, None
    older = Trace(trace.summary, trace.exchanges[:-1])
    summary, fault = await condense(steps, prompt, prompts.record(older))
    kept = Trace(summary or trace.summary, trace.exchanges[-1:])
    return kept, fault if fault and fault.broken else None


async def study(steps: Steps, prompt: str, text: str) -> tuple[str, Fault | None]:
    """Return what the instance keeps of `text`, and why it keeps nothing.

    A text of more than `agent.history_tokens` is read piece by piece, and after each the summary
    so far and the piece are summed up anew. What it keeps is the step `read`.
    """
    context, kept = steps.context, text
    if context.count(text) > context.config.history_tokens:
        kept = ""
        for piece in pieces(context, text):
            told = prompts.record(Trace(kept)) + "\n" + prompts.quoted(piece)
            summary, fault = await condense(steps, prompt or "Learn the text.", told.strip())
            if fault:
                return "", fault
            kept = summary
    steps.write("read", detail=kept)
    return kept, None


def pieces(context: Context, text: str) -> Iterator[str]:
    """Yield `text` in pieces of whole lines that fit beside a summary.

    A line that is too long alone is cut into words.
    """
    room = max(context.config.history_tokens - context.config.summary_tokens, 1)
    held, used = list[str](), 0
    for line in text.splitlines():
        for part in [line] if context.count(line) <= room else _halves(context, line.split(), room):
            cost = context.count(part) + 1
            if held and used + cost > room:
                yield "\n".join(held)
                held, used = [], 0
            held.append(part)
            used += cost
    if held:
        yield "\n".join(held)


def _halves(context: Context, words: list[str], room: int) -> Iterator[str]:
    """Yield `words` in runs that take at most `room` tokens, where a single word does."""
    text = " ".join(words)
    if len(words) < 2 or context.count(text) <= room:
        yield text
        return
    middle = len(words) // 2
    yield from _halves(context, words[:middle], room)
    yield from _halves(context, words[middle:], room)
