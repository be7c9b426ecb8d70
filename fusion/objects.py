"""Whole objects under keys: what a store of models asks of the place where it lies.

An object is there whole or not at all, whoever dies or runs out of room while writing it. There are
no locks and no appending, so that a folder, a network folder and an object store can all be it.
"""

import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PARTS = ".parts"
"""Folder of what is being written; never listed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a listing tells of it.

    Attributes:
        token: differs once the object is another one.
        written_s: when it was written, seconds of Unix time by the clock of the place.
    """

    token: str
    written_s: float


class Objects(Protocol):
    """A place for objects. Keys are relative paths with `/`; errors are `OSError`."""

    @property
    def where(self) -> str:
        """The place, for people; no secrets."""

    def listing(self, under: str) -> Mapping[str, Seen]:
        """Return key → object, for every object under a folder; nothing if there is no folder."""

    def read(self, key: str) -> bytes:
        """Return an object; raises FileNotFoundError if there is none."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; return whether this call wrote it."""

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, whether or not there is one."""

    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""

    def clean(self, older_s: float) -> None:
        """Drop what was half written longer ago than so many seconds."""


class FolderObjects:
    """Objects as files of a folder, which is made when first needed.

    A file is written and synced under another name and then linked or renamed into its place, which
    the file system does at once or not at all, over NFS too.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self._root)

    def listing(self, under: str) -> Mapping[str, Seen]:
        """Return key → object; see `Objects.listing`."""
        return dict(self._under(self._root / under, under))

    def _under(self, folder: Path, key: str) -> Iterator[tuple[str, Seen]]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            with suppress(FileNotFoundError):  # it was removed while we looked
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from self._under(folder / entry.name, f"{key}/{entry.name}")
                elif stat.S_ISREG(found.st_mode):
                    token = f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"
                    yield f"{key}/{entry.name}", Seen(token, found.st_mtime)

    def read(self, key: str) -> bytes:
        """Return an object; see `Objects.read`."""
        try:
            return (self._root / key).read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from None

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; see `Objects.create`."""
        with self._written(key, data) as part:
            try:
                os.link(part, self._root / key)
            except FileExistsError:
                return False
        self._sync(key)
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Write an object; see `Objects.replace`."""
        with self._written(key, data) as part:
            part.replace(self._root / key)
        self._sync(key)

    def remove(self, key: str) -> None:
        """Remove an object; see `Objects.remove`."""
        with suppress(FileNotFoundError, NotADirectoryError):
            (self._root / key).unlink()
            self._sync(key)

    def clean(self, older_s: float) -> None:
        """Drop what was half written; see `Objects.clean`."""
        for key, seen in self.listing(PARTS).items():
            if seen.written_s < time.time() - older_s:
                (self._root / key).unlink(missing_ok=True)

    @contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[Path]:
        """Give the data as a file that is safe on the disk, and drop its name at the end."""
        parts = self._root / PARTS
        for folder in (parts, (self._root / key).parent):
            folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=parts)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _sync(self, key: str) -> None:
        """Make the names in an object's folder safe on the disk."""
        handle = os.open((self._root / key).parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
