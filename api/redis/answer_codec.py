"""Fused answers as they are kept in Redis."""

from api.packing import Packing
from backends.fuse import FusedAnswer

MAX_BYTES = 4 * 2**20
"""An answer of more bytes, before they are compressed, is not kept."""

_packing = Packing(FusedAnswer)


def pack(answer: FusedAnswer) -> bytes | None:
    """Return an answer as bytes, None if it is too large to be kept."""
    if sum(values.nbytes for values in answer.recorded.values()) > MAX_BYTES:
        return None
    return _packing.pack(answer, MAX_BYTES)


def unpack(content: bytes) -> FusedAnswer:
    """Return the answer that was packed; its arrays are read-only.

    Raises:
        Unreadable: if that cannot be.
    """
    return _packing.unpack(content, MAX_BYTES)
