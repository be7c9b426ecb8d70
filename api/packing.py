"""Values with arrays in them as bytes, compressed. Reading them runs no code."""

import zlib
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")

_LEVEL = 1  # spikes are nearly all zeros: ten times as fast as the default, and nearly as small


class Unreadable(ValueError):
    """The bytes are nothing of this format."""


class _Array(NamedTuple):
    """An array: its type, as NumPy writes it, its shape, and its content in C order."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes


class Packing(Generic[_T]):
    """Values of one type as bytes, and back.

    Args:
        kind: a dataclass of plain values and arrays of numbers.
    """

    def __init__(self, kind: type[_T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind, dec_hook=_made)

    def pack(self, value: _T, max_bytes: int | None = None) -> bytes | None:
        """Return a value as bytes, None if it takes more than `max_bytes` before compression."""
        content = _encoder.encode(value)
        if max_bytes is not None and len(content) > max_bytes:
            return None
        return zlib.compress(content, _LEVEL)

    def unpack(self, content: bytes, max_bytes: int) -> _T:
        """Return the value that was packed; its arrays are read-only.

        Raises:
            Unreadable: if that cannot be, or it takes more than `max_bytes`.
        """
        inflater = zlib.decompressobj()
        try:
            packed = inflater.decompress(content, max_bytes)
            if not inflater.eof:
                raise Unreadable("it is cut off, or too large")
            return self._decoder.decode(packed)
        except (zlib.error, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Unreadable(str(error)) from None


def _told(value: Any) -> object:
    if isinstance(value, np.ndarray):
        return _Array(value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be packed")


def _made(kind: type, value: Any) -> NDArray[np.generic]:
    array = msgspec.convert(value, _Array)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise ValueError(f"{kind} is no array of numbers")
    return np.frombuffer(array.content, dtype).reshape(array.shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_told)
