"""Objects behind a URL, by fsspec: object stores of clouds, and memory for tests."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from fusion.objects import FolderObjects, Objects, Seen

_TOKENS = ("ETag", "etag", "generation", "LastModified", "mtime", "created", "size")
_WRITTEN = ("LastModified", "last_modified", "mtime", "updated", "created")


class InvalidStore(ValueError):
    """A URL that leads to no place for models."""


def make_objects(address: str) -> Objects:
    """Return the place that a folder's path or a URL of fsspec's leads to.

    Raises:
        InvalidStore: if nothing here can read such a URL.
    """
    if "://" not in address:
        return FolderObjects(Path(address).absolute())
    try:
        # Others write there, too: nothing that was seen once is believed again.
        files, root = url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        raise InvalidStore(f"cannot be used: {error}") from None
    if isinstance(files, LocalFileSystem):
        return FolderObjects(Path(root))
    return RemoteObjects(files, root, address.partition("?")[0])


class RemoteObjects:
    """Objects of a file system that creates files at once and exclusively; see `Objects`.

    Args:
        files: the file system.
        root: path of the place in it.
        where: the place, for people.
    """

    def __init__(self, files: fsspec.AbstractFileSystem, root: str, where: str) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._where = where
        self._lock = Lock()
        self._is_exclusive = False

    @property
    def where(self) -> str:
        """The place's URL."""
        return self._where

    def listing(self, under: str) -> Mapping[str, Seen]:
        """Return key → object; see `Objects.listing`."""
        with _as_os_errors():
            self._files.invalidate_cache()
            try:
                found = self._files.find(f"{self._root}/{under}", detail=True)
            except FileNotFoundError:
                return {}
        whole = self._files._strip_protocol(self._root).lstrip("/")
        return {
            name.lstrip("/").removeprefix(whole).lstrip("/"): _seen(info)
            for name, info in found.items()
            if info.get("type") == "file"
        }

    def read(self, key: str) -> bytes:
        """Return an object; see `Objects.read`."""
        with _as_os_errors():
            data: bytes = self._files.cat_file(f"{self._root}/{key}")
            return data

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; see `Objects.create`."""
        self._require_exclusive()
        return self._create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        """Write an object; see `Objects.replace`."""
        with _as_os_errors():
            self._files.pipe_file(f"{self._root}/{key}", data)

    def remove(self, key: str) -> None:
        """Remove an object; see `Objects.remove`."""
        with _as_os_errors():
            try:
                self._files.rm_file(f"{self._root}/{key}")
            except FileNotFoundError:
                return

    def clean(self, older_s: float) -> None:
        """Do nothing: an object store shows nothing that is half written."""

    def _create(self, key: str, data: bytes) -> bool:
        with _as_os_errors():
            try:
                self._files.pipe_file(f"{self._root}/{key}", data, mode="create")
            except FileExistsError:
                return False
            return True

    def _require_exclusive(self) -> None:
        """Try once whether the place keeps what exists: versions never change because it does."""
        with self._lock:
            if self._is_exclusive:
                return
            key = f"probes/{uuid.uuid4().hex}"
            self._create(key, b"first")
            second = self._create(key, b"second")
            self.remove(key)
            if second:
                raise OSError(f"{self._where} writes over what exists even when told not to")
            self._is_exclusive = True


def _seen(info: Mapping[str, Any]) -> Seen:
    token = " ".join(str(info[name]) for name in _TOKENS if name in info)
    return Seen(token, _seconds(next((info[name] for name in _WRITTEN if name in info), None)))


def _seconds(when: object) -> float:
    """Return Unix time; that of the end of time where a file system does not tell."""
    match when:
        case datetime():
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        case int() | float():
            return float(when)
        case str():
            return _seconds(datetime.fromisoformat(when))
        case _:
            return float("inf")


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what libraries of object stores raise into the errors of operating systems."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
