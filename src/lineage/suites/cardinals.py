"""Cardinal numbers in English words: "forty-two", "minus three million and one". Pure."""

from __future__ import annotations

import regex

SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
"""Their powers of ten."""
ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
""".split()  # noqa: SIM905
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
SIZES = {word: size for size, word in enumerate(ONES)} | {
    word: 10 * size for size, word in enumerate(TENS, start=2)
}
LINE = regex.compile(
    r"(?:(?:the |my )?(?:final )?(?:answer|result|total|sum)(?: is)? "
    r"|(?:it|that|there)(?: is|s| s) )?"
    r"(?P<minus>minus |negative )?(?P<words>.+)"
)


def cardinal(line: str) -> int | None:
    """Return the number that `line` is, None where it says more, or something else.

    "The answer is" and the like may stand before it, and "and" between its parts.
    """
    match = LINE.fullmatch(" ".join(regex.findall(r"\p{L}+", line.casefold())))
    if match is None:
        return None
    total = part = 0
    room = 100  # what the next word must be below: 10 after "twenty"
    scale = max(SCALES.values()) + 1  # what the next scale must be below
    for word in match["words"].split():
        if word == "and" and total + part:
            continue
        if SIZES.get(word, room) < room:
            part, room = part + SIZES[word], 10 if word in TENS else 0
        elif word == "hundred" and 0 < part < 10:
            part, room = part * 100, 100
        elif word in SCALES and word != "hundred" and part and SCALES[word] < scale:
            total, part, room, scale = total + part * 10 ** SCALES[word], 0, 100, SCALES[word]
        else:
            return None
    return -(total + part) if match["minus"] else total + part
