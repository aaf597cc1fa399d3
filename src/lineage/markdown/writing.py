"""Knowledge put back into the files it came from, or into those of another convention. Pure.

Only the characters that say a changed entry change. Ids, origins and what a file cannot say as
the Knowledge does go to the sidecar (see `adopted`).
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from itertools import accumulate
from pathlib import PurePosixPath

from lineage.core.knowledge import IMPORT, Doc, Knowledge, Memory
from lineage.markdown.adopted import SIDECAR, Folder, Reading, adopt, read_parts, sidecar_of
from lineage.markdown.conventions import convention
from lineage.markdown.conventions.interface import Convention, Finding, Line, Part, Span
from lineage.markdown.conventions.loaded import listing
from lineage.markdown.format import slug_of
from lineage.markdown.links import file_of, redirected, resolved, targets


@dataclass(frozen=True)
class Written:
    """What is to be in files: by path a text, or None where the file goes."""

    texts: Mapping[str, str | None]
    findings: tuple[Finding, ...] = ()


def written(came: Reading, left: Knowledge, shown: Knowledge | None = None) -> Written:
    """Return what changes in the folder that `came` is of, so that it is read as `left`.

    Nothing changes where `left` is what came, and no words where only white space differs: a
    prompt has each memory on one line, and a model says it again as it was shown. `shown` is what
    it was shown of what came, where a secret was kept from it: the file keeps that.
    """
    folder = came.folder
    if folder is None:
        raise ValueError("our own folder is written by render")
    left = _laid_out(came.knowledge, left, shown)
    if left.canonical() == came.knowledge.canonical():
        return Written({})
    texts, gone = _edited(came, folder, left)
    names = folder.names | folder.texts.keys()
    new = [entry for entry in left.entries if entry.id not in came.parts]
    placed = _placed(folder.convention, texts, new, names)
    again = read_parts(texts, names | texts.keys(), folder.convention.name)
    order = [id for id in came.parts if id in {entry.id for entry in left.entries}]
    where = {id: came.parts[id].source.path for id in order} | placed
    parts, findings = _found_again(again, left, where)
    texts[SIDECAR] = sidecar_of(left, parts, folder.convention.name)
    back = adopt(again, texts[SIDECAR]).knowledge
    if not findings and back != left:
        findings.append(Finding(SIDECAR, "the folder is not read back as it was meant"))
    findings += _dead_links(again, gone)
    changed: dict[str, str | None] = {
        path: text for path, text in texts.items() if folder.texts.get(path) != text
    }
    return Written(changed | dict.fromkeys(gone), tuple(findings))


def converted(left: Knowledge, format: str, came: Reading | None = None) -> Written:
    """Return the files of `left` as the convention `format` has them; links lead where they did.

    `came` tells from which files the entries are. Raises LineageError for an unknown convention.
    """
    chosen, texts = convention(format), dict[str, str]()
    left = _laid_out(came.knowledge, left) if came else left
    old = {e.id: e.created.episode for e in left.entries if e.created.version == IMPORT}
    old |= {id: part.source.path for id, part in came.parts.items()} if came else {}
    placed = _placed(chosen, texts, left.entries, frozenset(), old)
    known = frozenset(old.values())
    moved = {old[e.id]: placed[e.id] for e in left.memories if e.id in old}
    moved |= {old[e.id]: placed[e.id] for e in left.docs if e.id in old}
    texts.clear()
    led = [_led(entry, old.get(entry.id, ""), placed, moved, known) for entry in left.entries]
    _placed(chosen, texts, led, frozenset(), old)
    again = read_parts(texts, frozenset(texts), format)
    parts, findings = _found_again(again, left, placed)
    if came and came.folder:
        # What is a text but no entry is an index: that of another convention is its own.
        others = came.folder.names - came.folder.texts.keys()
        findings += _left_behind(left, old, placed, others)
    return Written({**texts, SIDECAR: sidecar_of(left, parts, format)}, tuple(findings))


def _laid_out(came: Knowledge, left: Knowledge, shown: Knowledge | None = None) -> Knowledge:
    """Return `left` with the white space of what `came`, where the words are the same."""
    before = {entry.id: entry for entry in came.entries}
    saw = {entry.id: entry.text for entry in (shown or came).entries}

    def same(id: str, new: str) -> bool:
        return unescape(saw.get(id, before[id].text)).split() == unescape(new).split()

    memories, docs = [], []
    for memory in left.memories:
        was = before.get(memory.id)
        alike = isinstance(was, Memory) and same(was.id, memory.text)
        memories.append(replace(memory, text=was.text) if was and alike else memory)
    for doc in left.docs:
        was = before.get(doc.id)
        if isinstance(was, Doc) and same(was.id, doc.text):
            docs.append(replace(doc, title=was.title, body=was.body))
        else:
            docs.append(doc)
    return replace(left, memories=tuple(memories), docs=tuple(docs))


def _edited(came: Reading, folder: Folder, left: Knowledge) -> tuple[dict[str, str], set[str]]:
    """Return the texts with what changed or went of them, and the paths of files that went."""
    now = {entry.id: entry for entry in left.entries}
    before = {entry.id: entry for entry in came.knowledge.entries}
    edits: dict[str, list[tuple[Span, str]]] = {}
    gone: set[str] = set()
    for id, part in came.parts.items():
        path, entry = part.source.path, now.get(id)
        form, text = folder.forms[path], folder.texts[path]
        if entry is None:
            if form.whole:
                gone.add(path)
            else:
                edits.setdefault(path, []).append(form.removed(text, part))
            for line in part.listed:
                edits.setdefault(line.path, []).append((line.span, ""))
        elif _says(entry) != _says(before[id]):
            title, words = _says(entry)
            edits.setdefault(path, []).append((part.span, form.rewritten(text, part, title, words)))
            for line in part.listed if title != _says(before[id])[0] else ():
                old = folder.texts[line.path][slice(*line.span)]
                edits.setdefault(line.path, []).append((line.span, _relabelled(old, line, title)))
    texts = {path: text for path, text in folder.texts.items() if path not in gone}
    for path, changes in edits.items():
        if path in texts:
            kept = [p.span for id, p in came.parts.items() if p.source.path == path and id in now]
            texts[path] = _changed(folder, path, changes, kept)
    return texts, gone


def _changed(
    folder: Folder, path: str, changes: Sequence[tuple[Span, str]], kept: Sequence[Span]
) -> str:
    """Return a text after `changes`, without headings and the like that nothing is below any more.

    `kept` are the spans of entries that stay.
    """
    form, text = folder.forms[path], folder.texts[path]
    pieces: list[str] = []
    at = length = 0
    starts = {}
    for (start, end), new in sorted(changes):
        pieces += [text[at : max(start, at)], new]
        length += max(start - at, 0)
        starts[start] = length
        length += len(new)
        at = max(end, at)
    ends = sorted((end, len(new) - (end - start)) for (start, end), new in changes)
    shifts = [0, *accumulate(shift for _, shift in ends)]
    new_spans = [(starts[start], starts[start] + len(new)) for (start, _), new in changes if new]
    there = set()
    for start, _ in kept:
        shift = shifts[bisect_right(ends, (start, len(text)))]
        there.add(starts.get(start, start + shift))
    text = "".join((*pieces, text[at:]))
    while not form.whole:
        parts = form.read(path, text, folder.names | folder.texts.keys()).parts
        places, spans = sorted(there), sorted(new_spans)
        stray = [
            part for part in parts if not _has(part.span, places) and not _meets(part.span, spans)
        ]
        if not stray:
            break
        (start, end), new = form.removed(text, stray[-1])
        text = text[:start] + new + text[end:]
        shift = len(new) - (end - start)
        there = {one if one < end else one + shift for one in there}
        new_spans = [(s, e) if e <= start else (s + shift, e + shift) for s, e in new_spans]
    return text


def _has(span: Span, places: Sequence[int]) -> bool:
    """Whether one of `places`, in order, is in `span`."""
    at = bisect_left(places, span[0])
    return at < len(places) and places[at] < max(span[1], span[0] + 1)


def _meets(span: Span, spans: Sequence[Span]) -> bool:
    """Whether `span` shares a character with one of `spans`, which are in order and apart."""
    at = bisect_left(spans, (span[1], 0)) - 1
    return at >= 0 and spans[at][1] > span[0]


def _says(entry: Memory | Doc) -> tuple[str, str]:
    return ("", entry.text) if isinstance(entry, Memory) else (entry.title, entry.body)


def _relabelled(old: str, line: Line, title: str) -> str:
    """Return the line of an index with another title; its link leads where it did."""
    label, _, hook = line.label.partition(": ")
    if hook and title.startswith(f"{label}: ") and old.count(hook) == 1:
        return old.replace(hook, title[len(label) + 2 :])
    link = re.search(r"\]\(([^)]*)\)|\[\[([^\]|]*)", old)
    head = re.match(r"[ \t]*[-*+][ \t]*", old)
    if link is None or head is None:
        return old
    shown = title.replace("[", "(").replace("]", ")")
    made = f"[{shown}]({link[1]})" if link[1] is not None else f"[[{link[2]}|{shown}]]"
    return head[0] + made + old[len(old.rstrip("\r\n")) :]


def _placed(
    chosen: Convention,
    texts: dict[str, str],
    entries: Sequence[Memory | Doc],
    names: frozenset[str],
    old: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Add `entries` to `texts`; return where each is. `old` is where they were, for their names."""
    placed = {}
    for entry in entries:
        title, words = _says(entry)
        stem = _name(old[entry.id]) if old and entry.id in old else title
        kind, slug = ("doc", slug_of(stem)) if isinstance(entry, Doc) else ("memory", "")
        slug = slug or slug_of(entry.id) or "entry"
        home = chosen.home("doc" if kind == "doc" else "memory", slug, texts)
        path, number = home.path, 2
        while home.form.whole and (path in texts or path in names):
            path = chosen.home("doc", f"{slug}-{number}", texts).path
            number += 1
        texts[path] = home.form.added(texts.get(path, ""), title, words)
        if home.index:
            link = posixpath.relpath(path, posixpath.dirname(home.index) or ".")
            shown = title.replace("[", "(").replace("]", ")")
            texts[home.index] = listing(texts.get(home.index, ""), shown, link)
        placed[entry.id] = path
    return placed


