"""The surrogate engine: a deterministic behavioural model of a small language model.

It reads the prompt's text and nothing else (never a task's answer), and writes text like any
other engine. It finds the note that shares most words with the question; its recall of a note
falls with the number of notes in the prompt as was measured on SmolLM2-135M-Instruct. All its
draws are hashed from version, prompt and seed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from random import Random

from lineage.config import SkillConfig, SurrogateConfig
from lineage.errors import LineageError
from lineage.models.protocol import Completion, Request, TokenCounter
from lineage.seeds import rng

UNKNOWN = "I do not know."
DEFAULT = "default"
COMMON = frozenset(("what", "is", "the", "of", "a", "an", "in", "which", "for", "to", "and"))
RECALL_AT = (2, 4, 8, 16)


class Surrogate:
    """An `Engine` in this process; `skills` by version name, `default` for the others."""

    def __init__(self, config: SurrogateConfig) -> None:
        if DEFAULT not in config.skills:
            raise LineageError("engine.surrogate.skills needs an entry named 'default'")
        self.skills = config.skills

    async def start(self, versions: Sequence[str]) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to stop."""

    async def counter(self, version: str) -> TokenCounter:
        """Count words and marks: near enough to a tokenizer, and the same everywhere."""
        return count_tokens

    async def generate(self, request: Request) -> Completion:
        """Return what the version's skills make of the prompt."""
        prompt = "".join(f"<|im_start|>{t.role}\n{t.content}<|im_end|>\n" for t in request.turns)
        draw = rng("surrogate", request.version, prompt, request.seed if request.temperature else 0)
        text = respond(self.skills.get(request.version, self.skills[DEFAULT]), request, draw)
        return Completion(
            text=text,
            prompt=prompt,
            finish_reason="stop",
            prompt_tokens=count_tokens(prompt),
            completion_tokens=count_tokens(text),
        )


def count_tokens(text: str) -> int:
    """Return the number of words and punctuation marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def respond(skill: SkillConfig, request: Request, draw: Random) -> str:
    """Return the text for `request`: which of its jobs it is, the constraint tells."""
    text = "\n".join(turn.content for turn in request.turns if turn.role != "assistant")
    notes = _block(text, "notes")
    if request.choices:
        return _open(skill, request, text, notes, draw)
    if request.schema is not None:
        properties = request.schema["properties"]
        if "title" in properties:
            return _document(skill, text, draw)
        if "<episodes>" in text:
            return _handoff(skill, text, notes, properties["edits"]["maxItems"], draw)
        return _compress(notes, properties["edits"]["maxItems"])
    sentences = [s for line in _block(text, "doc") for s in re.findall(r"[^.]+\.?", line)]
    return _answer(skill, [*notes, *sentences], request.turns[-1].content.splitlines()[-1], draw)


def recall(skill: SkillConfig, notes: int) -> float:
    """Return the chance that one of `notes` notes is recalled: linear in log2 between points."""
    place = min(max(math.log2(max(notes, 1)) - 1.0, 0.0), len(skill.recall) - 1.0)
    low = min(int(place), len(skill.recall) - 2)
    return skill.recall[low] + (place - low) * (skill.recall[low + 1] - skill.recall[low])


def _block(text: str, tag: str) -> list[str]:
    """Return the lines between the marks of `tag`."""
    found = re.search(rf"<{tag} from=[^\n]*>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return found.group(1).splitlines() if found else []


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - COMMON


def _subject_and_value(note: str) -> tuple[str, str]:
    subject, _, value = note.partition(" is ")
    return subject, value.split(".")[0].split(" ")[0] if value else ""


def _find(notes: Sequence[str], question: str) -> tuple[str, str]:
    """Return the values of the latest note that answers `question`, and of one about its kin."""
    asked = _words(question)
    direct = kin = ""
    for note in notes:
        subject, value = _subject_and_value(note)
        missing = asked - _words(subject)
        if value and not missing:
            direct = value
        elif len(missing) == 1 and value and not value.isdigit() and len(asked) > 2:
            kin = value
    return direct, kin


def _answer(skill: SkillConfig, notes: Sequence[str], question: str, draw: Random) -> str:
    direct, kin = _find(notes, question)
    others = [value for note in notes if (value := _subject_and_value(note)[1])]
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


def _episodes(text: str) -> list[tuple[bool, str]]:
    """Return whether each shown episode was right, and the fact that its feedback states."""
    feedback = re.findall(r"^Feedback: (\w+)\. (.*)$", text, re.MULTILINE)
    return [(verdict == "Right", fact) for verdict, fact in feedback]


def _handoff(skill: SkillConfig, text: str, notes: list[str], most: int, draw: Random) -> str:
    known = dict(note.split(": ", 1) for note in notes)
    edits: list[dict[str, str]] = []
    for right, fact in _episodes(text):
        content = fact if draw.random() < skill.write else fact.rsplit(" ", 1)[0]
        careful = draw.random() < skill.edit
        held = any(fact in note for note in known.values())
        stale = [i for i, n in known.items() if n.split(" is ")[0] == fact.split(" is ")[0]]
        if careful and (right or held):
            continue
        if careful and stale:
            edits.append({"op": "revise", "id": stale[0], "text": content})
        else:
            edits.append({"op": "add", "text": content})
    return _json({"edits": edits[:most]})


def _document(skill: SkillConfig, text: str, draw: Random) -> str:
    facts = [fact for _, fact in _episodes(text) if draw.random() < skill.write]
    subjects = (_subject_and_value(fact)[0].split(" of ")[-1] for fact in facts)
    title = ", ".join(dict.fromkeys(subjects)) or "Empty"
    return _json({"title": title[:100], "body": (" ".join(facts) or "Nothing.")[:400]})


def _compress(notes: list[str], most: int) -> str:
    ids = [note.split(": ", 1)[0] for note in notes]
    return _json({"edits": [{"op": "drop", "id": id} for id in ids[: min(2, most)]]})


def _open(
    skill: SkillConfig, request: Request, text: str, notes: Sequence[str], draw: Random
) -> str:
    question, none = request.turns[-1].content.splitlines()[0], request.choices[-1]
    if _find(notes, question)[0] and draw.random() < skill.open:
        return none
    if draw.random() >= skill.open:
        return draw.choice(request.choices)
    overlap = {}
    for line in _block(text, "docs"):
        id, _, title = line.partition(": ")
        overlap[id] = len(_words(question) & _words(title))
    best = max(overlap, key=lambda id: overlap[id], default=none)
    return best if overlap.get(best, 0) > 0 else none


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
