"""Fused answers as bytes: their arrays by type, shape and content. Reading them runs no code."""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from backends.fuse import FusedAnswer

MAX_BYTES = 4 * 2**20
"""An answer of more bytes, before they are compressed, is not kept."""
_LEVEL = 1  # spikes are nearly all zeros: ten times as fast as the default, and nearly as small


class Unreadable(ValueError):
    """The bytes are no answer of this format."""


class _Array(NamedTuple):
    """An array: its type, as NumPy writes it, its shape, and its content in C order."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes


def pack(answer: FusedAnswer) -> bytes | None:
    """Return an answer as bytes, None if it is too large to be kept."""
    if sum(values.nbytes for values in answer.recorded.values()) > MAX_BYTES:
        return None
    content = _encoder.encode(answer)
    return zlib.compress(content, _LEVEL) if len(content) <= MAX_BYTES else None


def unpack(content: bytes) -> FusedAnswer:
    """Return the answer that was packed; its arrays are read-only.

    Raises:
        Unreadable: if that cannot be.
    """
    inflater = zlib.decompressobj()
    try:
        packed = inflater.decompress(content, MAX_BYTES)
        if not inflater.eof:
            raise Unreadable("the answer is cut off, or too large")
        return _decoder.decode(packed)
    except (zlib.error, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Unreadable(str(error)) from None


def _told(value: Any) -> object:
    if isinstance(value, np.ndarray):
        return _Array(value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} is no part of an answer")


def _made(kind: type, value: Any) -> NDArray[np.generic]:
    array = msgspec.convert(value, _Array)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise ValueError(f"{kind} is no array of numbers")
    return np.frombuffer(array.content, dtype).reshape(array.shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_told)
_decoder = msgspec.msgpack.Decoder(FusedAnswer, dec_hook=_made)