def _name(path: str) -> str:
    """Return what a file is called, a skill by its folder."""
    named = PurePosixPath(path)
    return named.parent.name if named.name == "SKILL.md" else named.stem


def _found_again(
    again: Folder, left: Knowledge, where: Mapping[str, str]
) -> tuple[dict[str, Part], list[Finding]]:
    """Return the parts that say the entries, which are in the files `where` in this order."""
    expected: dict[str, list[str]] = {}
    for id, path in where.items():
        expected.setdefault(path, []).append(id)
    now = {entry.id: entry for entry in left.entries}
    parts: dict[str, Part] = {}
    findings = []
    for path, ids in expected.items():
        there = [part for part in again.parts if part.source.path == path]
        if len(there) == len(ids):
            parts |= zip(ids, there)
            continue
        for id in ids:
            same = [part for part in there if part.text == _says(now[id])[1]]
            if same:
                parts[id] = same[0]
                there.remove(same[0])
            else:
                findings.append(Finding(path, f"{id} is not read back as one entry"))
    return parts, findings


def _dead_links(again: Folder, gone: set[str]) -> list[Finding]:
    """Return which of the files link to what went."""
    if not gone:
        return []
    found = []
    for path, text in again.texts.items():
        for target in dict.fromkeys(targets(text)):
            if (name := resolved(path, target, gone)) is not None:
                found.append(Finding(path, f"links to {name}, which is gone"))
    return found


