"""What the texts of a folder of Markdown say (`format` tells how they are written). Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from lineage.core.errors import LineageError
from lineage.core.knowledge import IMPORT, Doc, Knowledge, Memory, Origin
from lineage.core.plaintext import spaced
from lineage.markdown.adopted import (
    SIDECAR,
    Reading,
    adopt,
    control_in,
    format_of,
    read_parts,
)
from lineage.markdown.blocks import ENDS
from lineage.markdown.bullets import bullets, first_heading
from lineage.markdown.conventions.interface import Finding, Form
from lineage.markdown.conventions.loaded import Loaded
from lineage.markdown.conventions.named import MARKDOWN
from lineage.markdown.conventions.whole import Whole
from lineage.markdown.frontmatter import (
    FENCE,
    Flaw,
    Node,
    list_of,
    mapping_of,
    number_of,
    parse,
    plain,
    split,
    text_of,
)

INDEX = "MEMORY.md"
DOCS = "docs"
FORMAT = 1
OURS = "lineage"
"""The name of our own convention, as `--format` takes it."""
MARK = "lineage-format"
"""The first key of the front matter of each file that we write."""
SLUG = re.compile(r"[a-z0-9-]+\.md")
_PLAIN_ID = re.compile(r"[a-z][0-9]{1,18}")
_ANCHOR = re.compile(r"<!--([a-z][0-9]{1,18}|x-[0-9a-f]{16})-->")


def interpret(
    files: Mapping[str, str], place: str = "", names: frozenset[str] = frozenset(), format: str = ""
) -> Reading:
    """Return what the texts `files` (by relative path) say; `place` stands before paths in errors.

    They are read as we write them where one of them is so, and else by `format`, the name of a
    convention, or by the likeliest one. `names` are all files of the folder, for links to lead to.
    Raises LineageError naming the file, and the line where there is one, of what we wrote.
    """
    names = names | files.keys()
    if format in ("", OURS) and any(is_ours(text) for text in files.values()):
        return _Folder(files, place, names).read()
    texts = {path: text for path, text in files.items() if path != SIDECAR}
    sidecar = files.get(SIDECAR, "")
    return adopt(read_parts(texts, names, format or format_of(sidecar)), sidecar)


def is_ours(text: str) -> bool:
    """Whether `text` begins as each file that we write."""
    return text.startswith((f"{FENCE}\n{MARK}:", f"{FENCE}\r\n{MARK}:"))


def listed_docs(index: str) -> list[str]:
    """Return the paths of the docs that the index we wrote lists; none where it is not ours."""
    try:
        front = parse(split(index)[0] or "")
        if MARK not in front:
            return []
        names = [text_of(node, "docs") for node in list_of(front["docs"], "docs")]
    except (Flaw, KeyError):
        return []
    return [f"{DOCS}/{name}" for name in names if SLUG.fullmatch(name)]


def handle_of(id: str) -> str:
    """Return what stands for an entry's id in file names and comments: the id, if it is plain."""
    if _PLAIN_ID.fullmatch(id):
        return id
    return "x-" + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class _Folder:
    """One reading of a folder: memories first, then docs, then ids for those that have none."""

    files: Mapping[str, str]
    place: str
    names: frozenset[str]
    memories: list[Memory] = field(default_factory=list)
    docs: list[Doc] = field(default_factory=list)
    doc_ids: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    next_id: int = 1
    exported: str = ""

    def read(self) -> Reading:
        listed: list[str] = []
        if INDEX in self.files:
            if is_ours(self.files[INDEX]):
                with self._naming(INDEX):
                    listed = self._read_index(*split(_lines(self.files[INDEX])))
            else:
                self._read_foreign(INDEX, Loaded(lists=False))
        for path in listed:
            if path not in self.files:
                self._fail(INDEX, f"{path} is listed but missing: put it back, or take it off docs")
        others = sorted(
            path for path in self.files.keys() - {*listed, INDEX} if MARKDOWN.fullmatch(path)
        )
        for path in (*listed, *others):
            if not is_ours(self.files[path]):
                self._read_foreign(path, Whole())
                continue
            with self._naming(path):
                self._read_doc(*split(_lines(self.files[path])))
        self._number(bool(others))
        knowledge = Knowledge(tuple(self.memories), tuple(self.docs), self.next_id)
        if self.exported and knowledge.id != self.exported:
            self.warnings.append(f"changed since it was exported as Knowledge {self.exported}")
        return Reading(knowledge, tuple(self.findings), tuple(self.warnings), self.exported)

    def _fail(self, path: str, reason: str, line: int = 0) -> None:
        where = f"{self.place}{path}, line {line}" if line else f"{self.place}{path}"
        raise LineageError(spaced(f"{where}: {reason}"))

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        try:
            yield
        except Flaw as flaw:
            self._fail(path, flaw.reason, flaw.line)

    def _read_index(self, front: str | None, body: str) -> list[str]:
        """Add the memories of the index; return the paths of the docs that it lists."""
        values = {} if front is None else parse(front)
        found, more = bullets(body, 1 if front is None else front.count("\n") + 4)
        _check_keys(values, (MARK, "knowledge", "next-id", "memories", "docs"))
        self.exported = text_of(values["knowledge"], "knowledge")
        self.next_id = number_of(values["next-id"], "next-id")
        entries = mapping_of(values["memories"], "memories")
        left = dict(entries)
        for bullet in found:
            parts = [_anchored(line) for line in bullet.lines]
            marks = [mark for _, mark in parts if mark]
            text = " ".join(line for line, _ in parts if line)
            if len(marks) > 1:
                raise Flaw(f"{marks[0]} and {marks[1]} share a bullet: part them", bullet.number)
            if not marks:
                if text.strip():
                    self.memories.append(_new_memory(text))
                continue
            if marks[0] not in entries:
                raise Flaw(
                    f"{marks[0]} is not among the memories of the front matter: delete the comment",
                    bullet.number,
                )
            if left.pop(marks[0], None) is None:
                raise Flaw(f"duplicate id {marks[0]}: keep one of its bullets", bullet.number)
            self.memories.append(_memory(marks[0], entries[marks[0]], text))
        _check_distinct([memory.id for memory in self.memories], values["memories"].line)
        for handle in left:
            self.warnings.append(f"{INDEX}: memory {handle} has no bullet any more, it is dropped")
        if more:
            self.docs.append(_index_doc(body))
            self.warnings.append(
                f"{INDEX} holds more than bullets: it is kept whole as a doc as well"
            )
        return _listed(values["docs"])

    def _read_foreign(self, path: str, form: Form) -> None:
        found = form.read(path, self.files[path], self.names)
        self.findings += found.findings
        if control := control_in(path, self.files[path]):
            self.findings.append(control)
        for part in found.parts:
            origin = Origin(0, IMPORT, plain(path))
            if part.kind == "memory":
                self.memories.append(Memory("", part.text, origin, origin))
            else:
                self.docs.append(Doc("", part.title, part.text, origin, origin))

    def _read_doc(self, front: str | None, body: str) -> None:
        values = {} if front is None else parse(front)
        doc = _own_doc(values, body.removesuffix("\n"))
        if doc.id in self.doc_ids:
            raise Flaw(f"two files have the doc id {doc.id}: give one another", values["id"].line)
        self.doc_ids.add(doc.id)
        self.docs.append(doc)

    def _number(self, others: bool) -> None:
        """Give ids to the entries without one: memories in order, then docs in order."""
        ids = [*(memory.id for memory in self.memories), *(doc.id for doc in self.docs)]
        if not others and all(ids):
            return
        numbers = (int(id[1:]) for id in ids if _PLAIN_ID.fullmatch(id))
        self.next_id = max(self.next_id, 1, *(number + 1 for number in numbers))
        self.memories = [m if m.id else replace(m, id=self._take("m")) for m in self.memories]
        self.docs = [d if d.id else replace(d, id=self._take("d")) for d in self.docs]

    def _take(self, letter: str) -> str:
        self.next_id += 1
        return f"{letter}{self.next_id - 1}"


