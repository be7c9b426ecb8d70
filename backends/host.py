"""Engines in a child process: what hangs or crashes there costs its own request only.

The child runs `backends.worker` in a session of its own. Every call has a deadline; when it passes,
or the child dies or says something unexpected, the child's whole process group is killed and the
next call starts a fresh one.
"""

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from backends.errors import RunFailed, RunTimeout
from backends.shared_memory import VARIABLE, Segments, sweep
from backends.wire import BrokenWire, Wire
from fusion.errors import InvalidContract, InvalidInput, InvalidModel

_LAUNCH = """
import runpy, sys, types
package = sys.modules["backends"] = types.ModuleType("backends")
package.__path__ = [sys.argv.pop(1)]
runpy.run_module("backends.worker", run_name="__main__", alter_sys=True)
"""
"""Runs the worker in an environment of its own: of this one it sees the package `backends` alone,
not the libraries beside it."""
_TAIL_BYTES = 16_384
_TAIL_LINES = 20
_GRACE_S = 1.0
_TYPED = {kind.__name__: kind for kind in (InvalidInput, InvalidModel, InvalidContract)}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run gave back, and how long it took in the child."""

    reply: Any
    wall_s: float


class ChildHost:
    """Runs programs of one engine in one child process, one call at a time.

    Safe to use from several threads. The child starts with the first call. A child that takes the
    place of a lost one is given the programs again as they are called; that, like the start, has
    its own time limit and does not count against the deadline of a run.

    Args:
        name: whom errors name, a target.
        engine: `module:function`, as `backends.worker` takes it.
        python: the interpreter of the child's environment.
        environment: variables to set for the child.
        start_s: seconds in which the child has to be ready.
        open_s: seconds in which it has to open a program.
        shares_memory: the child's processes share memory, whose segments outlive a killed child
            unless the host removes them; they bear a prefix of `backends.shared_memory`.
    """

    def __init__(
        self,
        name: str,
        engine: str,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        start_s: float = 60.0,
        open_s: float = 600.0,
        shares_memory: bool = False,
    ) -> None:
        self.name = name
        worker = ["-P", "-m", "backends.worker"]
        if python != sys.executable:
            worker = ["-P", "-c", _LAUNCH, str(Path(__file__).parent)]
        self._command = [python, *worker, engine]
        self._shares_memory = shares_memory
        self._environment = {**os.environ, **(environment or {})}
        self._start_s = start_s
        self._open_s = open_s
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._parts: dict[int, Any] = {}
        self._child: _Child | None = None
        self._lost = False
        self._opened: set[int] = set()
        self._unwanted: deque[int] = deque()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        child = self._child
        return child.pid if child is not None and child.alive() else None

    def open(self, parts: Any) -> int:
        """Open a program made of `parts` in the child and return its number.

        Raises:
            InvalidInput, InvalidModel, InvalidContract: as the engine raised it.
            RunFailed: if the child cannot be started or the engine fails otherwise.
        """
        with self._lock:
            number = next(self._numbers)
            self._parts[number] = parts
            try:
                self._opened_in(self._ready(), number)
            except BaseException:
                del self._parts[number]
                raise
        return number

    def run(self, number: int, request: Any, deadline_s: float) -> Answer:
        """Return a program's answer to a request.

        Raises:
            InvalidInput, InvalidModel, InvalidContract: as the engine raised it.
            RunTimeout: if `deadline_s` passed, waiting for other calls included.
            RunFailed: if the child died or the engine failed otherwise.
        """
        waited_from = time.monotonic()
        if not self._lock.acquire(timeout=min(max(deadline_s, 0.0), threading.TIMEOUT_MAX)):
            raise RunTimeout(self.name, deadline_s)
        try:
            left_s = deadline_s - (time.monotonic() - waited_from)
            child = self._ready()
            self._opened_in(child, number)
            message = {"do": "run", "program": number, "request": request}
            reply = self._asked(child, message, left_s, deadline_s)
            return Answer(reply["done"], float(reply["wall_s"]))
        finally:
            self._lock.release()

    def forget(self, number: int) -> None:
        """Drop a program; the child frees it before the next call."""
        self._parts.pop(number, None)
        self._unwanted.append(number)

    def close(self) -> None:
        """End the child; a later call starts a fresh one."""
        with self._lock:
            self._stop()

    def close_if_idle(self) -> bool:
        """End the child unless a call is under way; return whether none was."""
        idle = self._lock.acquire(blocking=False)
        if idle:
            try:
                self._stop()
            finally:
                self._lock.release()
        return idle

    def _ready(self) -> "_Child":
        """Return a living child that holds no unwanted programs."""
        if self._child is not None and not self._child.alive():
            _log.warning("%s: the child process has ended, starting another", self.name)
            self._lose()
        if self._child is None:
            try:
                self._child = _Child(self._command, self._environment, self._shares_memory)
            except OSError as error:
                raise RunFailed(f"target {self.name!r} cannot start its child: {error}") from None
            if self._lost:
                _count_restart(self.name)
            self._lost = False
            with self._watched(self._child, self._start_s):
                reply = self._child.wire.receive(time.monotonic() + self._start_s)
                self._checked(reply)
        while self._unwanted:
            number = self._unwanted.popleft()
            if number in self._opened:
                self._opened.discard(number)
                message = {"do": "close", "program": number}
                self._asked(self._child, message, self._start_s, self._start_s)
        return self._child

    def _opened_in(self, child: "_Child", number: int) -> None:
        if number not in self._opened:
            message = {"do": "open", "program": number, "parts": self._parts[number]}
            self._asked(child, message, self._open_s, self._open_s)
            self._opened.add(number)

    def _asked(self, child: "_Child", message: Any, left_s: float, deadline_s: float) -> Any:
        until = time.monotonic() + left_s
        with self._watched(child, deadline_s):
            child.wire.send(message, until)
            return self._checked(child.wire.receive(until))

    @contextmanager
    def _watched(self, child: "_Child", deadline_s: float) -> Iterator[None]:
        """Kill the child after anything but an error that the engine raised on purpose."""
        try:
            yield
        except tuple(_TYPED.values()):
            raise
        except TimeoutError:
            self._lose()
            raise RunTimeout(self.name, deadline_s) from None
        except BrokenWire as error:
            self._lose()
            raise RunFailed(f"target {self.name!r} broke off: {error}{child.tail.text()}") from None
        except RunFailed as error:
            self._lose()
            raise RunFailed(f"{error}{child.tail.text()}") from None
        except BaseException:
            self._lose()
            raise

    def _checked(self, reply: Any) -> Any:
        if not isinstance(reply, dict) or not reply.keys() & {"done", "ready", "error"}:
            raise BrokenWire("the child sent no reply")
        error = reply.get("error")
        if error is None:
            return reply
        if error["kind"] in _TYPED and error["field"] is not None:
            raise _TYPED[error["kind"]](error["field"], error["problem"], error["nearest"])
        raise RunFailed(f"target {self.name!r} failed: {error['kind']}: {error['text']}")

    def _lose(self) -> None:
        """End a child that broke off, so that the next one counts as a restart."""
        self._lost = True
        self._stop()

    def _stop(self) -> None:
        child, self._child = self._child, None
        self._opened.clear()
        if child is not None:
            child.stop()


_restarts: Counter[str] = Counter()
_restarts_lock = threading.Lock()


def restarts() -> Mapping[str, int]:
    """Return target → children of this process that took the place of one that broke off."""
    with _restarts_lock:
        return dict(_restarts)


def _count_restart(target: str) -> None:
    with _restarts_lock:
        _restarts[target] += 1


class _Child:
    """The process, its connection and the end of what it printed."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], shares_memory: bool
    ) -> None:
        segments = None
        if shares_memory:
            sweep()
            segments = Segments()
            environment = {**environment, VARIABLE: segments.prefix}
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs.fileno()]
            if segments is not None and segments.lock is not None:
                inherited.append(segments.lock)
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.PIPE,  # kept open: its end tells the child that we are gone
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=inherited,
                    start_new_session=True,
                    env=environment,
                )
            except OSError:
                ours.close()
                raise
            finally:
                if segments is not None:
                    segments.handed_over()
        self.pid = self._process.pid
        self.wire = Wire(ours, partial(_running, self.pid))
        assert self._process.stdout is not None
        self.tail = _Tail(self._process.stdout)
        # Also at the interpreter's exit and if the host is dropped without `close`.
        self._end = weakref.finalize(self, _end, self._process, self.wire, self.tail, segments)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._end.alive and _running(self.pid)

    def stop(self) -> None:
        """End the process and its children; calling it twice does nothing."""
        self._end()


