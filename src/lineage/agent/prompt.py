"""Prompt assembly: pure functions from Knowledge, task and steps to conversation turns.

What is shared by a generation's episodes comes first (rules, memories), what differs comes last
(docs that were opened, the task), so that the prefix cache serves them all. Inherited text is
data: it is escaped, stands between marks that name its authors, and is never part of the rules.
`texts` are the user's own prompts, which stand in place of ours (`OURS`: none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from lineage.agent.history import Experience, Past, Trace
from lineage.agent.inert import escape as escape
from lineage.agent.inert import inert
from lineage.core.knowledge import Doc, Knowledge, Memory
from lineage.core.prompts import Texts, said
from lineage.models.protocol import Turn

NO_DOC = "none"
BLOCKS = 1024
"""Blocks of memories that are kept, of some KiB each: those of the generations in flight."""


def fence(tag: str, versions: Sequence[str], lines: Sequence[str]) -> str:
    """Return `lines` between marks that name the versions that wrote them."""
    authors = ", ".join(sorted({escape(version) for version in versions}))
    return "\n".join((f'<{tag} from="{authors}">', *lines, f"</{tag}>"))


def _authors(entries: Sequence[Memory | Doc]) -> list[str]:
    return [entry.edited.version for entry in entries]


def memory_block(knowledge: Knowledge, with_ids: bool = False, index: str = "") -> str:
    """Return the memories as they stand in a prompt, then the `index` of the docs; "" for neither.

    This text is what the memory budget counts.
    """
    notes = ""
    if knowledge.memories:
        notes = _memory_block(knowledge.memories, with_ids)
    return f"{notes}\n{index}" if notes and index else notes or index


@lru_cache(maxsize=BLOCKS)
def _memory_block(memories: tuple[Memory, ...], with_ids: bool) -> str:
    # All episodes of a generation ask for one of a few.
    prefix = "{}: {}" if with_ids else "{1}"
    lines = [prefix.format(m.id, escape(m.text)) for m in memories]
    return fence("notes", _authors(memories), lines)


def doc_index(docs: Sequence[Doc], remarks: Mapping[str, str] | None = None) -> str:
    """Return the ids and titles of `docs`, "" where there are none.

    `remarks` are what is said of some of them besides, by id.
    """
    if not docs:
        return ""
    more = {id: f" ({text})" for id, text in (remarks or {}).items()}
    lines = [f"{doc.id}: {escape(doc.title + more.get(doc.id, ''))}" for doc in docs]
    return fence("docs", _authors(docs), lines)


def doc_block(doc: Doc, with_id: bool = False) -> str:
    """Return an open doc: its body as it is, but inert, under its id and title where `with_id`."""
    head = [f"{doc.id}: {escape(doc.title)}"] if with_id else []
    lines = (inert(line) for line in doc.body.splitlines())
    return fence("doc", _authors([doc]), [*head, *lines])


def history_block(texts: Texts, past: Sequence[Past], wrong_answers: bool) -> str:
    """Return raw episodes of earlier generations, "" where there are none."""
    if not past:
        return ""
    lines = [_episode(texts, p.experience, wrong_answers) for p in past]
    return fence("history", [p.version for p in past], lines)


def system_turn(texts: Texts, rules: str, *inherited: str, instructions: str = "") -> Turn:
    """Return the system turn: the rules named `rules`, then the inherited blocks that exist.

    A suite's own `instructions` stand in place of the rules.
    """
    blocks = [block for block in inherited if block]
    head = [instructions or said(texts, rules)]
    if blocks:
        head.append(said(texts, "inherited"))
    return Turn("system", "\n".join((*head, *blocks)))


def act_turns(
    texts: Texts,
    knowledge: Knowledge,
    prompt: str,
    opened: Sequence[Doc] = (),
    transcript: str = "",
    recalled: str = "",
    instructions: str = "",
    index: str = "",
) -> tuple[Turn, ...]:
    """Return the turns that ask for an answer, as the suite's `instructions` want it.

    `opened` are the docs that stand before the task; `transcript` and `recalled` are blocks of
    raw history, the first shared by all tasks and the second found for this one; `index` is that
    of all docs (see `lineage.agent.index`).
    """
    shared = (memory_block(knowledge, index=index), transcript)
    system = system_turn(texts, "act", *shared, instructions=instructions)
    blocks = [doc_block(doc) for doc in opened]
    if recalled:
        blocks.append(recalled)
    return (system, Turn("user", "\n".join((*blocks, prompt))))


def with_context(turns: Sequence[Turn], context: str) -> tuple[Turn, ...]:
    """Return `turns` with what the task gives to learn from before the question."""
    return (*turns[:-1], Turn("user", f"{quoted(context)}\n{turns[-1].content}"))


def conversation(head: Sequence[Turn], first: str, trace: Trace) -> tuple[Turn, ...]:
    """Return the turns that ask for the next action in an environment.

    `head` ends with the task; `first` is what the environment showed at the beginning.
    """
    summary = f"<summary>\n{quoted(trace.summary)}\n</summary>" if trace.summary else ""
    parts = (head[-1].content, _inert(first), summary)
    turns = [*head[:-1], Turn("user", "\n".join(part for part in parts if part))]
    for exchange in trace.exchanges:
        turns.append(Turn("assistant", _inert(exchange.action)))
        turns.append(Turn("user", _inert(exchange.result)))
    return tuple(turns)


def record(trace: Trace) -> str:
    """Return an episode's turns as escaped data, "" where there are none."""
    lines = [f"Summary: {escape(trace.summary)}"] if trace.summary else []
    for exchange in trace.exchanges:
        lines += [f"Action: {escape(exchange.action)}", f"Result: {quoted(exchange.result)}"]
    return "\n".join(lines)


