"""What an instance reads before it answers: docs that it searches and opens, raw history.

Each search and each open is a step of its own. With `agent.opening=first` the task itself is the
query and the best results are opened; with `gate` those that cover it, see
`lineage.search.relevance`; with `choice` the model picks from them, or none, under a
constraint that even a very small model can meet; with `native` it calls the tools `search` and
`open` in its own tool-call format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.context import Context
from lineage.agent.extract import covers, extracts, together
from lineage.agent.history import Past
from lineage.agent.inputs import Inputs
from lineage.agent.steps import Steps
from lineage.agent.toolcalls import converse
from lineage.core.knowledge import Doc, Knowledge
from lineage.models.protocol import Completion, Turn

Answer = tuple[Completion, dict[str, Any]]


@dataclass(frozen=True)
class Read:
    """The turns that ask for the answer, and what was opened on the way: ids, and their tokens.

    `answered` is the answer itself, with its columns, where the reading ended in one. `broken` are
    the columns of a request that the engine failed: what was to be read then is not known.
    """

    turns: tuple[Turn, ...]
    doc_tokens: int = 0
    opened: tuple[str, ...] = ()
    answered: Answer | None = None
    broken: dict[str, Any] | None = None


async def read(steps: Steps, inputs: Inputs, prompt: str) -> Read:
    """Return what the instance has read."""
    context, config, knowledge = steps.context, steps.context.config, inputs.knowledge
    if config.docs and knowledge.docs:
        ways = {"first": _first, "gate": _gate, "choice": _choose, "native": _native}
        return await ways[config.opening](steps, knowledge, prompt)
    transcript = prompts.history_block(context.texts, inputs.transcript, config.wrong_answers)
    turns = prompts.act_turns(
        context.texts,
        knowledge,
        prompt,
        transcript=transcript,
        recalled=_recall(steps, inputs.pool, prompt),
        instructions=context.suite.instructions,
    )
    return Read(turns)


def _recall(steps: Steps, pool: Sequence[Past], prompt: str) -> str:
    """Return the block of the raw episodes of `pool` that are nearest to the task."""
    if not pool:
        return ""
    context = steps.context
    entries = tuple(past.entry for past in pool)
    hits = context.past.search(entries, prompt, context.config.retrieved_episodes)
    ids = tuple(hit.id for hit in hits)
    steps.write("search", detail=prompt, results=ids)
    near = [past for past in pool if past.id in set(ids)]
    return prompts.history_block(context.texts, near, context.config.wrong_answers)


def _search(steps: Steps, knowledge: Knowledge, prompt: str) -> tuple[Doc, ...]:
    found = steps.context.find_docs(knowledge, prompt)
    steps.write("search", detail=prompt, results=_ids(found))
    return found


async def _first(steps: Steps, knowledge: Knowledge, prompt: str) -> Read:
    return _opened(steps, knowledge, prompt, _search(steps, knowledge, prompt))


async def _gate(steps: Steps, knowledge: Knowledge, prompt: str) -> Read:
    found = _search(steps, knowledge, prompt)
    return _opened(steps, knowledge, prompt, steps.context.gated(knowledge, prompt, found))


def _opened(steps: Steps, knowledge: Knowledge, prompt: str, best: Sequence[Doc]) -> Read:
    """Open the first of `best`, unasked."""
    opened = best[: steps.context.config.docs_opened]
    for doc in opened:
        steps.write("open", entry=doc.id, detail=doc.title)
    turns = _act_turns(steps.context, knowledge, prompt, opened)
    return Read(turns, _tokens(steps.context, opened), _ids(opened))


async def _choose(steps: Steps, knowledge: Knowledge, prompt: str) -> Read:
    context, found, opened = steps.context, _search(steps, knowledge, prompt), list[Doc]()
    config, offered = context.config, context.offered(knowledge, prompt, found)
    while len(opened) < config.docs_opened and len(opened) < len(offered):
        left = [doc for doc in offered if doc not in opened]
        choices = (*(doc.id for doc in left), prompts.NO_DOC)
        longest = max(context.count(choice) for choice in choices) + 1
        if not opened:
            choices = _left_open(choices, context.forced)
        index = context.index(knowledge).block
        remarks = _remarks(context, knowledge, prompt, left)
        turns = prompts.open_turns(context.texts, knowledge, prompt, left, opened, index, remarks)
        completion, columns = await steps.ask(turns, longest, choices=choices)
        doc = next((d for d in left if d.id == completion.text), None)
        entry, title = (doc.id, doc.title) if doc else ("", "")
        steps.write("open", entry=entry, detail=title, **columns)
        if completion.broken:
            failed = {"error": completion.error}
            return Read((), _tokens(context, opened), _ids(opened), broken=failed)
        if doc is None:
            break
        opened.append(doc)
    turns = _act_turns(context, knowledge, prompt, opened)
    return Read(turns, _tokens(context, opened), _ids(opened))


def _remarks(
    context: Context, knowledge: Knowledge, prompt: str, found: Sequence[Doc]
) -> Mapping[str, str]:
    """Return what a choice is told of the docs that were `found` beside their titles, by id."""
    config = context.config
    lines = extracts(found, prompt, config.memory_chars) if config.extracts else {}
    if not config.coverage:
        return lines
    _, shares = context.passages(knowledge).coverage(prompt, _ids(found))
    return together(lines, covers(shares))


def _left_open(choices: tuple[str, ...], forced: int | None) -> tuple[str, ...]:
    """Return the choices that an instance has: those that are offered, or the one of `forced`.

    The last that is offered is to open none; see `Context`.
    """
    *docs, none = choices
    return choices if forced is None or forced > len(docs) else ((none, *docs)[forced],)


async def _native(steps: Steps, knowledge: Knowledge, prompt: str) -> Read:
    talk = await converse(steps, knowledge, prompt)
    tokens = _tokens(steps.context, talk.opened)
    completion, columns = talk.answered or (None, None)
    broken = columns if completion and completion.broken else None
    return Read(talk.turns, tokens, _ids(talk.opened), talk.answered, broken)


def _act_turns(
    context: Context, knowledge: Knowledge, prompt: str, opened: Sequence[Doc]
) -> tuple[Turn, ...]:
    return prompts.act_turns(
        context.texts,
        knowledge,
        prompt,
        opened,
        instructions=context.suite.instructions,
        index=context.index(knowledge).block,
    )


def _ids(docs: Sequence[Doc]) -> tuple[str, ...]:
    return tuple(doc.id for doc in docs)


def _tokens(context: Context, docs: Sequence[Doc]) -> int:
    return sum(context.count(doc.body) for doc in docs)
