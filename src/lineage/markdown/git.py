"""The objects of a git repository, read by the program `git`: commits, trees and files.

Nothing of the repository is run and nothing of it changes. Only plumbing is called that neither
shows differences nor touches an index: no hook, filter, pager, signature check, file monitor or
transport of its configuration has a part in that, and no submodule is entered. A repository that
another user owns is refused by git itself.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lineage.core.errors import LineageError
from lineage.core.text import one_line

LINK, MODULE, TREE = "120000", "160000", "40000"
"""Modes of what is no file of its own."""
LATEST = 253_370_764_800
"""The first second of the year 9999: what a commit says that is later has no date."""
_SAFE = (
    *("--no-pager", "--no-optional-locks", "--no-replace-objects"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never"),
)
_ELSEWHERE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX"),
    *("GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_TRACE", "GIT_EXTERNAL_DIFF"),
)
"""Variables that would lead git elsewhere, as in a hook."""
_SPECIAL = re.compile(r"[\\*?\[]")


@dataclass(frozen=True)
class Commit:
    """A commit: `at` is when it was written, in seconds since 1970; `authors` with addresses."""

    id: str
    tree: str
    parents: tuple[str, ...]
    at: int
    authors: tuple[tuple[str, str], ...]
    message: str


@dataclass(frozen=True)
class Place:
    """A folder in a repository: `folder` is there, `prefix` is its path from the top ("": that)."""

    folder: Path
    prefix: str
    is_shallow: bool


def is_near_git(folder: Path) -> bool:
    """Whether `folder`, or one above it, looks like a repository; git is not asked."""
    whole = folder.resolve()
    return any((one / ".git").exists() or is_bare(one) for one in (whole, *whole.parents))


def is_bare(folder: Path) -> bool:
    """Whether `folder` looks like a repository without a work tree."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def place_of(path: Path) -> Place | None:
    """Return where in a repository `path` is, which need not be there now; None: in none.

    Raises LineageError where there is no git, or where it refuses the repository.
    """
    whole = path.resolve()
    folder = next(one for one in (whole, *whole.parents) if one.is_dir())
    if not is_near_git(folder):
        return None
    # In a bare repository there is no prefix to show, and what is asked before is told.
    said = _git(folder, "rev-parse", "--is-shallow-repository", "--show-prefix").split("\n")
    above = "" if is_bare(folder) else said[1] if len(said) > 1 else ""
    prefix = PurePosixPath(above, whole.relative_to(folder).as_posix()).as_posix()
    return Place(folder, "" if prefix == "." else prefix, said[0] == "true")


