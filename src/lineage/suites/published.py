"""The published rules of benchmarks: what their own code says of an answer. Pure.

Each follows the code that it cites, quirks included, so that scores compare with published ones;
docs/suites.md tells how many answers the two were compared on. They are given the completion as
it is; where the code takes an answer out of a reply that it asked for in JSON, so does the rule,
and without one the completion is the answer.

    prefix             CLadder: causalbenchmark/eval/run_gpt_v1.5.py of causalNLP/cladder
    locomo             task_eval/evaluation.py of snap-research/locomo
    memoryagentbench   utils/eval_other_utils.py of HUST-AI-HYZ/MemoryAgentBench
    ddxplus            stream_bench/benchmarks/ddxplus.py of stream-bench/stream-bench
    hotpotqa           hotpot_evaluate_v1.py of hotpotqa/hotpot; JSON as in stream-bench
    ace                finance/data_processor.py and utils.py of ace-agent/ace
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import regex

Options = Mapping[str, Any]

ARTICLES = re.compile(r"\b(a|an|the)\b")
LOCOMO_ARTICLES = regex.compile(r"\b(a|an|the|and)\b")
NOTHING_TOLD = ("no information available", "not mentioned")
LABELS = frozenset({"yes", "no", "noanswer"})
"""Answers of HotpotQA that have no part."""
NUMBERED = re.compile(r"(?<!\d)(\d++)\.")
ANSWER = re.compile(r"Answer:(.*)(?:\n|$)", re.IGNORECASE)
LINE = re.compile(r"^(.*)(?:\n|$)")
# Where ACE looks for an answer, in this order, after a reply that is JSON as a whole.
QUOTED = (
    re.compile(r"Finish\[(.*?)\]"),
    re.compile(r'"final_answer"\s*:\s*"([^"]*)"'),
    re.compile(r"'final_answer'\s*:\s*'([^']*)'"),
)
BARE = re.compile(r"""['"]final_answer['"]\s*:\s*([^,}]+)""")
BOX = re.compile(r"[Tt]he final answer is:?\s*\$?\\boxed\{([^{}]*)\}")
TOLD = re.compile(r"[Tt]he final answer is:?\s*([^\n.]+)")


def squad(text: str) -> str:
    """Return `text` in lower case without ASCII punctuation and articles (SQuAD's own rule)."""
    shown = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", shown).split())


def score(name: str, options: Options, answers: Sequence[str], said: str) -> float:
    """Return the score by the rule `name`: the best over `answers`, or for ruler_recall the mean.

    Raises KeyError for an unknown name.
    """
    if options.get("metric") == "ruler_recall":
        return sum(answer.lower() in said.lower() for answer in answers) / max(len(answers), 1)
    return max((RULES[name](options, answer, said) for answer in answers), default=0.0)


def prefix(options: Options, answer: str, said: str) -> float:
    """1.0 where the completion starts with the answer: case, spaces and " before it aside.

    Of `choices`, and of what counts as `none` of them, the longest that it starts with is meant.
    """
    start = said.lower().strip().strip('"')
    known = [*options["choices"], *options.get("none", ())]
    met = [text for text in known if start.startswith(text.lower())]
    return float(bool(met) and max(met, key=len).lower() == answer.lower())


def locomo(options: Options, answer: str, said: str) -> float:
    """Token F1 of stems without articles and "and", by the question's `category`.

    1, multi-hop: the mean over the answer's parts between commas, each with the best part said.
    3, open-domain: of the answer only what is before a semicolon. 5, adversarial: 1.0 where the
    completion says that there is no such information.
    """
    category = options["category"]
    if category == 5:
        return float(any(phrase in said.lower() for phrase in NOTHING_TOLD))
    if category == 3:
        return _stemmed_f1(said, answer.split(";")[0].strip())
    if category != 1:
        return _stemmed_f1(said, answer)
    mine, right = (sorted(set(text.split(","))) for text in (said, answer))
    best = {part: max(_stemmed_f1(one, part) for one in mine) for part in right}
    parts = answer.split(",")
    return sum(best[part] for part in parts) / len(parts)


def memoryagentbench(options: Options, answer: str, said: str) -> float:
    """The benchmark's `metric`, after SQuAD's normalisation.

    substring_exact_match: the answer is part of the completion; exact_match: it is the completion,
    or what is parsed out of it: what follows "Answer:", or else the first line. With parsed_ before
    them only that counts: so EventQA and in-context learning are scored. RULER's needles are by
    ruler_recall, the share of the answers that the completion holds, but for case.
    """
    right = squad(answer)
    parsed = squad(_after_answer(said))
    if options["metric"] == "parsed_substring_exact_match":
        return float(right in parsed)
    if options["metric"] == "substring_exact_match":
        return float(right in squad(said) or right in parsed)
    if options["metric"] == "parsed_exact_match":
        return float(parsed == right)
    return float(right in (squad(said), parsed))