def summary_turns(texts: Texts, prompt: str, text: str) -> tuple[Turn, ...]:
    """Return the turns that ask to sum up `text`, the record of work on the task `prompt`."""
    asked = said(texts, "summary", prompt=_inert(prompt), record=text)
    return (system_turn(texts, "summarise"), Turn("user", asked))


def judge_turns(texts: Texts, prompt: str) -> tuple[Turn, ...]:
    """Return the turns that ask a judge for yes or no."""
    return (system_turn(texts, "judge"), Turn("user", _inert(prompt)))


def quoted(text: str) -> str:
    """Return `text` escaped line by line."""
    return "\n".join(escape(line) for line in text.splitlines())


def _inert(text: str) -> str:
    """Return `text` as it is, but for what a chat template would read as a special token."""
    return text.replace("<|", "< |").replace("|>", "| >")


def open_turns(
    texts: Texts,
    knowledge: Knowledge,
    prompt: str,
    found: Sequence[Doc],
    opened: Sequence[Doc] = (),
    index: str = "",
    remarks: Mapping[str, str] | None = None,
) -> tuple[Turn, ...]:
    """Return the turns that ask which of `found` to open; the answer is an id or `NO_DOC`.

    `remarks` are those of `lineage.agent.extract`, by id.
    """
    asked = said(texts, "open", prompt=prompt, docs=doc_index(found, remarks))
    blocks = [doc_block(doc) for doc in opened]
    system = system_turn(texts, "act", memory_block(knowledge, index=index))
    return (system, Turn("user", "\n".join((*blocks, asked))))


def handoff_turns(
    texts: Texts,
    rules: str,
    knowledge: Knowledge,
    experiences: Sequence[Experience],
    wrong_answers: bool,
    shown: Sequence[Doc] = (),
    purpose: bool = False,
) -> tuple[Turn, ...]:
    """Return the turns that ask, by `rules`, for new memories after `experiences`.

    `shown` are docs that a memory may move into, and a line out of; `purpose` says what belongs
    into notes, and what into docs.
    """
    blocks = (memory_block(knowledge, with_ids=True), *(doc_block(doc, True) for doc in shown))
    more = (*(["purpose-notes"] if purpose else []), *(["move"] if shown else []))
    system = system_turn(texts, rules, *blocks, instructions=_together(texts, rules, *more))
    return (system, episodes_turn(texts, experiences, wrong_answers))


def document_turns(
    texts: Texts,
    related: Sequence[Doc],
    experiences: Sequence[Experience],
    wrong_answers: bool,
    purpose: bool = False,
) -> tuple[Turn, ...]:
    """Return the turns that ask for an edit of the docs; `related` are those it may revise.

    `purpose` says what belongs into docs, and what into notes.
    """
    rules = _together(texts, "document", *(["purpose-document"] if purpose else []))
    shown = (doc_block(doc, with_id=True) for doc in related)
    system = system_turn(texts, "document", *shown, instructions=rules)
    return (system, episodes_turn(texts, experiences, wrong_answers))


def _together(texts: Texts, *names: str) -> str:
    """Return the rules of these names, one after another."""
    return "\n".join(said(texts, name) for name in names)


def compress_turns(texts: Texts, knowledge: Knowledge) -> tuple[Turn, ...]:
    """Return the turns that ask to bring memories that are over budget back under it."""
    system = system_turn(texts, "compress", memory_block(knowledge, with_ids=True))
    return (system, Turn("user", said(texts, "write")))


def restate_turns(texts: Texts, entry: Memory | Doc) -> tuple[Turn, ...]:
    """Return the turns that ask a successor to say one entry in its own words."""
    if isinstance(entry, Memory):
        block = memory_block(Knowledge(memories=(entry,)))
    else:
        block = doc_block(entry, with_id=True)
    return (system_turn(texts, "restate", block), Turn("user", said(texts, "write")))


def episodes_turn(texts: Texts, experiences: Sequence[Experience], wrong_answers: bool) -> Turn:
    """Return the user turn that shows finished episodes; their answers are escaped data.

    Answers that were wrong are shown only where `wrong_answers`.
    """
    shown = "\n".join(_episode(texts, e, wrong_answers) for e in experiences)
    return Turn("user", said(texts, "episodes", episodes=shown))


def _episode(texts: Texts, experience: Experience, wrong_answers: bool) -> str:
    context, turns = quoted(experience.context), record(experience.trace)
    if not experience.prompt:
        return said(texts, "episode-lesson", context=context)
    name = "episode" if experience.right or wrong_answers else "episode-wrong"
    parts = (context, experience.prompt, turns)
    return said(
        texts,
        name,
        prompt="\n".join(part for part in parts if part),
        answer=escape(experience.answer),
        feedback=experience.feedback,
    )
