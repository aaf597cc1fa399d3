"""Changes of files as a patch that `git apply` takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff

Change = tuple[bytes | None, bytes | None]
"""What a file held and will hold; None: it is not there."""


def patch(changes: Mapping[str, Change]) -> bytes:
    """Return the unified diff of `changes`, by path, in git's form."""
    return b"".join(_file(path, *changes[path]) for path in sorted(changes))


def _file(path: str, old: bytes | None, new: bytes | None) -> bytes:
    if old == new:
        return b""
    names = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    lines = [b"diff --git %b %b\n" % names]
    if old is None:
        lines.append(b"new file mode 100644\n")
    if new is None:
        lines.append(b"deleted file mode 100644\n")
    before = b"/dev/null" if old is None else _ended(names[0])
    after = b"/dev/null" if new is None else _ended(names[1])
    # Latin-1 has a character for each byte, so that none is changed on the way.
    was, will = (_lines((data or b"").decode("latin-1")) for data in (old, new))
    hunks = list(unified_diff(was, will))[2:]
    if hunks:
        lines += [b"--- %b\n+++ %b\n" % (before, after)]
    for hunk in hunks:
        lines.append(hunk.encode("latin-1"))
        if not hunk.endswith("\n"):
            lines.append(b"\n\\ No newline at end of file\n")
    return b"".join(lines)


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [f"{line}\n" for line in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _ended(name: bytes) -> bytes:
    return name + b"\t" if b" " in name and not name.startswith(b'"') else name


def _quoted(path: str) -> bytes:
    if not any(c in '"\\' or ord(c) < 32 or ord(c) == 127 for c in path):
        return path.encode("utf-8", "surrogateescape")
    raw = path.encode("utf-8", "surrogateescape")
    plain = (bytes((b,)) if 32 <= b < 127 and b not in b'"\\' else b"\\%03o" % b for b in raw)
    return b'"' + b"".join(plain) + b'"'
