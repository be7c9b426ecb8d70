"""Replies as typed values. Fields that a newer service adds are left out."""

from typing import Any, TypeVar, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from snn_fusion.client.errors import UnreadableReply

_T = TypeVar("_T")


def decode(content: bytes, kind: type[_T]) -> _T:
    """Return JSON content as a typed value, or as it is if bytes are asked for.

    Raises:
        UnreadableReply: if it is not what a service of this interface says.
    """
    if kind is bytes:
        return cast("_T", content)
    try:
        return msgspec.json.decode(content, type=kind, dec_hook=_array)
    except (msgspec.DecodeError, ValueError) as error:
        raise UnreadableReply(f"the reply is not a {kind.__name__}: {error}") from None


def _array(kind: Any, values: object) -> NDArray[Any]:
    """Return a list as the array that a field is annotated with."""
    _, dtype = get_args(kind)
    return np.asarray(values, get_args(dtype)[0])
