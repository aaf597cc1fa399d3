"""URLs at which runs are stored, such as s3://bucket/runs, and what a path makes of one. Pure.

A run works in a folder of the cache, and is published to its URL from there (`log.publish`). The
folder is named by the URL, so that either tells the other.
"""

from __future__ import annotations

from lineage.core.errors import LineageError
from lineage.core.names import SAFE

SIGN = "://"
SCHEME = "s3://"
WORKED, READ = "stored-s3", "read-s3"
"""The folders of the cache in which runs with a URL are worked on, and into which they are read."""


def is_url(text: str) -> bool:
    """Whether `text` is a URL, and no folder."""
    return SIGN in text


def check_url(key: str, url: str) -> None:
    """Raise LineageError, of the conf key `key`, where nothing can be stored at `url`.

    It is not shown: somebody may have written a password into it.
    """
    if not url.startswith(SCHEME):
        raise LineageError(f"{key} is a URL that is not of {SCHEME}: name such a one, or a folder")
    for part in parts_of(url):
        if not SAFE.fullmatch(part):
            raise LineageError(
                f"{key} is a URL with something else than {SCHEME}BUCKET/NAME/..., of letters a to "
                "z, digits and . _ @ + -: keys and endpoints are of the environment, such as "
                "AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"
            )


def parts_of(url: str) -> list[str]:
    """Return the bucket of `url` and the names below it."""
    return url.removeprefix(SCHEME).rstrip("/").split("/")


def url_in(path: str) -> str | None:
    """Return the URL that `path` is, or was before something took it for a path; else None."""
    bare = SCHEME.rstrip("/")
    return f"{SCHEME}{path.removeprefix(bare).strip('/')}" if path.startswith(f"{bare}/") else None


def url_of(parts: tuple[str, ...]) -> str | None:
    """Return the URL of a folder that is worked on, by the `parts` of its path; None of others."""
    if WORKED not in parts:
        return None
    below = parts[len(parts) - parts[::-1].index(WORKED) :]
    return f"{SCHEME}{'/'.join(below)}" if len(below) > 1 else None
