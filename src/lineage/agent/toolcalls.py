"""Docs by tool calls: for models that were trained to call tools, in their own format.

The model is offered `search` and `open`; each call is a step. When its calls are used up it is
asked once more without tools, so that an episode always ends in an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.context import Context
from lineage.agent.steps import Steps
from lineage.core.knowledge import Doc, Knowledge
from lineage.models.protocol import Completion, ToolCall, Turn

CALLS_PER_DOC = 2
"""A search and an open; a model that needs more calls than this a doc is going in circles."""


def _tool(name: str, about: str, argument: str, meaning: str) -> dict[str, Any]:
    properties = {argument: {"type": "string", "description": meaning}}
    parameters = {"type": "object", "properties": properties, "required": [argument]}
    function = {"name": name, "description": about, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = (
    _tool("search", "Search the documents that earlier instances left.", "query", "words to find"),
    _tool("open", "Open a document that a search found.", "id", "the document's id"),
)


@dataclass
class Talk:
    """A conversation with tools so far; `answered` once it has ended in an answer."""

    turns: tuple[Turn, ...]
    opened: list[Doc] = field(default_factory=list)
    answered: tuple[Completion, dict[str, Any]] | None = None


async def converse(steps: Steps, knowledge: Knowledge, prompt: str) -> Talk:
    """Let the model search and open docs until it answers or its calls are used up."""
    context = steps.context
    first = prompts.act_turns(
        context.texts,
        knowledge,
        prompt,
        instructions=context.suite.instructions,
        index=context.index(knowledge).block,
    )
    talk = Talk(first)
    for _ in range(CALLS_PER_DOC * context.config.docs_opened):
        completion, columns = await steps.ask(talk.turns, context.config.edit_tokens, tools=TOOLS)
        if completion.error or not completion.calls:
            talk.answered = completion, columns
            return talk
        kind, told, about = _serve(context, knowledge, talk.opened, completion.calls)
        steps.write(kind, **about, **columns)
        said = (Turn("assistant", completion.text), Turn("tool", told))
        talk.turns = (*talk.turns, *said)
    return talk


def _serve(
    context: Context, knowledge: Knowledge, opened: list[Doc], calls: Sequence[ToolCall]
) -> tuple[str, str, dict[str, Any]]:
    """Answer the first of `calls`: return the kind of its step, the reply and the step's columns.

    What it asks for is data, and only ids that exist open.
    """
    call = calls[0]
    if call.name == "search":
        query = str(call.arguments.get("query", ""))
        found = context.find_docs(knowledge, query)
        columns: dict[str, Any] = {"detail": query, "results": tuple(doc.id for doc in found)}
        return "search", prompts.doc_index(found) or "Nothing found.", columns
    id = str(call.arguments.get("id", ""))
    full = len(opened) >= context.config.docs_opened
    doc = None if full else next((d for d in knowledge.docs if d.id == id), None)
    if doc is None:
        why = "no more documents may be opened" if full else "unknown id"
        return "open", why, {"detail": f"{call.name}: {why}"}
    doc = context.shown(doc)
    opened.append(doc)
    return "open", prompts.doc_block(doc, with_id=True), {"entry": id, "detail": doc.title}
