"""Shared-memory segments of a child's processes, which outlive them when they are killed.

A child names its segments, and a folder for sockets among them, by a prefix of its own, and a file
of that name is locked for as long as any process of it lives. So what a killed child left behind is
told from what a living one uses.
"""

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
VARIABLE = "SNN_FUSION_SHM_PREFIX"
"""Environment variable that tells a child the prefix of its segments."""
_OURS = "snn-fusion-"
_LOCK = "lock"


class Segments:
    """The segments of one child.

    Attributes:
        prefix: what their names begin with.
        lock: a descriptor that the child has to inherit; None where there is no such folder.
    """

    def __init__(self) -> None:
        self.prefix = f"{_OURS}{secrets.token_hex(4)}-"
        self.lock: int | None = None
        if FOLDER.is_dir():
            with suppress(OSError):
                flags = os.O_CREAT | os.O_RDWR
                self.lock = os.open(FOLDER / f"{self.prefix}{_LOCK}", flags, 0o600)
                fcntl.flock(self.lock, fcntl.LOCK_SH)

    def handed_over(self) -> None:
        """Leave the lock to the child alone, once it runs."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def remove(self) -> None:
        """Remove what the child, which has ended, left behind."""
        _remove(self.prefix)


def sweep() -> None:
    """Remove what children left whose service was killed with them."""
    for path in FOLDER.glob(f"{_OURS}*-{_LOCK}"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.name.removesuffix(_LOCK))
            finally:
                os.close(descriptor)


def _remove(prefix: str) -> None:
    for path in FOLDER.glob(f"{prefix}*"):
        with suppress(FileNotFoundError, PermissionError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
