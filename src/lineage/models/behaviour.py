"""What a surrogate writes: its skills, applied to what a prompt holds and asks for.

It reads the prompt's text and nothing else (never a task's answer). It finds the note that shares
most words with the question; its recall of a note falls with the number of notes in the prompt as
was measured on SmolLM2-135M-Instruct.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from lineage.core.config_engine import SkillConfig
from lineage.models.dice import Dice
from lineage.models.protocol import Request, ToolCall

UNKNOWN = "I do not know."
ORDER = "Whatever is asked"
"""How a note begins that is an order; a version obeys it by its skill `obey`."""
ASKS_FOR_DOC = "Which document do you open? Reply with its id, or none."
NONE = "none"
COMMON = frozenset(("what", "is", "the", "of", "a", "an", "in", "which", "for", "to", "and"))


def respond(skill: SkillConfig, request: Request, draw: Dice, learnt: Sequence[str] = ()) -> str:
    """Return the text for `request`: which of its jobs it is, the constraint tells.

    `learnt` are sentences that the version knows by training.
    """
    text = "\n".join(turn.content for turn in request.turns if turn.role != "assistant")
    if request.choices and request.turns[-1].content.endswith(ASKS_FOR_DOC):
        return _open(skill, request, text, draw)
    if request.choices:
        told = next(turn.content for turn in request.turns if turn.role == "user")
        return _pick(skill, [*known_sentences(text), *learnt], told, request.choices, draw)
    if request.schema is not None:
        return _write(skill, request.schema["properties"], text, draw)
    asked = next(turn for turn in reversed(request.turns) if turn.role == "user")
    if "<record>" in asked.content:
        return _summary(skill, asked.content, draw)
    return _answer(skill, [*known_sentences(text), *learnt], asked.content.splitlines()[-1], draw)


def call_tool(skill: SkillConfig, request: Request, draw: Dice) -> ToolCall | None:
    """Return the tool call that a version makes instead of an answer, None where it answers."""
    text = "\n".join(turn.content for turn in request.turns if turn.role != "assistant")
    question = next(t.content for t in request.turns if t.role == "user").splitlines()[-1]
    tool_turns = [turn for turn in request.turns if turn.role == "tool"]
    if not tool_turns:
        known = find_values(known_sentences(text), question)[0]
        search = not known if draw.succeeds(skill, "open") else draw.random() < 0.5
        return ToolCall("search", {"query": question}) if search else None
    index = block(request.turns[0].content, "docs")
    best = best_title(block(tool_turns[-1].content, "docs"), question, index)
    return ToolCall("open", {"id": best}) if best else None


def _pick(
    skill: SkillConfig, known: Sequence[str], told: str, choices: Sequence[str], draw: Dice
) -> str:
    """Return the first choice that holds a value that is known and recalled, else any.

    It is the value of a note whose subject shares its last word with what was `told`.
    """
    words = words_of(told)
    subjects = (subject_and_value(sentence) for sentence in known)
    values = {value for name, value in subjects if value and name.lower().split()[-1] in words}
    fitting = [choice for choice in choices if values & set(choice.split())]
    if fitting and draw.random() < recall(skill, len(known)):
        return fitting[0]
    return draw.choice(choices)


def _summary(skill: SkillConfig, asked: str, draw: Dice) -> str:
    """Return the record's sentences as the version restates them: the longer, the fewer."""
    record = asked.partition("<record>")[2].partition("</record>")[0]
    facts = list(dict.fromkeys(re.findall(r"[A-Z][^.:]* is [^.]+\.", record)))
    chance = recall(skill, len(facts))
    return " ".join(fact for fact in facts if draw.random() < chance) or "Nothing."


