"""What another agent's folder holds as Knowledge, with the ids that its entries had before. Pure.

Ids and origins are ours, and no agent should read them in each prompt: they are in a file beside
the memory (`SIDECAR`). An entry is known again by the hash of what its file says; one that was
changed by hand is a new entry, or the same one if its file holds nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lineage.core.knowledge import IMPORT, Doc, Knowledge, Memory, Origin
from lineage.markdown.conventions import CONVENTIONS, convention, recognised
from lineage.markdown.conventions.interface import (
    Convention,
    Finding,
    Form,
    Found,
    Line,
    Part,
    Source,
    Texts,
)
from lineage.markdown.conventions.named import PLAIN
from lineage.markdown.conventions.whole import Whole
from lineage.markdown.frontmatter import ODD, plain

SIDECAR = ".lineage/entries.json"
SIDECAR_FORMAT = 1
Seen = dict[tuple[str, str, frozenset[str]], tuple[Form, Found]]
"""By path and text of a file, and what files there were: the form that read it, what it found."""


@dataclass(frozen=True)
class Folder:
    """A folder of texts as one convention reads it: memories in order, then docs by their paths."""

    convention: Convention
    texts: Texts
    forms: Mapping[str, Form]
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    others: tuple[str, ...] = ()
    """Other conventions that it may be of."""
    names: frozenset[str] = frozenset()
    """All files of the folder."""


@dataclass(frozen=True)
class Reading:
    """What a folder holds: `findings` of single files, `warnings` of the whole.

    `exported` is the Knowledge id that our own index names, or "". Of another agent's folder,
    `folder` is how it was read and `parts` what says each entry, by its id.
    """

    knowledge: Knowledge
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    exported: str = ""
    folder: Folder | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each thing that is not as it may seem."""
        return (*map(str, self.findings), *self.notes)


def read_parts(texts: Texts, names: frozenset[str], format: str = "") -> Folder:
    """Return `texts` as the convention `format` reads them, or else the likeliest one.

    `names` are all files of the folder. Raises LineageError where there is no such convention.
    """
    likely = recognised(texts) or [PLAIN]
    chosen = convention(format) if format else likely[0]
    others = tuple(one.name for one in likely if one is not chosen and one is not PLAIN)
    return replace(parts_by(chosen, texts, names, {}), others=others)


def parts_by(
    chosen: Convention, texts: Texts, names: frozenset[str], seen: Seen
) -> Folder:
    """Return `texts` as the convention `chosen` reads them, which may be others than it is of.

    What was `seen` of a file is not read again, and what is read now goes there.
    """

    names = frozenset(names)  # a union with the keys of a mapping is a set

    def read(form: Form, path: str) -> Found:
        key = (path, texts[path], names)
        if key not in seen or seen[key][0] != form:
            seen[key] = form, form.read(path, texts[path], names)
        return seen[key][1]

    layout = chosen.layout(texts)
    findings, forms = list(layout.findings), dict(layout.forms)
    lines: dict[str, list[Line]] = {}
    found = {}
    for path, form in forms.items():
        if not form.whole:
            found[path] = read(form, path)
            for target, listed in found[path].lines.items():
                lines.setdefault(target, []).extend(listed)
    for path, form in forms.items():
        if isinstance(form, Whole):
            # Its title may come from an index, and what its own one says would be lost.
            forms[path] = replace(form, keeps=True) if path in lines else form
            found[path] = read(forms[path], path)
    memories: list[Part] = []
    docs: list[Part] = []
    for path in forms:
        findings += found[path].findings
        if control := control_in(path, texts[path]):
            findings.append(control)
        for part in found[path].parts:
            (memories if part.kind == "memory" else docs).append(_named(part, lines, forms))
    dangling = _unclaimed(lines, forms)
    memories += [_of_line(line, texts) for line in dangling]
    docs.sort(key=lambda part: (part.source.path, part.span))
    return Folder(chosen, texts, forms, (*memories, *docs), tuple(findings), (), names)


def control_in(path: str, text: str) -> Finding | None:
    """Return a finding where `text` holds what no entry does."""
    if not ODD.search(text.replace("\r\n", "\n").replace("\r", "\n")):
        return None
    return Finding(plain(path), "control characters were read as spaces")


def _named(part: Part, lines: Mapping[str, Sequence[Line]], forms: Mapping[str, Form]) -> Part:
    """Return `part` with the title that an index gives its file, if it is all of the file."""
    listed = lines.get(part.source.path, ())
    if not listed or part.kind != "doc" or not forms[part.source.path].whole:
        return part
    return replace(part, title=listed[0].label, listed=tuple(listed))


def _unclaimed(lines: Mapping[str, Sequence[Line]], forms: Mapping[str, Form]) -> list[Line]:
    """Return the lines of an index that stand for files which are no docs: they are memories."""
    is_doc = {path for path, form in forms.items() if form.whole}
    return [line for path, listed in lines.items() if path not in is_doc for line in listed]


