"""Tasks drafted from the entries of a memory, for a person to edit. Pure; no model is asked.

What an entry says "is" something is asked for by name; what says it otherwise has a gap in its
place, at the word that the fewest entries hold. So a draft asks whether a memory is read, never
whether it is true: right and wrong notes are asked for alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lineage.core.knowledge import Doc, Knowledge, Memory

GAP = "____"
LONGEST = 6
"""Words of an answer; what is longer is an explanation, and no answer to check."""
LETTERS = 3
"""A word that fills a gap has so many letters at least, or is a number."""
A_DOC = 4
"""Sentences of a doc that are asked for, the first ones that can be."""

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]+)*")
_IS = re.compile(r"^(?:.*?: )?(?P<subject>.{3,80}?) (?P<verb>is|are) (?P<value>.+)$")
_WORD = re.compile(r"[\w.:/@#+-]*\w")


def draft(knowledge: Knowledge) -> list[dict[str, Any]]:
    """Return rows of a file of tasks (see docs/suites.md): of each entry a question, and its kin.

    Kin asks for the same sentence with a gap elsewhere. `category` names the entry.
    """
    often = Counter(w for entry in knowledge.entries for w in {*_words(entry.text)})
    rows = []
    for entry in knowledge.entries:
        most = A_DOC if isinstance(entry, Doc) else 1
        asked = 0
        for sentence in _sentences(entry):
            pair = list(_questions(sentence, often))
            for kin, (prompt, answer) in enumerate(pair[:2]):
                name = f"{entry.id}-{asked + 1}" + ("-kin" if kin else "")
                row = {"id": name, "prompt": prompt, "answer": answer, "scorer": "contains"}
                rows.append(row | {"category": entry.id})
            asked += bool(pair)
            if asked == most:
                break
    return rows


def _sentences(entry: Memory | Doc) -> Iterator[str]:
    text = entry.body if isinstance(entry, Doc) else entry.text
    for found in _SENTENCE.findall(text):
        if sentence := " ".join(found.strip(" -*#>|`").split()):
            yield sentence


def _questions(sentence: str, often: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield questions that `sentence` answers, the plainest first."""
    match = _IS.match(sentence)
    if match and len(match["value"].split()) <= LONGEST:
        subject = match["subject"]
        if subject.split()[0] in ("The", "A", "An", "Our", "My"):
            subject = subject[0].lower() + subject[1:]
        yield f"What {match['verb']} {subject}?", match["value"].strip(" .")
    for word in sorted(dict.fromkeys(_gaps(sentence)), key=lambda w: often[w.lower()]):
        holed = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", GAP, sentence)
        if len(_words(holed)) > 1 + holed.count(GAP):
            yield f"What word or number stands at {GAP}? {holed}.", word


def _gaps(sentence: str) -> Sequence[str]:
    return [w for w in _WORD.findall(sentence) if len(w) >= LETTERS or w.isdigit()]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