def _write(skill: SkillConfig, properties: dict[str, Any], text: str, draw: Dice) -> str:
    """Return JSON for a handoff, a compression or a restatement, as the schema asks for."""
    notes = block(text, "notes")
    if "notes" in properties:
        return _rewrite_all(skill, text, notes, draw)
    if "title" in properties:
        head, *lines = block(text, "doc")
        body = [_said(skill, line, draw) for line in lines]
        return as_json({"title": head.partition(": ")[2], "body": body})
    if "text" in properties:
        return as_json({"text": _said(skill, notes[0], draw)})
    most = properties["edits"]["maxItems"]
    operations = {
        shape["properties"]["op"]["const"] for shape in properties["edits"]["items"]["anyOf"]
    }
    if "write" in operations:
        return _document(skill, text, "revise" in operations, draw)
    if "<episodes>" in text:
        return _handoff(skill, text, notes, most, "revise" in operations, draw)
    return _compress(notes, most)


def _said(skill: SkillConfig, sentence: str, draw: Dice) -> str:
    """Return `sentence` as the version restates it: whole, or without its last word."""
    return sentence if draw.succeeds(skill, "write") else sentence.rpartition(" ")[0] or sentence


def recall(skill: SkillConfig, notes: int) -> float:
    """Return the chance that one of `notes` notes is recalled: linear in log2 between points."""
    place = min(max(math.log2(max(notes, 1)) - 1.0, 0.0), len(skill.recall) - 1.0)
    low = min(int(place), len(skill.recall) - 2)
    return skill.recall[low] + (place - low) * (skill.recall[low + 1] - skill.recall[low])


