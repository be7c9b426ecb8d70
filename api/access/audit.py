"""The audit log: who used boards, changed something or was refused, a JSON object a line.

A line is one write at the end of the file, so processes may share it. The file is opened anew when
another one, or none, lies at its path: it may be rotated by renaming or by copying and truncating.
A line that cannot be written goes to standard error, with the service's log, and is counted; the
request goes on, because a full disk must not stop the boards (docs/adr/0022).
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import structlog

log = structlog.get_logger("snn_fusion")


class Audit:
    """Writes the audit log.

    Args:
        path: where to; without one, to standard error.
        on_failure: is called for every line that could not be written there.

    Raises:
        OSError: if the file cannot be opened for writing.
    """

    def __init__(self, path: Path | None, on_failure: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_failure = on_failure
        self._lock = Lock()
        self._file = -1
        self._torn = False
        if path is not None:
            self._open()

    def write(self, action: str, **facts: Any) -> None:
        """Write one line: when, what, and the facts that are known."""
        line = _line(action, facts)
        if self._path is None:
            _to_standard_error(line)
            return
        try:
            with self._lock:
                self._write(line)
        except OSError as error:
            self._on_failure()
            _to_standard_error(line)
            log.error("the audit log cannot be written", path=str(self._path), error=str(error))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _write(self, line: bytes) -> None:
        if self._file < 0 or self._elsewhere():
            self._open()
        if self._torn:  # end the line that a full disk has cut off
            line = b"\n" + line
        written = os.write(self._file, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"{written} of {len(line)} bytes were written")

    def _elsewhere(self) -> bool:
        assert self._path is not None
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(self._file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _open(self) -> None:
        assert self._path is not None
        opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = opened
        self._torn = False


def _line(action: str, facts: dict[str, Any]) -> bytes:
    time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    known = {name: value for name, value in facts.items() if value is not None}
    return orjson.dumps(
        {"timestamp": time, "logger": "snn_fusion.audit", "event": action, **known},
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _to_standard_error(line: bytes) -> None:
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
