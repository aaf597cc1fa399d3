"""A place of an S3-compatible object store: names, bytes, and patience with what errs for a while.

Who may do what is told by the service's own variables and profile (AWS_ACCESS_KEY_ID, AWS_PROFILE,
...), and so is where it is (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL). None of that is of conf.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyarrow import fs

from lineage.core.config import StorageConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.urls import parts_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
NO_BUCKET = ("NO_SUCH_BUCKET", "NoSuchBucket")
DENIED = (
    *("ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT"),
    *("EXPIRED_TOKEN", "INVALID_TOKEN", "UNRECOGNIZED_CLIENT", "MISSING_AUTHENTICATION"),
    *("HTTP status 401", "HTTP status 403"),
)
"""What an error says that no second attempt can mend."""
LONGEST = 30.0
"""Seconds between two attempts, at most."""
BLOCK = 2**20
"""Bytes that are copied at once."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the disk of this machine says, and no store does."""

T = TypeVar("T")


class StorageError(LineageError):
    """A store that cannot be read or written: refused, or not there after all attempts."""


class Store:
    """The objects below `url`, by their names there. Each call is tried `config.attempts` times.

    All raise StorageError, one line. `pause` waits so many seconds. Threads may share it.
    """

    def __init__(
        self, url: str, config: StorageConfig, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.url, self.config, self.pause = url.rstrip("/"), config, pause
        self.bucket, *below = parts_of(url)
        self.place = "/".join((self.bucket, *below))
        self.files = _file_system(config)  # attempts are counted here

    def check(self) -> None:
        """Raise StorageError where the bucket is not there, or may not be seen."""
        (found,) = self._tried("read", lambda: self.files.get_file_info([self.bucket]))
        if found.type == fs.FileType.NotFound:
            raise StorageError(f"{self.url}: there is no bucket {self.bucket}: make it first")

    def sizes(self) -> dict[str, int]:
        """Return how many bytes each object has, by its name below the URL."""
        chosen = fs.FileSelector(self.place, recursive=True, allow_not_found=True)
        found = self._tried("read", lambda: self.files.get_file_info(chosen))
        cut = len(self.place) + 1
        return {one.path[cut:]: one.size for one in found if one.type == fs.FileType.File}

    def below(self, name: str = "") -> list[str]:
        """Return the names of what is right below `name`: objects, and what others are below."""
        place = f"{self.place}/{name}".rstrip("/")
        chosen = fs.FileSelector(place, allow_not_found=True)
        found = self._tried("read", lambda: self.files.get_file_info(chosen))
        return sorted(one.base_name for one in found)

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """Return how many bytes an object has; None where it is not there."""
        (found,) = self._tried("read", lambda: self._look(name), name)
        return int(found.size) if found.type == fs.FileType.File else None

    def changed(self, name: str) -> float | None:
        """Return when an object was last put, by the store's clock (s); None where it is not."""
        (found,) = self._tried("read", lambda: self._look(name), name)
        return None if found.mtime_ns is None else found.mtime_ns / 1e9

    def _look(self, name: str) -> list[fs.FileInfo]:
        return list(self.files.get_file_info([f"{self.place}/{name}"]))

    def read(self, name: str) -> bytes:
        """Return the bytes of an object."""

        def get() -> bytes:
            with self.files.open_input_stream(f"{self.place}/{name}", compression=None) as file:
                return bytes(file.read())

        return self._tried("read", get, name)

    def write(self, name: str, data: bytes) -> None:
        """Put an object: it is there whole, or as it was before."""

        def put() -> None:
            with self.files.open_output_stream(f"{self.place}/{name}", compression=None) as file:
                file.write(data)

        self._tried("written", put, name)

    def upload(self, name: str, file: Path) -> None:
        """Put a file of any size as an object: it is there whole, or as it was before."""

        def put() -> None:
            target = self.files.open_output_stream(f"{self.place}/{name}", compression=None)
            with file.open("rb") as source, target:
                shutil.copyfileobj(source, target, BLOCK)

        self._tried("written", put, name)

    def download(self, name: str, file: Path) -> None:
        """Write the bytes of an object of any size to `file`."""

        def get() -> None:
            source = self.files.open_input_stream(f"{self.place}/{name}", compression=None)
            with source, file.open("wb") as target:
                shutil.copyfileobj(source, target, BLOCK)

        self._tried("read", get, name)

    def each(self, names: Sequence[str], call: Callable[[str], T]) -> list[T]:
        """Return what `call` gives for each of `names`, as many at once as there are connections.

        Raises what the first of them raises.
        """
        if not names:
            return []
        with ThreadPoolExecutor(self.config.connections, "store") as threads:
            found = [threads.submit(call, name) for name in names]
            try:
                return [one.result() for one in found]
            except BaseException:
                for one in found:
                    one.cancel()
                raise

    def remove(self, name: str) -> None:
        """Remove an object, where it is there."""

        def delete() -> None:
            try:
                self.files.delete_file(f"{self.place}/{name}")
            except FileNotFoundError:
                return

        self._tried("written", delete, name)

    def _tried(self, what: str, call: Callable[[], T], name: str = "") -> T:
        where = f"{self.url}/{name}" if name else self.url
        for attempt in range(1, self.config.attempts + 1):
            try:
                return call()
            except FileNotFoundError as error:
                raise StorageError(f"{where} is not there any more: begin again") from error
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                said = first_line(error)
                if any(one in said for one in NO_BUCKET):
                    line = f"{where}: there is no bucket {self.bucket}: make it first"
                    raise StorageError(line) from error
                if any(one in said for one in DENIED):
                    raise StorageError(
                        f"{where} cannot be {what}, permission is denied: set AWS_ACCESS_KEY_ID "
                        f"and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of one who may ({said})"
                    ) from error
                if attempt == self.config.attempts:
                    raise StorageError(
                        f"{where} cannot be {what}, after {attempt} attempts: look to the network "
                        f"and {ENDPOINTS[-1]}, or raise run.storage.attempts ({said})"
                    ) from error
            self.pause(min(self.config.backoff_s * 2 ** (attempt - 1), LONGEST))
        raise AssertionError("the last attempt returns or raises")


def for_duckdb(config: StorageConfig) -> AbstractFileSystem:
    """Return the store as DuckDB takes one: it reads s3:// of our environment, as `Store` does."""
    from lineage.log.objects import Objects

    return Objects(_file_system(config, config.attempts))


def _file_system(config: StorageConfig, attempts: int = 1) -> fs.S3FileSystem:
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    scheme, sign, host = endpoint.rpartition("://")
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme if sign else "https",
        connect_timeout=config.timeout_s,
        request_timeout=config.timeout_s,
        # One PUT an object of usual size.
        allow_delayed_open=True,
        background_writes=False,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    )
