"""How a service and its child process speak: trees of plain values and arrays over a socket.

A message is 4 bytes, the length of its header, most significant first; the header; then the bytes
of its arrays, one after the other. The header is MessagePack of `{"tree": …, "arrays": [[dtype,
shape], …]}`, where `{"~array": n}` in the tree stands for array n. Nothing on the wire is code.

Only the standard library, NumPy and msgspec are needed, so that a child can run in an environment
of its own.
"""

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_ARRAY = "~array"
_MAX_HEADER = 1 << 26
_POLL_S = 0.2
_LONGEST_S = 1e6  # what a socket takes as a timeout


class BrokenWire(ConnectionError):
    """The other side is gone or sent something that is no message."""


class Wire:
    """One end of the connection.

    Args:
        connection: a connected stream socket, closed by `close`.
        alive: says whether the other side is still there. Asked while waiting, because its own
            children may hold the connection open after its end.
    """

    def __init__(self, connection: socket.socket, alive: Callable[[], bool] = lambda: True) -> None:
        self._socket = connection
        self._alive = alive

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, tree: Any, until: float | None = None) -> None:
        """Send a tree of dicts, lists, text, numbers, None and arrays.

        Args:
            tree: what to send; the arrays hold booleans, integers or floats.
            until: `time.monotonic()` after which to give up.

        Raises:
            TimeoutError: if the time passed.
            BrokenWire: if the other side is gone.
            TypeError: if the tree holds anything else.
        """
        arrays: list[NDArray[Any]] = []
        body = msgspec.msgpack.encode(_without_arrays(tree, arrays))
        header = msgspec.msgpack.encode(
            {
                "tree": msgspec.Raw(body),
                "arrays": [[array.dtype.str, array.shape] for array in arrays],
            }
        )
        self._send(struct.pack(">I", len(header)) + header, until)
        for array in arrays:
            self._send(_bytes(np.ascontiguousarray(array)), until)

    def receive(self, until: float | None = None) -> Any:
        """Return the next message's tree; its arrays may be written to.

        Raises:
            TimeoutError: if `until` passed.
            BrokenWire: if the other side is gone or sends something else.
        """
        (length,) = struct.unpack(">I", self._read(4, until))
        if length > _MAX_HEADER:
            raise BrokenWire(f"a header of {length} bytes")
        try:
            header = msgspec.msgpack.decode(self._read(length, until))
            arrays = [_empty(*entry) for entry in header["arrays"]]
            tree = _with_arrays(header["tree"], arrays)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, MemoryError) as error:
            raise BrokenWire(f"no message: {error}") from error
        for array in arrays:
            self._read_into(_bytes(array), until)
        return tree

    def _send(self, data: bytes | memoryview, until: float | None) -> None:
        try:
            left = _left(until)
            self._socket.settimeout(None if left is None else min(left, _LONGEST_S))
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise BrokenWire(str(error)) from error

    def _read(self, size: int, until: float | None) -> bytearray:
        data = bytearray(size)
        self._read_into(memoryview(data), until)
        return data

    def _read_into(self, view: memoryview, until: float | None) -> None:
        while view:
            alive = self._alive()
            left = _left(until)
            self._socket.settimeout(None if left is None else min(left, _POLL_S))
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:
                if not alive:
                    raise BrokenWire("the other side has ended") from None
                continue
            except OSError as error:
                raise BrokenWire(str(error)) from error
            if count == 0:
                raise BrokenWire("the other side has closed the connection")
            view = view[count:]


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _left(until: float | None) -> float | None:
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _without_arrays(tree: Any, arrays: list[NDArray[Any]]) -> Any:
    """Return the tree with a reference in place of every array, which is appended to `arrays`."""
    if isinstance(tree, np.ndarray):
        if tree.dtype.kind not in "biuf":
            raise TypeError(f"an array of {tree.dtype} cannot be sent")
        arrays.append(tree)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(tree, dict):
        return {key: _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_arrays(value, arrays) for value in tree]
    return tree


def _with_arrays(tree: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {_ARRAY}:
            if tree[_ARRAY] not in range(len(arrays)):
                raise ValueError(f"there is no array {tree[_ARRAY]!r}")
            return arrays[tree[_ARRAY]]
        return {key: _with_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, arrays) for value in tree]
    return tree


def _empty(dtype: str, shape: list[int]) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "biuf":
        raise TypeError(f"an array of {dtype} is not expected")
    return np.empty(shape, kind)
