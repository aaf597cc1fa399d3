"""Plain text: what every file can store, and what every line can show. Pure."""

from __future__ import annotations


def clean(text: str) -> str:
    """Return `text` such that it can be stored as UTF-8: lone surrogates become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def spaced(text: str) -> str:
    """Return `text` with a space for whatever does not print, such as control characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
