"""What a line is made of where numbers are looked for (`numbers` has the grammar). Pure."""

from __future__ import annotations

import regex

from lineage.suites.figures import DASH, DASHES, folded

DEPTH = 8
"""Most brackets within brackets: what holds more is no number."""

SAME = str.maketrans(
    {"⁄": "/", "∕": "/", "÷": "/", "×": "*", "·": "*", "⋅": "*", "∙": "*", "٫": ".", "٬": ","}
)
LATEX = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\pm": "±",
    r"\pi": "π",
    r"\sqrt": "√",
    r"\left": "",
    r"\right": "",
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
}
ESCAPED = (("{,}", ","), (r"\,", " "), (r"\$", "$"), (r"\%", "%"), (r"\{", "("), (r"\}", ")"))
BRACKETS = {"(": ")", "{": "}"}

TOKEN = regex.compile(
    rf"""
    (?P<space>\s+)
  | (?P<junk> \d[\d.,]*(?:(?::|{DASH})\d[\d.,]*)+ | \d+(?:/\d+){{2,}} )
  | (?P<number>
        (?: (?<![\d.,])\d{{1,3}}(?:\s\d{{3}})+(?!\d)(?:[.,]\d+)?
          | \d+(?:[.,'’_]\d+)* | (?<![\w.)])\.\d+ )
        (?:[eE](?:\+|{DASH})?\d+)? )
  | (?P<times> (?<=\d\s?)[xX](?=\s?\d) )
  | (?P<currency>
        (?<!\p{{L}})(?:[A-Z]{{1,3}})?\p{{Sc}} | (?:[A-Z]{{3}}|Rs\.?|RM)(?=\s?{DASH}?\d+[.,\d]*) )
  | (?P<latex> \\[A-Za-z]+ )
  | (?P<word> \p{{L}}[\p{{L}}\p{{M}}\p{{N}}_]*(?:\^\{{?(?:\+|{DASH})?\d+\}}?)? )
  | (?P<sign> \*\*|\+/-|. )
    """,
    regex.DOTALL | regex.VERBOSE,
)


class Tokens:
    """A line as kinds and texts of tokens, each with whether a space stands before it."""

    def __init__(self, line: str) -> None:
        self.kinds: list[str] = []
        self.words: list[str] = []
        self.spaced: list[bool] = []
        space = True
        for match in TOKEN.finditer(written(line)):
            kind, word = str(match.lastgroup), match[0]
            if kind == "space":
                space = True
                continue
            if kind == "latex":
                kind, word = "sign", LATEX.get(word, word)
            elif kind == "times":
                kind, word = "sign", "*"
            elif kind == "word":
                word = word.casefold()
            elif word in DASHES:
                word = "-"
            if word:
                self.kinds.append(kind)
                self.words.append(word)
                self.spaced.append(space)
            space = False
        self.spaced.append(True)
        self.closing = self._pairs()

    def _pairs(self) -> dict[int, int]:
        """Return where each bracket closes, of those that do and hold at most DEPTH levels."""
        opened: list[tuple[int, int]] = []
        pairs: dict[int, int] = {}
        for at, word in enumerate(self.words):
            if word in BRACKETS:
                opened.append((at, 0))
            elif word in BRACKETS.values():
                if not opened or BRACKETS[self.words[opened[-1][0]]] != word:
                    opened.clear()
                    continue
                start, level = opened.pop()
                if level < DEPTH:
                    pairs[start] = at
                if opened:
                    opened[-1] = opened[-1][0], max(opened[-1][1], level + 1)
        return pairs

    def kind(self, at: int) -> str:
        return self.kinds[at] if 0 <= at < len(self.kinds) else ""

    def word(self, at: int) -> str:
        return self.words[at] if 0 <= at < len(self.words) else ""

    def even(self, at: int) -> bool:
        """Whether the sign at `at` has a space on both sides, or none."""
        return self.spaced[at] == self.spaced[at + 1]


def written(line: str) -> str:
    """Return `line` with what Unicode and LaTeX write otherwise as the grammar has it."""
    shown = folded(line).translate(SAME)
    for mark, sign in ESCAPED:
        shown = shown.replace(mark, sign)
    return shown