def _anchored(line: str) -> tuple[str, str]:
    """Return a bullet's line without the comment that names its memory, and that name or ""."""
    line = line.rstrip(" \t")
    start = max(line.rfind("<!--"), 0)
    anchor = _ANCHOR.fullmatch(line, start)
    return (line[:start].rstrip(" \t"), anchor[1]) if anchor else (line, "")


def _new_memory(text: str) -> Memory:
    origin = Origin(0, IMPORT, INDEX)
    return Memory("", text, origin, origin)


def _memory(handle: str, node: Node, text: str) -> Memory:
    values = mapping_of(node, handle)
    created, edited = _origins(values, ("created", "edited"), ("id", "text"), node.line)
    if "text" in values:
        if text:
            raise Flaw(f"{handle} has a text here and one at its bullet: keep one", node.line)
        text = text_of(values["text"], "text")
    id = text_of(values["id"], "id") if "id" in values else handle
    if handle_of(id) != handle:
        raise Flaw(f"the id of {handle} is another: delete the line id", node.line)
    return Memory(id, text, created, edited)


def _own_doc(values: Mapping[str, Node], body: str) -> Doc:
    _check_keys(values, (MARK, "id", "title", "created", "edited"), ("body",))
    created, edited = _origins(values, ("created", "edited"), tuple(values), values[MARK].line)
    id = text_of(values["id"], "id")
    if not id:
        raise Flaw("id is empty: give the doc one, such as d1", values["id"].line)
    if "body" in values:
        if body:
            raise Flaw("a body stands here and one below: keep one", values["body"].line)
        body = text_of(values["body"], "body")
    return Doc(id, text_of(values["title"], "title"), body, created, edited)