def ddxplus(options: Options, answer: str, said: str) -> float:
    """1.0 where the first number with a point after it is that of the answer, "12. Asthma"."""
    first = NUMBERED.search(said.lower().strip())
    # Not int(): it refuses more than 4,300 digits.
    return float(first is not None and Decimal(first[1]) == Decimal(answer.partition(".")[0]))


def hotpotqa(options: Options, answer: str, said: str) -> float:
    """The `metric` em (the default) or f1 after SQuAD's normalisation.

    Of a completion with a JSON object, what its key "answer" holds is compared, as in StreamBench.
    """
    mine, right = squad(_from_json(said)), squad(answer)
    if options.get("metric", "em") == "em":
        return float(mine == right)
    if mine != right and (mine in LABELS or right in LABELS):
        return 0.0
    return overlap(mine.split(), right.split())


def ace(options: Options, answer: str, said: str) -> float:
    """1.0 where the final answer is the same float but for commas, or else the same text."""
    final = _final(said)
    try:
        return float(float(final.replace(",", "")) == float(answer.replace(",", "")))
    except ValueError:
        return float(final.replace(",", "") == answer.replace(",", ""))


RULES: dict[str, Callable[[Options, str, str], float]] = {
    rule.__name__: rule for rule in (prefix, locomo, memoryagentbench, ddxplus, hotpotqa, ace)
}


def check(name: str, options: Options, answers: Sequence[str]) -> str:
    """Return what is wrong with a rule's answers, "" where nothing is."""
    if name == "prefix":
        return _bad_prefixes(options, answers)
    if name == "ddxplus" and not all(re.match(r"\d{1,9}\. ", answer) for answer in answers):
        return "scorer 'ddxplus' needs answers as '12. Asthma', with the number of the diagnosis"
    for answer in answers:
        empty = not _stems(answer) if name == "locomo" else not squad(answer)
        if empty and name != "ace":
            return f"the answer {answer!r} holds no word after {name}'s own rule: leave it out"
    return ""


def _bad_prefixes(options: Options, answers: Sequence[str]) -> str:
    choices = [text.lower() for text in options["choices"]]
    if len(set(choices)) < len(choices):
        return "scorer 'prefix': two of the choices are the same but for case"
    wrong = next((answer for answer in answers if answer.lower() not in choices), None)
    return "" if wrong is None else f"the answer {wrong!r} is not among the choices"


@cache
def _stem() -> Callable[[str], str]:
    # Not snowballstemmer: its Porter stemmer is the original one, of another stem for 1 word in 75.
    from nltk.stem.porter import PorterStemmer

    stem: Callable[[str], str] = PorterStemmer().stem
    return stem


def _stems(text: str) -> list[str]:
    shown = "".join(c for c in text.lower() if c not in string.punctuation)
    return [_stem()(word) for word in LOCOMO_ARTICLES.sub(" ", shown).split()]


def _stemmed_f1(said: str, answer: str) -> float:
    return overlap(_stems(said), _stems(answer))


def overlap(mine: Sequence[str], right: Sequence[str]) -> float:
    """Return the harmonic mean of the shares of common words, 0.0 where there is none."""
    common = sum((Counter(mine) & Counter(right)).values())
    return 2 * common / (len(mine) + len(right)) if common else 0.0


def _after_answer(said: str) -> str:
    match = ANSWER.search(said) or LINE.search(said)
    found = match[1].strip() if match else ""
    return found[len("answer:") :].strip() if found.lower().startswith("answer:") else found


def _from_json(said: str) -> str:
    """Return what the first JSON object in `said` has for "answer", or it, or else `said`."""
    start, level = said.find("{"), 0
    if start < 0 or "}" in said[:start]:
        return said
    for end in range(start, len(said)):
        level += (said[end] == "{") - (said[end] == "}")
        if not level:
            break
    found = said[start : end + 1]
    try:
        value = json.loads(found)
    except (ValueError, RecursionError):
        return said
    return str(value.get("answer", found))


def _final(said: str) -> str:
    """Return the final answer of a completion, all of it where none is marked."""
    try:
        reply = json.loads(said)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict):
        return str(reply.get("final_answer", ""))
    for pattern in QUOTED:
        if found := pattern.findall(said):
            return str(found[-1])
    if found := BARE.findall(said):
        return str(found[-1].strip().rstrip(",}"))
    if (box := BOX.search(said)) and box[1]:
        return box[1]
    if (found := TOLD.findall(said)) and (last := found[-1].replace("$", "").strip()):
        return str(last)
    return said.strip()