def _of_line(line: Line, texts: Texts) -> Part:
    number = texts[line.path].count("\n", 0, line.span[0]) + 1
    said = texts[line.path][slice(*line.span)].strip().lstrip("-*+").strip()
    return Part("memory", plain(said), Source(line.path, number, number), line.span)


def adopt(folder: Folder, sidecar: str = "") -> Reading:
    """Return the Knowledge of `folder`, by what `sidecar` tells of it where that can be read."""
    known, next_id, findings = _known(sidecar)
    says: defaultdict[str, list[int]] = defaultdict(list)
    where: defaultdict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(known):
        says[one["says"]].append(at)
        where[one["path"]].append(at)
    matched: dict[int, Part] = {}
    unknown: list[Part] = []
    for part in folder.parts:
        left = [at for at in says[_hash(part)] if at not in matched]
        there = [at for at in left if known[at]["path"] == part.source.path]
        if left:
            matched[(there or left)[0]] = part
        else:
            unknown.append(part)
    new: list[Part] = []
    for part in unknown:
        whole = folder.forms[part.source.path].whole
        left = [at for at in where[part.source.path] if whole and at not in matched]
        if left:
            matched[left[0]] = part
        else:
            new.append(part)
    entries: list[tuple[Memory | Doc, Part]] = [
        (_entry(known[at], matched[at]), matched[at]) for at in sorted(matched)
    ]
    for kind in ("memory", "doc"):
        for part in (part for part in new if part.kind == kind):
            origin = Origin(0, IMPORT, plain(part.source.path))
            id = f"{'m' if kind == 'memory' else 'd'}{next_id}"
            next_id += 1
            made: Memory | Doc = Doc(id, part.title, part.text, origin, origin)
            if kind == "memory":
                made = Memory(id, part.text, origin, origin)
            entries.append((made, part))
    knowledge = Knowledge(
        tuple(entry for entry, _ in entries if isinstance(entry, Memory)),
        tuple(entry for entry, _ in entries if isinstance(entry, Doc)),
        next_id,
    )
    parts = {entry.id: part for entry, part in entries}
    return Reading(knowledge, (*folder.findings, *findings), folder=folder, parts=parts)


def format_of(sidecar: str) -> str:
    """Return the convention by which a folder was written, "" where nothing tells."""
    try:
        name = json.loads(sidecar)["format"] if sidecar else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name if name in CONVENTIONS else ""


def sidecar_of(knowledge: Knowledge, parts: Mapping[str, Part], format: str) -> str:
    """Return the sidecar by which a folder that says `knowledge` in `parts`, by id, is read as it.

    What the files do not say as the Knowledge does, such as the title of a doc, is in it as well.
    """
    entries = []
    for entry in knowledge.entries:
        if entry.id not in parts:
            continue
        part = parts[entry.id]
        kept: dict[str, Any] = {"id": entry.id, "path": part.source.path, "says": _hash(part)}
        if isinstance(entry, Memory):
            kept |= {"text": entry.text} if entry.text != part.text else {}
        else:
            kept |= {"title": entry.title} if entry.title != part.title else {}
            kept |= {"body": entry.body} if entry.body != part.text else {}
        entries.append(kept | {"created": asdict(entry.created), "edited": asdict(entry.edited)})
    lines = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
    about = {"lineage-format": SIDECAR_FORMAT, "format": format, "next-id": knowledge.next_id}
    head = json.dumps(about)[:-1]
    return f'{head}, "entries": [\n{lines}\n]}}\n'


def _hash(part: Part) -> str:
    said = "\0".join((part.kind, part.title, part.text))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _known(sidecar: str) -> tuple[list[dict[str, Any]], int, list[Finding]]:
    """Return the entries of a sidecar and the next id; none where it cannot be read."""
    if not sidecar:
        return [], 1, []
    try:
        raw = json.loads(sidecar)
        entries, next_id = raw["entries"], raw["next-id"]
        for entry in entries:
            Origin(**entry["created"]), Origin(**entry["edited"])
            if not isinstance(entry["id"], str) or not entry["id"]:
                raise ValueError("an entry has no id")
            str(entry["path"]), str(entry["says"])
        if len({entry["id"] for entry in entries}) < len(entries) or not isinstance(next_id, int):
            raise ValueError("two entries have one id")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"cannot be read, so the entries have new ids: {type(error).__name__}"
        return [], 1, [Finding(SIDECAR, what)]
    numbers = (int(m[1]) for one in entries if (m := re.fullmatch(r"[a-z](\d{1,18})", one["id"])))
    return entries, max(next_id, 1, *(number + 1 for number in numbers)), []


def _entry(known: Mapping[str, Any], part: Part) -> Memory | Doc:
    created, edited = Origin(**known["created"]), Origin(**known["edited"])
    same = known["says"] == _hash(part)
    if not same:
        edited = Origin(0, IMPORT, plain(part.source.path))
    if part.kind == "memory":
        text = known.get("text", part.text) if same else part.text
        return Memory(known["id"], text, created, edited)
    title, body = part.title, part.text
    if same:
        title, body = known.get("title", title), known.get("body", body)
    return Doc(known["id"], title, body, created, edited)