def _index_doc(body: str) -> Doc:
    body = plain(body).strip("\n")
    origin = Origin(0, IMPORT, INDEX)
    return Doc("", first_heading(body) or PurePosixPath(INDEX).stem, body, origin, origin)


def _lines(text: str) -> str:
    return ENDS.sub("\n", text)


def _origins(
    values: Mapping[str, Node], names: tuple[str, ...], others: tuple[str, ...], line: int
) -> list[Origin]:
    _check_keys(values, names, others, line)
    return [_origin(name, values[name]) for name in names]


def _origin(name: str, node: Node) -> Origin:
    values = mapping_of(node, name)
    _check_keys(values, ("generation", "version", "episode"), line=node.line)
    return Origin(
        number_of(values["generation"], "generation"),
        text_of(values["version"], "version"),
        text_of(values["episode"], "episode"),
    )


def _check_keys(
    values: Mapping[str, Node],
    wanted: tuple[str, ...],
    allowed: tuple[str, ...] = (),
    line: int = 1,
) -> None:
    """Raise Flaw unless `values` has the keys `wanted`, and besides only `allowed` ones."""
    if MARK in values and number_of(values[MARK], MARK) != FORMAT:
        found = text_of(values[MARK], MARK)
        raise Flaw(f"{MARK} {found} is not read by this lineage: upgrade it", values[MARK].line)
    for key in wanted:
        if key not in values:
            raise Flaw(f"{key} is missing: put it back", line)
    known = {*wanted, *allowed}
    for key, node in values.items():
        if key not in known:
            raise Flaw(f"unknown key {key!r}: move it into the text below", node.line)


def _listed(node: Node) -> list[str]:
    names = [text_of(item, "docs") for item in list_of(node, "docs")]
    for name in names:
        if not SLUG.fullmatch(name):
            raise Flaw(f"{name!r} is no name of a file in {DOCS}/: take it off docs", node.line)
    _check_distinct(names, node.line)
    return [f"{DOCS}/{name}" for name in names]


def _check_distinct(names: list[str], line: int) -> None:
    seen: set[str] = set()
    for name in filter(None, names):
        if name in seen:
            raise Flaw(f"{name} stands twice: keep one", line)
        seen.add(name)
