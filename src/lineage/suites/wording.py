"""Texts as words, to be compared without case, punctuation and articles. Pure.

The idea is SQuAD's (Rajpurkar et al. 2016), which deletes punctuation: so 31.4 is 3.14, and
Paris—France one word. Here punctuation parts words and numbers stay what they are:

    a word     letters, marks and digits, with apostrophes inside dropped ("don't" is "dont"), the
               points of initials too ("U.S." is "us"), and a last +, # or - kept (C++, F#, A-);
               of scripts without spaces (Chinese, Japanese, Thai, ...) each sign is a word
    a number   its digits, without groups of thousands (see `lineage.suites.numbers`), with a sign,
               a fraction, a power or an exponent: -5, 1/2, 10^3, 12:30 are one word each; % is one
               of its own, a currency none

All in Unicode's compatible form (NFKC) and without case. Articles are a, an and the.
"""

from __future__ import annotations

from dataclasses import dataclass

import regex

from lineage.suites.figures import DASH, DASHES, folded, ungrouped

ARTICLES = frozenset({"a", "an", "the"})
SINGLE = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # no spaces in between
)
LETTER = rf"[[\p{{L}}\p{{M}}]--[{SINGLE}]]"
PART = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{SINGLE}]]"
FENCE = ("```", "~~~")
BOXED = regex.compile(r"\\f?boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*+\})*+)\}")
WRAPPED = regex.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|mbox)\b\s*")

WORD = regex.compile(
    rf"""
    (?P<initials> (?<!{PART})(?:{LETTER}\.){{2,}}(?:{LETTER}(?!{PART}))? )
  | (?P<number>
        (?P<sign> (?<![\p{{L}}\p{{N}})\]}}%]){DASH}\p{{Sc}}?(?=\.?\d)
                | (?<![\p{{L}}\p{{N}})\]}}%])\p{{Sc}}{DASH}(?=\.?\d) )?
        (?: (?P<whole>(?<![\d/])\d+)\s?[/⁄]\s?(?P<below>\d+)(?![/⁄\d])
          | (?P<time>\d+(?::\d+)+)
          | (?P<digits> (?<![\d.,])\d{{1,3}}(?:\s\d{{3}})+(?!{PART})(?:[.,]\d+)?
                      | \d+(?:[.,'_]\d+)* | (?<!{PART}|[.)])\.\d+ ) )
        (?P<power>\^\{{?(?:\+|{DASH})?\d+\}}?)?
        (?P<unit>[eE](?:\+|{DASH})?\d+|{PART}+)? )
  | (?P<percent> (?<=\d\s?)% )
  | (?P<word> {PART}+(?:'{LETTER}+)*
        (?:\^\{{?(?:\+|{DASH})?\d+\}}? | (?<={LETTER})(?:\+{{1,2}}|\#)(?!{PART})
          | (?<=(?<!{PART})[A-Z]{{1,2}})[-−](?![\p{{L}}\p{{N}}{DASHES}>]) )? )
  | (?P<single> [{SINGLE}]\p{{M}}* )
    """,
    regex.VERBOSE | regex.VERSION1,
)


@dataclass(frozen=True)
class Word:
    """A word as it is compared (`text`) and as it stands between `start` and `end` (`raw`)."""

    text: str
    raw: str
    start: int
    end: int


def words(line: str) -> list[Word]:
    """Return the words of `line`, which is in the form of `written`."""
    return [Word(_text(m), m[0], *m.span()) for m in WORD.finditer(line)]


def written(text: str) -> str:
    """Return `text` in the one form in which places are counted: NFKC, straight apostrophes."""
    return str(regex.sub("[’‘ʼ＇`´](?=\\p{L})(?<=\\p{L}.)", "'", folded(text)))


def plain(text: str) -> str:
    """Return the words of `text` without articles, or with them where nothing else is said."""
    return without_articles(text) or bare(text)


def without_articles(text: str) -> str:
    """Return the words of `text` without articles, parted by spaces."""
    return " ".join(w.text for w in words(written(text)) if w.text not in ARTICLES)


def bare(text: str) -> str:
    """Return the words of `text`, parted by spaces."""
    return " ".join(word.text for word in words(written(text)))


def same(said: str, answer: str) -> bool:
    """Whether both are the same words, or the same text where there are no words."""
    right = plain(answer)
    return plain(said) == right if right else said.strip() == answer.strip() != ""


def holds(said: str, answer: str) -> bool:
    """Whether the words of `answer` stand in `said`; an article alone counts as it is written."""
    right = without_articles(answer)
    if right:
        return f" {right} " in f" {without_articles(said)} "
    raw = " ".join(word.raw for word in words(written(answer)))
    shown = " ".join(word.raw for word in words(written(said)))
    return f" {raw} " in f" {shown} " if raw else "" != answer.strip() in said


def first_line(said: str) -> str:
    """Return what answers: the first line that says something, with the next after a colon.

    Lines without letters and digits, and those of code fences, say nothing.
    """
    lines = (line.strip() for line in said.splitlines() if not line.strip().startswith(FENCE))
    telling = [line for line in lines if any(c.isalnum() for c in folded(line))][:2]
    if telling[1:] and telling[0].rstrip("*_# ").endswith((":", "：")):
        return " ".join(telling)
    return telling[0] if telling else ""


def boxed(said: str) -> str:
    r"""Return what the last \boxed{...} holds, "" where there is none."""
    found = BOXED.findall(said)
    return WRAPPED.sub("", found[-1]) if found else ""


def _text(match: regex.Match[str]) -> str:
    if match["initials"]:
        return str(match[0]).replace(".", "").casefold()
    if not match["number"]:
        return str(match[0]).replace("'", "").replace("{", "").replace("}", "").casefold()
    if match["digits"]:
        spaced = "".join(match["digits"].split())
        digits = ungrouped(spaced) or spaced.replace(",", " ")
    else:
        digits = match["time"] or f"{match['whole']}/{match['below']}"
    sign = "-" if match["sign"] else ""
    rest = (match["power"] or "").strip("}").replace("{", "") + (match["unit"] or "")
    return sign + digits + "".join("-" if c in DASHES else c for c in rest).casefold()
