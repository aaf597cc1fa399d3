"""A folder of memory as its git history has it: at one commit, and through all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lineage.core.errors import LineageError
from lineage.core.lives import Life, Said, Snapshot, lives
from lineage.core.text import one_line
from lineage.markdown.adopted import SIDECAR, Reading, Seen, parts_by
from lineage.markdown.conventions import convention
from lineage.markdown.conventions.interface import Finding
from lineage.markdown.disk import (
    NAMES,
    SIZE_LIMIT,
    SKIPPED,
    SUFFIXES,
    TOO_LONG,
    Held,
    Unread,
    may_be_memory,
    text_of,
)
from lineage.markdown.folder import as_read
from lineage.markdown.git import LINK, Commit, Place, Repository, place_of
from lineage.markdown.parsing import OURS, interpret, is_ours
from lineage.markdown.writers import model_key, undone, writers

MOST_COMMITS = 1000
"""So many commits of a folder are read, the newest: one takes some milliseconds."""
LONGEST = 64 * SIZE_LIMIT
"""Bytes of a file that we wrote, which alone may be over the limit of all others."""
OWN = PurePosixPath(SIDECAR).parts[0]
PATTERNS = (*(f"*{end}" for end in sorted(SUFFIXES)), *sorted(NAMES))


@dataclass(frozen=True)
class History:
    """What `commits` did with the memory of a folder: a snapshot each, and a life an entry.

    Until `end` (seconds since 1970) it was as the last one left it. Where not `whole`, there were
    commits before the first that are not read or not there.
    """

    commits: tuple[Commit, ...]
    snapshots: tuple[Snapshot, ...]
    lives: tuple[Life, ...]
    end: int
    whole: bool


@dataclass(frozen=True)
class At:
    """What a folder held at the commit of this full id."""

    reading: Reading
    commit: str


def at_commit(text: str) -> tuple[Path, str] | None:
    """Return the folder and the revision that `text`, REPO@COMMIT, names.

    None where it names a folder only, as what is there always does, whatever its name.
    """
    if Path(text).exists():
        return None
    cuts = [at for at, c in enumerate(text) if c == "@" and 0 < at < len(text) - 1]
    for at in reversed(cuts):  # HEAD@{1} has one, too, and so may a path
        if Path(text[:at]).is_dir():
            return Path(text[:at]), text[at + 1 :]
    return (Path(text[: cuts[-1]]), text[cuts[-1] + 1 :]) if cuts else None


def pinned(text: str) -> str:
    """Return `text`, REPO@COMMIT, with the full id of the commit; any other text as it is.

    Raises LineageError where there is no such repository or commit.
    """
    named = at_commit(text)
    if named is None:
        return text
    with Repository(_place(named[0])) as repository:
        return f"{named[0]}@{repository.resolve(named[1])}"


def read_at(folder: Path, revision: str, format: str = "", strict: bool = False) -> At:
    """Return what `folder` held at `revision`, as `read_folder` reads what it holds now.

    Raises LineageError as that does, and where there is no such repository or commit.
    """
    with Repository(_place(folder)) as repository:
        commit = repository.commit(repository.resolve(revision))
        held = _held(repository, commit)
    if not held.names and not held.findings:
        raise LineageError(f"{one_line(str(folder))} was no folder at commit {commit.id[:12]}")
    where = f"{one_line(str(folder))}@{commit.id[:12]}"
    return At(as_read(held, where, format, strict), commit.id)


def read_history(
    place: Place, revision: str = "HEAD", format: str = "", most: int = MOST_COMMITS
) -> History | None:
    """Return the history of the folder at `place` up to `revision`; None where no commit has it.

    All of it is read by the convention of its newest state, unless `format` names another. Raises
    LineageError where the repository cannot be read.
    """
    with Repository(place) as repository:
        if (id := repository.found(revision)) is None and revision == "HEAD":
            return None
        last = repository.commit(id or repository.resolve(revision))
        found = repository.commits(last.id, PATTERNS, most + 1)
        whole = len(found) <= most and not place.is_shallow
        states = _states(repository, found[-most:])
        commits = [commit for commit, _ in states]
        by = _spelled([_by(repository, commit) for commit in commits])
    if not commits:
        return None
    snapshots, seen = list[Snapshot](), Seen()
    format = format or _convention([texts for _, texts in states])
    for (commit, texts), models in zip(states, by, strict=True):
        at = max(commit.at, snapshots[-1].at if snapshots else commit.at)
        entries = _entries(texts, format, frozenset(texts), seen)
        snapshots.append(Snapshot(commit.id, at, models, entries, undone(commit.message)))
    end = max(last.at, snapshots[-1].at)
    return History(tuple(commits), tuple(snapshots), lives(snapshots), end, whole)


def _place(folder: Path) -> Place:
    place = place_of(folder)
    if place is None:
        raise LineageError(f"{one_line(str(folder))} is in no git repository: name a folder in one")
    return place


def _held(repository: Repository, commit: Commit) -> Held:
    """Return what the place held at `commit`, as `gather` finds what a folder does."""
    texts: dict[str, str] = {}
    names: set[str] = set()
    findings: list[Finding] = []
    for path, mode, id in repository.files(commit, SKIPPED - {OWN}):
        if mode == LINK:
            if may_be_memory(path):
                findings.append(Finding(path, "is a link and not read"))
            continue
        ours = path == SIDECAR
        if not ours:
            if OWN in PurePosixPath(path).parts[:-1]:
                continue
            names.add(path)
        if not (ours or may_be_memory(path)):
            continue
        data = repository.blob(id, LONGEST)
        try:
            texts[path] = _text(data, limit=not ours)
        except Unread as error:
            findings.append(Finding(path, error.reason, error.line))
    return Held(texts, frozenset(names), tuple(findings))


def _text(data: bytes | None, limit: bool = True) -> str:
    if data is None:
        raise Unread(TOO_LONG)
    return text_of(data, limit)


def _states(
    repository: Repository, commits: list[Commit]
) -> list[tuple[Commit, Mapping[str, str]]]:
    """Return what the texts of the place were after each of `commits` that changed them."""
    texts: dict[str, str] = {}
    known: dict[str, str | None] = {}
    before: dict[str, str] | None = None
    found = list[tuple[Commit, Mapping[str, str]]]()
    for commit in commits:
        ids = {
            path: id
            for path, mode, id in repository.files(commit, SKIPPED)
            if mode != LINK and may_be_memory(path)
        }
        if ids == before:
            continue
        for id in ids.values():
            if id not in known:
                try:
                    known[id] = _text(repository.blob(id, LONGEST))
                except Unread:
                    known[id] = None
        before = ids
        texts = {path: said for path, id in ids.items() if (said := known[id]) is not None}
        found.append((commit, texts))
    return found


def _by(repository: Repository, commit: Commit) -> tuple[str, ...]:
    """Return the models that wrote `commit`; of a merge those of what it brought."""
    parts = [commit]
    if len(commit.parents) > 1:
        parts += repository.merged(commit)
    found = (writers(one.message, one.authors) for one in parts)
    return tuple(dict.fromkeys(name for names in found for name in names))


def _spelled(by: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return `by` with each model as it is spelled first."""
    first: dict[str, str] = {}
    return [
        tuple(dict.fromkeys(first.setdefault(model_key(name), name) for name in names))
        for names in by
    ]


def _convention(states: list[Mapping[str, str]]) -> str:
    """Return by what the newest state that holds anything is read."""
    newest = next((texts for texts in reversed(states) if texts), {})
    try:
        folder = interpret(newest).folder
    except LineageError:
        return OURS
    return folder.convention.name if folder else OURS


def _entries(
    texts: Mapping[str, str], format: str, names: frozenset[str], seen: Seen
) -> tuple[Said, ...]:
    """Return what `texts` say, entry by entry; of our own what cannot be read says nothing."""
    if format == OURS or any(map(is_ours, texts.values())):
        try:
            knowledge = interpret(texts).knowledge
        except LineageError:
            return ()
        memories = (Said("memory", "", "", memory.text) for memory in knowledge.memories)
        return (*memories, *(Said("doc", "", doc.title, doc.body) for doc in knowledge.docs))
    folder = parts_by(convention(format), texts, names, seen)
    return tuple(
        Said(
            part.kind,
            part.source.path,
            part.title if part.kind == "doc" else "",
            part.text,
            folder.forms[part.source.path].whole,
        )
        for part in folder.parts
    )
