"""What there is to open: the runs, trainings and points of sweeps that a place names."""

from __future__ import annotations

import glob
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lineage.core.errors import LineageError
from lineage.core.jsonfile import read_file
from lineage.core.urls import is_url
from lineage.log.record import RECORD, parse_record
from lineage.log.sittings import SITTINGS, Sitting, parse_sittings
from lineage.log.sweep import SWEEP, SweepRecord, parse_sweep
from lineage.log.views.datasets import Skipped
from lineage.log.views.settings import parse_settings
from lineage.log.views.swept import swept

NOT_BEGUN = "this point of the sweep has not begun"


@dataclass(frozen=True)
class Opened:
    """A folder that is read: its record, its settings by dotted key, and its sittings.

    Of a point `sweep` is the name of its sweep's folder, `point` its number, `swept` the values of
    the sweep's keys, and `failed` why it has no result, "" where nobody said so.
    """

    folder: str
    record: dict[str, Any]
    settings: dict[str, Any]
    sittings: tuple[Sitting, ...] = ()
    sweep: str = ""
    point: int | None = None
    swept: dict[str, Any] = field(default_factory=dict)
    failed: str = ""


def run_patterns(where: str) -> tuple[str, ...]:
    """Return the globs of the `run.json` files that `where` may mean.

    A run, the runs of a folder, and the points of its sweeps. A folder that exists is taken as it
    is named, with whatever characters; else it is a glob.
    """
    place = where.rstrip("/") or "/"
    if not is_url(where) and Path(where).exists():
        place = glob.escape(str(Path(where)))
    return tuple(f"{place}/{below}{RECORD}" for below in ("", "*/", "*/*/"))


class Places:
    """Finds what is at places, one after another, with `log` to read what is behind a URL.

    What cannot be read goes into `skipped` where `skip` says so, and so do points of a sweep that
    have not begun; else LineageError names it.
    """

    def __init__(self, log: duckdb.DuckDBPyConnection, skip: bool, skipped: list[Skipped]) -> None:
        self.log, self.skip, self.skipped = log, skip, skipped
        self.found: dict[str, Opened] = {}
        self.known: set[str] = set()
        # A folder of many runs is asked but once whether it is a sweep.
        self.sweep = cache(self._sweep)

    def look(self, where: str) -> None:
        """Add the runs and trainings that `where` names to `found`, in the order of their folders.

        Raises LineageError where there is none.
        """
        try:
            folders, sweeps = self._named(where)
        except (duckdb.Error, OSError) as error:
            raise LineageError(f"{where} cannot be read: {str(error).splitlines()[0]}") from error
        if not folders and not any(self.sweep(_real(sweep)) for sweep in sweeps):
            raise LineageError(
                f"{where} is no run folder: it has no run.json, and no folder in it has one"
            )
        for folder in folders:
            try:
                self.found.setdefault(_real(folder), self._read(folder))
            except (LineageError, OSError, duckdb.Error) as error:
                reason = " ".join(str(error).split())
                if not self.skip:
                    raise LineageError(reason) from error
                self.skipped.append(Skipped(folder, f"{folder}/{RECORD}", reason))
        self.known |= {_real(folder) for folder in folders}
        for sweep in sweeps:
            record = self.sweep(_real(sweep))
            if record and not record.points:
                self.skipped.append(Skipped(sweep, "", "the sweep has no point yet"))
            for point in record.points if record else ():
                if _real(folder := f"{sweep}/{point.folder}") not in self.known:
                    self.known.add(_real(folder))
                    self.skipped.append(Skipped(folder, "", point.failed or NOT_BEGUN))

    def _named(self, where: str) -> tuple[list[str], list[str]]:
        """Return the folders of runs that `where` names, and those of sweeps that it names whole.

        Those that are named by a link come last: what is there twice has its own name.
        """
        first, *below = run_patterns(where)
        found = {*self._folders(first)}
        if found and not glob.has_magic(first):
            return sorted(found), []
        # What lies in a run is a part of it: the trainings that it made.
        for one in (one for pattern in below for one in self._folders(pattern)):
            if not {one.rpartition("/")[0], one.rsplit("/", 2)[0]} & found:
                found.add(one)
        inside = [f"{pattern.removesuffix(RECORD)}{SWEEP}" for pattern in (first, below[0])]
        sweeps: dict[str, str] = {}
        for one in sorted(
            (one for pattern in inside for one in self._folders(pattern)), key=_linked
        ):
            sweeps.setdefault(_real(one), one)
        return sorted(found, key=_linked), list(sweeps.values())

    def _folders(self, pattern: str) -> list[str]:
        return [file.rpartition("/")[0] for file in files(self.log, pattern)]

    def _read(self, folder: str) -> Opened:
        file = f"{folder}/{RECORD}"
        one = Opened(folder, parse_record(self._held(file), file), {})
        for file in files(self.log, f"{_escaped(folder)}/config.yaml"):
            one = replace(one, settings=parse_settings(self._held(file), file))
        for file in files(self.log, f"{_escaped(folder)}/{SITTINGS}"):
            one = replace(one, sittings=parse_sittings(self._held(file), file))
        return self._in_sweep(one)

    def _in_sweep(self, one: Opened) -> Opened:
        above, _, name = _real(one.folder).rpartition("/")
        if (record := self.sweep(above)) is None:
            return one
        point = next((point for point in record.points if point.folder == name), None)
        if point is None:
            return one
        values = swept(record.keys, point.overrides, one.settings)
        of = above.rpartition("/")[2]
        return replace(one, sweep=of, point=point.number, swept=values, failed=point.failed)

    def _sweep(self, folder: str) -> SweepRecord | None:
        """Return the record of the sweep in `folder`; None where that is none, or is skipped."""
        for file in files(self.log, f"{_escaped(folder)}/{SWEEP}"):
            try:
                return parse_sweep(self._held(file), file)
            except LineageError as error:
                if not self.skip:
                    raise
                self.skipped.append(Skipped(folder, file, str(error)))
        return None

    def _held(self, file: str) -> bytes:
        if not is_url(file):
            return read_file(Path(file))
        found = self.log.execute("SELECT content FROM read_blob(?)", [file]).fetchone()
        return bytes(found[0]) if found else b""


def files(log: duckdb.DuckDBPyConnection, pattern: str) -> list[str]:
    """Return the names of the files that `pattern` hits, in their order."""
    found = log.execute("SELECT file FROM glob(?) ORDER BY file", [pattern]).fetchall()
    return [str(row[0]) for row in found]


def _escaped(folder: str) -> str:
    return folder if is_url(folder) else glob.escape(folder)


def _real(folder: str) -> str:
    # A link such as runs/latest names a run that is there under its own name.
    return folder if is_url(folder) else str(Path(folder).resolve())


def _linked(folder: str) -> tuple[bool, str]:
    return not is_url(folder) and str(Path(folder).absolute()) != _real(folder), folder
