"""What an instance reads before it answers: docs that it searches and opens, raw history.

Each search and each open is a step of its own. With `agent.opening=first` the task itself is the
query and the best results are opened; with `choice` the model picks from them, or none, under a
constraint that even a very small model can meet; with `native` it calls the tools `search` and
`open` in its own tool-call format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.briefing import Briefing
from lineage.agent.desk import Desk
from lineage.agent.toolcalls import converse
from lineage.core.knowledge import Doc, Knowledge
from lineage.models.protocol import Completion, Turn

Answer = tuple[Completion, dict[str, Any]]


@dataclass(frozen=True)
class Read:
    """The turns that ask for the answer, how many steps led there, and doc tokens in them.

    `answered` is the answer itself, with its columns, where the reading ended in one. `broken` are
    the columns of a request that the engine failed: what was to be read then is not known.
    """

    turns: tuple[Turn, ...]
    steps: int = 0
    doc_tokens: int = 0
    opened: tuple[str, ...] = ()
    answered: Answer | None = None
    broken: dict[str, Any] | None = None


async def read(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> Read:
    """Return what the instance has read; `about` are the columns that its steps share."""
    config, knowledge = desk.config, briefing.knowledge
    if config.docs and knowledge.docs:
        ways = {"first": _first, "choice": _choose, "native": _native}
        return await ways[config.opening](desk, name, phase, briefing, prompt, about)
    transcript = prompts.history_block(briefing.transcript, config.wrong_answers)
    recalled, steps = _recall(desk, name, phase, briefing, prompt, about)
    turns = prompts.act_turns(
        knowledge,
        prompt,
        transcript=transcript,
        recalled=recalled,
        instructions=desk.suite.instructions,
    )
    return Read(turns, steps)


def _recall(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> tuple[str, int]:
    """Return the block of the raw episodes nearest to the task, and the steps that took."""
    if not briefing.pool:
        return "", 0
    entries = tuple(past.entry for past in briefing.pool)
    hits = desk.past.search(entries, prompt, desk.config.retrieved_episodes)
    ids = tuple(hit.id for hit in hits)
    desk.write(phase, name, 0, "search", detail=prompt, results=ids, **about)
    near = [past for past in briefing.pool if past.id in set(ids)]
    return prompts.history_block(near, desk.config.wrong_answers), 1


def _search(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> tuple[Doc, ...]:
    found = desk.find_docs(briefing.knowledge, prompt)
    desk.write(phase, name, 0, "search", detail=prompt, results=_ids(found), **about)
    return found


async def _first(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> Read:
    found = _search(desk, name, phase, briefing, prompt, about)
    opened = found[: desk.config.docs_opened]
    for step, doc in enumerate(opened, start=1):
        desk.write(phase, name, step, "open", entry=doc.id, detail=doc.title, **about)
    turns = _act_turns(desk, briefing.knowledge, prompt, opened)
    return Read(turns, 1 + len(opened), _tokens(desk, opened), _ids(opened))


async def _choose(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> Read:
    knowledge = briefing.knowledge
    found = _search(desk, name, phase, briefing, prompt, about)
    step, opened = 1, list[Doc]()
    while len(opened) < desk.config.docs_opened and len(opened) < len(found):
        left = [doc for doc in found if doc not in opened]
        choices = (*(doc.id for doc in left), prompts.NO_DOC)
        longest = max(desk.count(choice) for choice in choices) + 1
        turns = prompts.open_turns(knowledge, prompt, left, opened)
        completion, columns = await desk.ask(name, step, turns, longest, choices=choices)
        doc = next((d for d in left if d.id == completion.text), None)
        entry, title = (doc.id, doc.title) if doc else ("", "")
        desk.write(phase, name, step, "open", entry=entry, detail=title, **about, **columns)
        step += 1
        if completion.broken:
            failed = {"error": completion.error}
            return Read((), step, _tokens(desk, opened), _ids(opened), broken=failed)
        if doc is None:
            break
        opened.append(doc)
    turns = _act_turns(desk, knowledge, prompt, opened)
    return Read(turns, step, _tokens(desk, opened), _ids(opened))


async def _native(
    desk: Desk, name: str, phase: str, briefing: Briefing, prompt: str, about: dict[str, Any]
) -> Read:
    talk = await converse(desk, name, phase, briefing.knowledge, prompt, about)
    tokens = _tokens(desk, talk.opened)
    completion, columns = talk.answered or (None, None)
    broken = columns if completion and completion.broken else None
    return Read(talk.turns, talk.steps, tokens, _ids(talk.opened), talk.answered, broken)


def _act_turns(
    desk: Desk, knowledge: Knowledge, prompt: str, opened: Sequence[Doc]
) -> tuple[Turn, ...]:
    return prompts.act_turns(knowledge, prompt, opened, instructions=desk.suite.instructions)


def _ids(docs: Sequence[Doc]) -> tuple[str, ...]:
    return tuple(doc.id for doc in docs)


def _tokens(desk: Desk, docs: Sequence[Doc]) -> int:
    return sum(desk.count(doc.body) for doc in docs)