def _running(pid: int) -> bool:
    """Whether a child runs, without reaping it: a dead one keeps its group's number from reuse."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    except ChildProcessError:
        return False


def _end(
    process: "subprocess.Popen[bytes]", wire: Wire, tail: "_Tail", segments: Segments | None
) -> None:
    """Kill the process group, gently first, reap the child and remove what it left behind."""
    _signal_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + _GRACE_S
    while _running(process.pid) and time.monotonic() < until:
        time.sleep(0.01)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    wire.close()
    assert process.stdin is not None
    process.stdin.close()
    tail.close()
    if segments is not None:
        segments.remove()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


class _Tail:
    """Reads what a child prints and keeps the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = bytearray()
        self._stream = stream
        self._thread = threading.Thread(target=_keep, args=(stream, self._kept), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return the last lines as a part of an error message, empty if there are none."""
        lines = bytes(self._kept).decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        return "; it last printed:\n" + "\n".join(lines) if lines else ""

    def close(self) -> None:
        """Stop reading, once nothing is left to read."""
        self._thread.join(_GRACE_S)
        if not self._thread.is_alive():
            self._stream.close()


def _keep(stream: IO[bytes], kept: bytearray) -> None:
    while chunk := os.read(stream.fileno(), 65_536):
        kept += chunk
        del kept[:-_TAIL_BYTES]
