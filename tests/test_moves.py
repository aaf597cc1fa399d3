"""Moves between memories and docs, and being told what belongs where: off, nothing changes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import jsonschema
import pytest
from test_policies import CODES, CONFIG, ORIGIN, PERFECT, Memo, context, fact, knowing, texts, told

from lineage import compose
from lineage.agent import schemas
from lineage.agent.handoff import hand_over
from lineage.core.config_engine import SurrogateConfig
from lineage.core.edits import APPLIED, Edit, Limits, apply, parse_edits
from lineage.core.knowledge import Doc, Knowledge, Origin
from lineage.models.protocol import Completion, Request
from lineage.models.surrogate import Surrogate

NOW = Origin(3, "m@r1", "h000")
LIMITS = Limits(memory=40, title=20, body=60, moves=True)
DOC = Doc("d3", "Steps", "First  one.\n\n    then = two\n", ORIGIN, ORIGIN)
BEFORE = knowing("A note.", "Another note.", docs=[DOC])


def moved(edit: Edit, before: Knowledge = BEFORE, limits: Limits = LIMITS) -> tuple[str, Knowledge]:
    (change,) = apply(before, [edit], NOW, limits)
    if change.outcome.verdict != APPLIED:
        assert change.after is before
    return change.outcome.verdict, change.after


def test_a_memory_becomes_the_last_line_of_a_doc_that_stays_as_it_was() -> None:
    verdict, left = moved(Edit("move", id="m1", to="d3"))
    assert (verdict, texts(left)) == (APPLIED, ["Another note."])
    assert left.docs == (replace(DOC, body=f"{DOC.body}\nA note.", edited=NOW),)
    again, same = moved(Edit("move", id="m1", to="d3"), replace(BEFORE, docs=left.docs))
    assert (again, texts(same)) == (APPLIED, ["Another note."])
    assert same.docs == left.docs, "what a doc says already it does not say twice"


def test_a_line_of_a_doc_becomes_a_memory_of_the_age_of_the_doc() -> None:
    verdict, left = moved(Edit("move", id="d3", text="First one."))
    assert (verdict, texts(left)) == (APPLIED, ["A note.", "Another note.", "First one."])
    new = left.memories[-1]
    assert (new.id, new.created, new.edited) == (f"m{BEFORE.next_id}", ORIGIN, NOW)
    assert left.docs[0].body == "    then = two"
    _, emptied = moved(Edit("move", id="d3", text="then = two"), left)
    assert not emptied.docs and texts(emptied)[-1] == "then = two"


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("move", id="m9", to="d3"), "unknown id"),
        (Edit("move", id="m1", to="d9"), "unknown id"),
        (Edit("move", id="m1"), "unknown id"),
        (Edit("move", id="m1", to="m2"), "unknown id"),
        (Edit("move"), "unknown id"),
        (Edit("move", id="d9", text="First one."), "unknown id"),
        (Edit("move", id="d3", text="Third one."), "no line of the doc"),
        (Edit("move", id="d3", text=" "), "empty"),
        (Edit("move", id="d3", text="A note."), "duplicate"),
        (Edit("move", id="d3", text="x" * 41), "too long"),
    ],
)
def test_a_bad_move_changes_nothing(edit: Edit, why: str) -> None:
    assert moved(edit)[0] == why


def test_a_move_keeps_to_the_limits_and_is_unknown_where_it_is_not_switched_on() -> None:
    edit = Edit("move", id="m2", to="d3")
    assert moved(edit, limits=replace(LIMITS, body=len(DOC.body) + 5))[0] == "too long"
    assert moved(edit, limits=replace(LIMITS, body_tokens=20))[0] == "over budget"
    assert moved(edit, limits=replace(LIMITS, moves=False))[0] == "unknown operation 'move'"


def test_the_schema_offers_memories_and_short_lines_and_only_of_docs_that_are_shown() -> None:
    agent = replace(CONFIG.agent, memory_chars=12)
    schema = schemas.memory_edits(BEFORE, 2, agent, shown=[DOC])
    into = {"op": "move", "id": "m2", "to": "d3"}
    out = {"op": "move", "id": "d3", "text": "First one."}
    jsonschema.validate({"edits": [into, out]}, schema)
    assert parse_edits(json.dumps({"edits": [into]})) == (Edit("move", id="m2", to="d3"),)
    for bad in (into | {"to": "d4"}, into | {"id": "d3"}, out | {"text": "then"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"edits": [bad]}, schema)
    assert schemas.memory_edits(BEFORE, 2, agent) == schemas.memory_edits(
        BEFORE, 2, agent, shown=()
    )


class Moving(Surrogate):
    """A model that moves the first memory into the doc that it was shown, where it was."""

    async def generate(self, request: Request) -> Completion:
        answer = await super().generate(request)
        shapes = ((request.schema or {}).get("properties", {}).get("edits", {})).get("items", {})
        for shape in shapes.get("anyOf", []):
            into = shape["properties"].get("to")
            if into:
                edit = {"op": "move", "id": "m1", "to": into["const"]}
                return replace(answer, text=json.dumps({"edits": [edit]}))
        return answer


@pytest.mark.parametrize(("policy", "moves"), [("edit", True), ("edit", False), ("append", True)])
def test_a_handoff_may_move_into_a_doc_that_it_read(policy: str, moves: bool) -> None:
    place = context(policy, Moving(SurrogateConfig(skills={"default": PERFECT})), moves=moves)
    doc = Doc("d2", "Codes", fact(CODES[0]), ORIGIN, ORIGIN)
    before = knowing("A note.", docs=[doc])
    read = replace(told(CODES[0]), right=True, opened=("d2",))
    left = asyncio.run(hand_over(place, before, [read]))
    log = place.log
    assert isinstance(log, Memo)
    (asked,) = [s for s in log.steps if s.kind == "handoff" and s.episode == "h000"]
    offered = moves and policy == "edit"
    assert ("Move a note" in asked.prompt) == ("d2: Codes" in asked.prompt) == offered
    assert ("A note." in texts(left)) != offered
    bodies = {one.id: one.body for one in left.docs}
    assert ("A note." in bodies["d2"]) == offered
    told_of = [(s.entry, s.detail) for s in log.steps if s.detail.startswith("move")]
    assert told_of == ([("d2", "move: applied")] if offered else [])


@pytest.mark.parametrize("policy", ["edit", "append", "rewrite-all"])
@pytest.mark.parametrize(("docs", "purpose"), [(True, True), (True, False), (False, True)])
def test_a_handoff_is_told_what_belongs_where(policy: str, docs: bool, purpose: bool) -> None:
    place = context(policy, docs=docs, purpose=purpose)
    asyncio.run(hand_over(place, knowing("A note."), [told(CODES[0])]))
    log = place.log
    assert isinstance(log, Memo)
    asked = {s.episode[:1]: s.prompt for s in log.steps if s.kind == "handoff"}
    assert set(asked) == ({"h", "d"} if docs else {"h"})
    said = {"h": "Notes are for what is asked", "d": "A document is for what is long"}
    for who, prompt in asked.items():
        assert (said[who] in prompt) == (docs and purpose)


@pytest.mark.parametrize("key", ["moves", "purpose"])
def test_an_option_is_in_the_hash_where_it_is_on(key: str) -> None:
    plain = compose.load(["engine=surrogate"])
    assert key not in compose.identity(plain)["agent"]
    on = compose.load(["engine=surrogate", f"agent.{key}=true"])
    assert compose.config_hash(on) != compose.config_hash(plain)