class Repository:
    """A repository whose objects are asked for one after another. A context: git runs in it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._trees: dict[str, tuple[tuple[str, str, str], ...]] = {}

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._running.values():
            for pipe in (one.stdin, one.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()
            one.wait()

    def found(self, revision: str) -> str | None:
        """Return the full id of the commit that `revision` names; None where there is none."""
        if revision.startswith("-") or not revision.isprintable():
            return None
        name = f"{revision}^{{commit}}"
        return _tried(self.place.folder, "rev-parse", "--verify", "--quiet", name)

    def resolve(self, revision: str) -> str:
        """Return as `found` does. Raises LineageError where there is no such commit."""
        if (id := self.found(revision)) is not None:
            return id
        where = one_line(str(self.place.folder))
        if self.found("HEAD") is None:
            raise LineageError(f"{where} has no commits yet: commit the memory first")
        more = ""
        if self.place.is_shallow:
            more = "; it is a shallow clone, which lacks older ones: git fetch --unshallow"
        raise LineageError(f"{where} has no commit {one_line(revision)!r}: see git log{more}")

    def commits(self, until: str, names: Sequence[str], most: int) -> list[Commit]:
        """Return the newest `most` commits up to `until` that changed a file of the place.

        Oldest first, along first parents: of a merge it is what it brought that counts. `names`
        are patterns of file names.
        """
        prefix = _SPECIAL.sub(r"\\\g<0>", f"{self.place.prefix}/" if self.place.prefix else "")
        where = [f":(top,glob,icase){prefix}**/{name}" for name in names]
        order = ("--first-parent", "--reverse", f"--max-count={most}")
        ids = _git(self.place.folder, "rev-list", *order, until, "--", *where).split()
        return [self.commit(id) for id in ids]

    def merged(self, merge: Commit) -> list[Commit]:
        """Return the commits that `merge` brought along."""
        order = (*merge.parents[1:], f"^{merge.parents[0]}")
        return [self.commit(id) for id in _git(self.place.folder, "rev-list", *order).split()]

    def commit(self, id: str) -> Commit:
        """Return the commit `id`."""
        head, _, body = self._read(id).partition(b"\n\n")
        lines: dict[str, list[str]] = {}
        for line in head.decode("utf-8", "replace").split("\n"):
            key, _, value = line.partition(" ")
            lines.setdefault(key, []).append(value)
        people = [_person(lines.get(role, [""])[0]) for role in ("author", "committer")]
        encoding = lines.get("encoding", ["utf-8"])[0]
        try:
            message = body.decode(encoding, "replace")
        except LookupError:
            message = body.decode("utf-8", "replace")
        return Commit(
            id,
            lines["tree"][0],
            tuple(lines.get("parent", ())),
            people[0][2],
            tuple(dict.fromkeys((name, address) for name, address, _ in people)),
            message,
        )

    def files(self, commit: Commit, skipped: frozenset[str]) -> Iterator[tuple[str, str, str]]:
        """Yield path, mode and id of all that `commit` has at the place, in order of the paths.

        Folders of a name in `skipped` are left out. Nothing is yielded where there is no folder.
        """
        tree = commit.tree
        for part in PurePosixPath(self.place.prefix).parts:
            found = [id for mode, name, id in self._tree(tree) if (mode, name) == (TREE, part)]
            if not found:
                return
            tree = found[0]
        yield from self._below(tree, "", skipped)

    def blob(self, id: str, most: int) -> bytes | None:
        """Return the bytes of the file `id`; None where they are more than `most`."""
        size = int(self._ask("--batch-check", id)[2])
        return self._read(id) if size <= most else None

    def _below(
        self, tree: str, above: str, skipped: frozenset[str]
    ) -> Iterator[tuple[str, str, str]]:
        for mode, name, id in self._tree(tree):
            if mode == TREE:
                if name not in skipped:
                    yield from self._below(id, f"{above}{name}/", skipped)
            elif mode != MODULE:
                yield f"{above}{name}", mode, id

    def _tree(self, id: str) -> tuple[tuple[str, str, str], ...]:
        if id not in self._trees:
            data, width, at, found = self._read(id), len(id) // 2, 0, []
            while at < len(data):
                end = data.index(b"\0", at)
                mode, _, name = data[at:end].partition(b" ")
                at = end + 1 + width
                found.append((mode.decode(), os.fsdecode(name), data[end + 1 : at].hex()))
            self._trees[id] = tuple(found)
        return self._trees[id]

    def _read(self, id: str) -> bytes:
        size = int(self._ask("--batch", id)[2])
        out = self._running["--batch"].stdout
        assert out is not None
        data = out.read(size)
        out.read(1)
        return data

    def _ask(self, how: str, id: str) -> list[str]:
        """Return id, kind and size of the object `id`, as `git cat-file` says them."""
        if how not in self._running:
            with _there_is_git():
                self._running[how] = subprocess.Popen(
                    ["git", "-C", str(self.place.folder), *_SAFE, "cat-file", how],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                )
        git = self._running[how]
        assert git.stdin is not None and git.stdout is not None
        try:
            git.stdin.write(f"{id}\n".encode())
            git.stdin.flush()
            said = git.stdout.readline().decode().split()
        except OSError:
            said = []
        if len(said) != 3:
            what = "a partial or damaged clone: git fetch --refetch"
            raise LineageError(f"{one_line(str(self.place.folder))} lacks object {id}: {what}")
        return said


@contextmanager
def _there_is_git() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise LineageError("there is no program git: install it to read a history") from error


def _git(folder: Path, *arguments: str) -> str:
    """Return what git says. Raises LineageError with the first line of what it complains of."""
    done = _run(folder, arguments)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = one_line(lines[0].removeprefix("fatal: ")) if lines else f"exit {done.returncode}"
        raise LineageError(f"git cannot read {one_line(str(folder))}: {said}")
    return done.stdout.rstrip("\n")


def _tried(folder: Path, *arguments: str) -> str | None:
    """Return what git says; None where it fails."""
    done = _run(folder, arguments)
    return None if done.returncode else done.stdout.strip()


def _run(folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    with _there_is_git():
        return subprocess.run(
            ["git", "-C", str(folder), *_SAFE, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            env=_environment(),
            check=False,
        )


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def _person(line: str) -> tuple[str, str, int]:
    """Return name, address and seconds since 1970 of a line of a commit."""
    found = re.match(r"(.*?) ?<([^>]*)>(?: (-?\d{1,18}))?", line)
    if found is None:
        return line, "", 0
    return found[1], found[2], min(max(int(found[3] or 0), 0), LATEST)