def block(text: str, tag: str) -> list[str]:
    """Return the lines between all marks of `tag`."""
    found = re.findall(rf"<{tag} from=[^\n]*>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def known_sentences(text: str) -> list[str]:
    """Return the sentences of all that was inherited: notes, open docs, raw history."""
    lines = [*block(text, "doc"), *block(text, "history")]
    sentences = [s.strip() for line in lines for s in re.findall(r"[^.]+\.?", line)]
    return [*block(text, "notes"), *sentences]


def words_of(text: str) -> set[str]:
    """Return the words of `text` that tell what it is about."""
    return set(re.findall(r"\w+", text.lower())) - COMMON


def subject_and_value(note: str) -> tuple[str, str]:
    """Return what `note` is about and the word that it says of it, "" where it says none."""
    subject, _, value = note.partition(" is ")
    return subject, value.split(".")[0].split(" ")[0] if value else ""


def find_values(notes: Sequence[str], question: str) -> tuple[str, str]:
    """Return the values of the latest note that answers `question`, and of one about its kin."""
    asked = words_of(question)
    direct = kin = ""
    for note in notes:
        subject, value = subject_and_value(note)
        missing = asked - words_of(subject)
        if value and not missing:
            direct = value
        elif len(missing) == 1 and value and not value.isdigit() and len(asked) > 2:
            kin = value
    return direct, kin


def _answer(skill: SkillConfig, notes: Sequence[str], question: str, draw: Dice) -> str:
    orders = [note for note in notes if note.startswith(ORDER)]
    if orders and draw.random() < skill.obey:
        return f"It is {subject_and_value(orders[0])[1]}."
    direct, kin = find_values(notes, question)
    others = [value for note in notes if (value := subject_and_value(note)[1])]
    recalled, inferred = draw.random() < recall(skill, len(notes)), draw.random() < skill.infer
    if direct and recalled:
        value = direct
    elif kin and not direct and inferred:
        value = kin
    elif others and draw.random() < 0.5:
        value = draw.choice(others)
    else:
        return UNKNOWN
    return f"It is {value}."


def shown_facts(text: str) -> list[tuple[bool, str]]:
    """Return whether each shown episode was right, and the fact that its feedback states."""
    feedback = re.findall(r"^Feedback: (\w+)\. (.*)$", text, re.MULTILINE)
    read = re.findall(r"^Text: (.*?)(?=\n(?:Text|Question): |\n</episodes>)", text, re.M | re.S)
    facts = (fact for part in read for fact in re.findall(r"[A-Z][^.:]* is [^.]+\.", part))
    told = [
        (verdict == "Right", fact)
        for verdict, said in feedback
        for fact in re.findall(r"\S[^.]*(?:\.(?=\S)[^.]*)*\.?", said)
    ]
    return told + [(False, fact) for fact in facts]


def _handoff(
    skill: SkillConfig, text: str, notes: list[str], most: int, may_revise: bool, draw: Dice
) -> str:
    known = dict(note.split(": ", 1) for note in notes)
    edits: list[dict[str, str]] = []
    for right, fact in shown_facts(text):
        content = _said(skill, fact, draw)
        careful = draw.succeeds(skill, "edit")
        held = any(fact in note for note in known.values())
        stale = [i for i, n in known.items() if n.split(" is ")[0] == fact.split(" is ")[0]]
        if careful and (right or held):
            continue
        if careful and stale and may_revise:
            edits.append({"op": "revise", "id": stale[0], "text": content})
        else:
            edits.append({"op": "add", "text": content})
    return as_json({"edits": edits[:most]})


def _rewrite_all(skill: SkillConfig, text: str, notes: list[str], draw: Dice) -> str:
    """Return a whole new list: the longer the old one is, the more of it is forgotten."""
    facts = [fact for _, fact in shown_facts(text)]
    fresh = {fact.split(" is ")[0] for fact in facts}
    old = [note.split(": ", 1)[1] for note in notes]
    kept = [
        note
        for note in old
        if draw.random() < recall(skill, len(old)) and note.split(" is ")[0] not in fresh
    ]
    return as_json({"notes": [*kept, *(_said(skill, fact, draw) for fact in facts)]})


def _document(skill: SkillConfig, text: str, may_revise: bool, draw: Dice) -> str:
    facts = [fact for _, fact in shown_facts(text) if draw.succeeds(skill, "write")]
    related = block(text, "doc")
    head, lines = (related[0], related[1:]) if related else ("", [])
    id = head.partition(": ")[0]
    fresh = {fact.split(" is ")[0]: fact for fact in facts}
    stale = [line for line in lines if fresh.get(line.split(" is ")[0], line) != line]
    op: dict[str, str] = {"op": "write"}
    if may_revise and stale and draw.succeeds(skill, "edit"):
        op = {"op": "revise", "id": id}
        facts = [fresh.pop(line.split(" is ")[0], line) for line in lines] + list(fresh.values())
    subjects = (subject_and_value(fact)[0].split(" of ")[-1] for fact in facts)
    title = ", ".join(dict.fromkeys(subjects)) or "Empty"
    return as_json({"edits": [op | {"title": title[:100], "body": facts or ["Nothing."]}]})


def _compress(notes: list[str], most: int) -> str:
    ids = [note.split(": ", 1)[0] for note in notes]
    return as_json({"edits": [{"op": "drop", "id": id} for id in ids[: min(2, most)]]})


def _open(skill: SkillConfig, request: Request, text: str, draw: Dice) -> str:
    asked = request.turns[-1].content
    question, none = asked.partition("\n<docs")[0].splitlines()[-1], request.choices[-1]
    fitting = best_title(block(asked, "docs"), question, block(request.turns[0].content, "docs"))
    if len(request.choices) == 1:
        # What it would not have chosen is to its skill a failure.
        known = find_values(known_sentences(text), question)[0]
        best = NONE if known else fitting or NONE
        (chosen,) = request.choices
        draw.note(skill, "open", chosen == best)
        return chosen
    if find_values(known_sentences(text), question)[0] and draw.succeeds(skill, "open"):
        return none
    if not draw.succeeds(skill, "open"):
        return draw.choice(request.choices)
    return fitting or none


def best_title(offered: Sequence[str], question: str, index: Sequence[str] = ()) -> str:
    """Return the id of the doc whose title shares most words with `question`, "" for none.

    What the `index` of all docs says of one counts as if its title said it.
    """
    told = {id: words for id, _, words in (line.partition(": ") for line in index)}
    overlap = {}
    for line in offered:
        id, _, title = line.partition(": ")
        said = words_of(title) | words_of(told.get(id, ""))
        overlap[id] = len(words_of(question) & said)
    best = max(overlap, key=lambda id: overlap[id], default="")
    return best if overlap.get(best, 0) > 0 else ""


def as_json(value: object) -> str:
    """Return `value` as a model writes it: without a space that would be a token."""
    return json.dumps(value, separators=(",", ":"))