def _left_behind(
    left: Knowledge, old: Mapping[str, str], placed: Mapping[str, str], others: frozenset[str]
) -> list[Finding]:
    """Return which entries link to one of `others`, files that the new folder has not."""
    found = dict[Finding, None]()
    for entry in (one for one in left.entries if one.id in old):
        for target in targets(_says(entry)[1]):
            if (name := resolved(old[entry.id], target, others)) is not None:
                what = f"links to {name}, which is no memory and no doc: copy it there"
                found[Finding(placed[entry.id], what)] = None
    return list(found)


def _led(
    entry: Memory | Doc,
    old: str,
    placed: Mapping[str, str],
    moved: Mapping[str, str],
    known: frozenset[str],
) -> Memory | Doc:
    """Return `entry` with its links led to where their files are now."""
    if not old:
        return entry
    here = posixpath.dirname(placed[entry.id]) or "."

    def change(target: str, of_wiki: bool) -> str | None:
        name = resolved(old, target, known)
        if name is not None:
            return posixpath.relpath(moved[name], here)
        # A wiki looks for a name wherever the page is.
        if of_wiki or ":" in target or target.startswith(("#", "?", "/", "~")):
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(old), file_of(target)))
        return posixpath.relpath(path, here)

    if isinstance(entry, Memory):
        return Memory(entry.id, redirected(entry.text, change), entry.created, entry.edited)
    body = redirected(entry.body, change)
    return Doc(entry.id, entry.title, body, entry.created, entry.edited)
