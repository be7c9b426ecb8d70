"""The bytes of a reply: tensors as JSON or as raw numbers behind it, compressed if asked for."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from api.framing import BINARY, JSON
from api.job import Reply
from api.tensors import BINARY_SIZE, DTYPES, HEADER_LENGTH
from fusion.errors import InvalidInput

NAMES = {dtype: name for name, dtype in DTYPES.items()}
WORTH_COMPRESSING = 1024
"""Bytes from which on a reply is compressed."""
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One tensor of a reply.

    Attributes:
        name: what it is called.
        values: its numbers, or texts as an array of objects.
        binary: whether it travels behind the JSON.
    """

    name: str
    values: NDArray[Any]
    binary: bool

    @property
    def datatype(self) -> str:
        """The protocol's name of its type."""
        return "BYTES" if self.values.dtype == object else NAMES[self.values.dtype]

    def raw(self) -> bytes:
        """Return its numbers, little-endian and row-major; texts each behind their length."""
        if self.values.dtype != object:
            return self.values.tobytes()
        texts = [str(text).encode() for text in self.values.flat]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)

    def data(self) -> NDArray[Any] | list[str]:
        """Return its numbers for JSON, flat.

        Raises:
            InvalidInput: if one is not finite, which JSON cannot say.
        """
        if self.values.dtype == object:
            return [str(text) for text in self.values.flat]
        if self.values.dtype.kind == "f" and not np.isfinite(self.values).all():
            problem = f"{self.name} holds a number that is not finite, which JSON cannot say"
            raise InvalidInput("outputs", problem, "binary_data")
        return np.ascontiguousarray(self.values).reshape(-1)


def make_reply(
    head: Mapping[str, Any], tensors: Sequence[OutputTensor], accept_encoding: str
) -> Reply:
    """Return the reply that holds these tensors.

    Args:
        head: what stands before `outputs`.
        tensors: in the order in which they are told.
        accept_encoding: the request's header.

    Raises:
        InvalidInput: if a tensor cannot be told as JSON.
    """
    outputs: list[dict[str, Any]] = []
    parts = []
    for one in tensors:
        entry = {"name": one.name, "datatype": one.datatype, "shape": list(one.values.shape)}
        if one.binary:
            parts.append(one.raw())
            outputs.append({**entry, "parameters": {BINARY_SIZE: len(parts[-1])}})
        else:
            outputs.append({**entry, "data": one.data()})
    text = orjson.dumps({**head, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"Content-Type": JSON}
    if any(one.binary for one in tensors):
        headers = {"Content-Type": BINARY, HEADER_LENGTH: str(len(text))}
    return _compressed(b"".join([text, *parts]), headers, accept_encoding)


def _compressed(content: bytes, headers: dict[str, str], accept_encoding: str) -> Reply:
    encoding = accepted(accept_encoding)
    if not encoding or len(content) < WORTH_COMPRESSING:
        return Reply(content, headers)
    deflater = zlib.compressobj(level=1, wbits=_WINDOW_BITS[encoding])
    content = deflater.compress(content) + deflater.flush()
    return Reply(content, {**headers, "Content-Encoding": encoding})


def accepted(accept_encoding: str) -> str:
    """Return `gzip` or `deflate`, whichever an Accept-Encoding header likes better, or nothing.

    See RFC 9110, 12.5.3; a weight that is no number counts as none.
    """
    weights = {}
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = _weight(weight)
    known = {name: weights.get(name, weights.get("*", 0.0)) for name in _WINDOW_BITS}
    best = max(known, key=lambda name: known[name])
    return best if known[best] > 0 else ""


def _weight(text: str) -> float:
    if not text.strip():
        return 1.0
    try:
        return float(text.strip().removeprefix("q="))
    except ValueError:
        return 0.0
