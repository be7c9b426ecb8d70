"""Files of strangers, read in a child process that a hostile one may crash, fill or stall.

Every file gets a fresh child: nothing of it survives, and the limits are its own. What the child
sends is bounded and typed, because a library that was led astray may be sending it.
"""

import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import numpy as np

from fusion.containers import (
    GRAPH,
    Begin,
    Content,
    Done,
    Numbers,
    Part,
    Refused,
    Texts,
    parts,
)
from fusion.errors import InvalidModel
from fusion.limits import DEFAULT_LIMITS, ModelLimits

Kind = Literal["hdf5", "zip"]
Tree = dict[str, Any]
"""Name → a `Tree`, a number or array of numbers, a text or object array of texts, or a file."""

_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "LANG")
_PART_OVERHEAD = 1024
_HEAD = struct.Struct(">I")


def read_file(
    kind: Kind, data: bytes, limits: ModelLimits = DEFAULT_LIMITS, *, in_child: bool = True
) -> Tree:
    """Return what a file holds, read in a child process.

    Args:
        kind: of a zip, only the model's files are read.
        data: the file.
        limits: how much of it is read.
        in_child: False reads it here, unprotected: to look for what the child would hide.

    Raises:
        InvalidModel: if it cannot be read within the limits, naming the node where there is one.
    """
    if len(data) > limits.file_bytes:
        raise _refusal(kind, (), f"is {len(data)} bytes long", f"at most {limits.file_bytes}")
    if not in_child:
        return _Assembly(kind).of(parts(kind, data, limits))
    assembly = _Assembly(kind)
    try:
        with _Child(kind, limits) as child:
            try:
                return assembly.of(child.parts(data))
            except EOFError:
                raise _refusal(kind, assembly.place, child.outcome()) from None
    except InvalidModel:
        raise
    except OSError as error:
        raise _refusal(kind, (), f"cannot be read, for no process starts: {error}") from None
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        raise _refusal(kind, assembly.place, "makes the reader send what is no part") from None


class _Assembly:
    """Puts the parts of a file together; `place` is where the last one belongs."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._root: Tree = {}
        self.place: tuple[str, ...] = ()

    def of(self, stream: Iterator[Part]) -> Tree:
        """Return what the parts make.

        Raises:
            InvalidModel: as the last part says.
            EOFError: if no part is the last one.
        """
        for part in stream:
            match part:
                case Begin(path, group):
                    self.place = path
                    if group:
                        self._put({})
                case Numbers(dtype, shape, data):
                    self._put(np.frombuffer(data, dtype).reshape(shape).copy()[()])
                case Texts(shape, values):
                    self._put(_texts(shape, values))
                case Content(data):
                    self._put(bytes(data))
                case Refused(field, problem, nearest):
                    if field is not None:
                        raise InvalidModel(field, problem, nearest)
                    raise _refusal(self._kind, self.place, problem, nearest)
                case Done():
                    return self._root
        raise EOFError

    def _put(self, value: Any) -> None:
        into = self._root
        for name in self.place[:-1]:
            into = into[name]
        into[self.place[-1]] = value


def _texts(shape: tuple[int, ...], values: list[str]) -> Any:
    if not shape:
        return values[0]
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _refusal(
    kind: Kind, path: tuple[str, ...], problem: str, nearest: str | None = None
) -> InvalidModel:
    """Return the error that names a place in a file as the model's authors do."""
    if kind == "hdf5":
        return InvalidModel(field_of(path), problem, nearest)
    return InvalidModel(path[-1] if path else "the zip", problem, nearest)


def field_of(path: tuple[str, ...]) -> str:
    """Return how errors name a place in a `.nir` file: `nodes.outer.inner.tau`, `edges`."""
    rest = list(path[1:])
    named = []
    while len(rest) > 1 and rest[0] == "nodes":
        named.append(rest[1])
        rest = rest[2:]
    return ".".join([*(["nodes"] if named else []), *named, *rest]) or GRAPH


class _Child:
    """One child process, and the clock that ends it."""

    def __init__(self, kind: str, limits: ModelLimits) -> None:
        self._limits = limits
        self._late = False
        self._process = subprocess.Popen(
            # -P: a folder of models that somebody works in is no place to import from.
            [sys.executable, "-P", "-m", "fusion.reader_child", kind,
             msgspec.json.encode(limits).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )  # fmt: skip
        self._clock = threading.Timer(limits.wall_s, self._too_late)
        self._clock.daemon = True

    def __enter__(self) -> "_Child":
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.cancel()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what it never took is flushed to nobody
                pipe.close()
        self._process.wait()

    def parts(self, data: bytes) -> Iterator[Part]:
        """Give the child the file and yield what it sends, until it ends."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(OSError):  # if it has ended already, what it sent says why
            stdin.write(data)
            stdin.close()
        limits = self._limits
        left = limits.file_bytes + limits.content_bytes + limits.objects * _PART_OVERHEAD
        decoder = msgspec.msgpack.Decoder(Part)
        while (part := _frame(stdout, left)) is not None:
            left -= len(part)
            yield decoder.decode(part)

    def outcome(self) -> str:
        """Return why the child ended."""
        self._process.wait(self._limits.wall_s)
        code = self._process.returncode
        if self._late:
            return f"takes more than {self._limits.wall_s:g} s to read"
        if code == -signal.SIGXCPU:
            return f"takes more than {self._limits.cpu_s} s of computing to read"
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"breaks the reader ({ended})"

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()


def _frame(stream: IO[bytes], most: int) -> bytes | None:
    """Return the next part as it was sent; None at the end, or where one would be too long."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    if length > most:
        return None
    part = stream.read(length)
    return part if len(part) == length else None


def _environment() -> Mapping[str, str]:
    """Return what the interpreter needs to start as this one did, and no secrets."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    here = str(Path(__file__).parent.parent)
    path = os.pathsep.join([here, *filter(None, [passed_on.get("PYTHONPATH")])])
    # One thread: each takes address space. HDF5 is to look for no filters in the file system.
    return passed_on | {
        "PYTHONPATH": path,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
    }
