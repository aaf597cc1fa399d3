"""A context that overflows: the instance itself sums up what it can no longer hold.

Each summary is a step of its own. How many of the facts in the record it kept is measured from
the log (`lineage.analysis.measures.summaries`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.desk import Desk
from lineage.agent.history import Trace


async def condense(
    desk: Desk, phase: str, name: str, step: int, prompt: str, text: str, about: dict[str, Any]
) -> tuple[str, str]:
    """Return the instance's summary of `text`, the record of its work on `prompt`, and an error.

    One of the two is "". It is logged as step `step` of the episode `name`.
    """
    turns = prompts.summary_turns(prompt, text)
    completion, columns = await desk.ask(name, step, turns, desk.config.summary_tokens)
    error = completion.error or ("" if completion.text.strip() else "the summary is empty")
    desk.write(phase, name, step, "summary", **about, **columns | {"error": error})
    return ("", error) if error else (completion.text, "")


async def hold(
    desk: Desk, phase: str, name: str, step: int, prompt: str, trace: Trace, about: dict[str, Any]
) -> tuple[Trace, int]:
    """Return `trace` such that it takes at most `agent.history_tokens`, and the next step.

    All but the newest turn are summed up where it takes more. Where that fails they are lost: the
    step has the error.
    """
    if len(trace.exchanges) < 2 or desk.count(prompts.record(trace)) <= desk.config.history_tokens:
        return trace, step
    older = Trace(trace.summary, trace.exchanges[:-1])
    summary, _ = await condense(desk, phase, name, step, prompt, prompts.record(older), about)
    return Trace(summary or trace.summary, trace.exchanges[-1:]), step + 1


async def study(
    desk: Desk, phase: str, name: str, step: int, prompt: str, context: str, about: dict[str, Any]
) -> tuple[str, int, str]:
    """Return what the instance keeps of `context`, the next step, and an error.

    A context of more than `agent.history_tokens` is read piece by piece, and after each the
    summary so far and the piece are summed up anew. What it keeps is the step `read`.
    """
    kept, error = context, ""
    if desk.count(context) > desk.config.history_tokens:
        kept = ""
        for piece in pieces(desk, context):
            text = prompts.record(Trace(kept)) + "\n" + prompts.quoted(piece)
            summary, error = await condense(
                desk, phase, name, step, prompt or "Learn the text.", text.strip(), about
            )
            step += 1
            if error:
                return "", step, error
            kept = summary
    desk.write(phase, name, step, "read", detail=kept, **about)
    return kept, step + 1, ""


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
