"""Tensors of the Open Inference Protocol, with its binary extension.

A binary body is a JSON header of `Inference-Header-Content-Length` bytes, then the raw
little-endian, row-major numbers of those tensors that name a `binary_data_size`, in order.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.errors import MalformedBody
from api.requests import ABSENT, TensorInput, decode
from fusion.errors import InvalidInput

HEADER_LENGTH = "inference-header-content-length"
BINARY_SIZE = "binary_data_size"

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        **{f"INT{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
        **{f"UINT{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
        **{f"FP{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    }
)
"""Protocol datatype → NumPy type."""

Tensor = NDArray[Any]

# Numbers nested at most four deep; a closed type, because NumPy would widen all to a string.
_Number = bool | int | float
_Nested = list[_Number | list[_Number | list[_Number | list[_Number]]]]


def split_body(body: bytes, header_length: str) -> tuple[memoryview, memoryview]:
    """Return the JSON header and the binary tail of a body.

    Raises:
        MalformedBody: if the length is no number or beyond the body.
    """
    field = "Inference-Header-Content-Length"
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 19):
        raise MalformedBody(field, f"{header_length[:32]!r} is not a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise MalformedBody(field, f"is {length}, but the body has {len(body)} bytes")
    view = memoryview(body)
    return view[:length], view[length:]


def read_tensors(inputs: Sequence[TensorInput], tail: memoryview) -> dict[str, Tensor]:
    """Return tensor name → array of the tensor's shape.

    Args:
        inputs: the tensors as the header lists them.
        tail: the binary part of the body.

    Raises:
        MalformedBody: if sizes do not add up to the binary part.
        InvalidInput: for an unknown datatype, or `data` that is not of the datatype and shape.
    """
    tensors: dict[str, Tensor] = {}
    used = 0
    for index, one in enumerate(inputs):
        if one.name in tensors:
            raise InvalidInput(f"inputs[{index}].name", f"{one.name!r} is given twice")
        if one.datatype not in DTYPES:
            problem = f"{one.datatype!r} is unknown for {one.name}"
            raise InvalidInput(f"inputs[{index}].datatype", problem, ", ".join(DTYPES))
        size = one.parameters.get(BINARY_SIZE)
        if size is None:
            tensors[one.name] = _from_json(one, f"inputs[{index}]")
        else:
            tensor = tensors[one.name] = _from_bytes(one, size, tail, used, index)
            used += tensor.nbytes
    if used < len(tail):
        problem = f"{len(tail) - used} bytes are left behind the last tensor"
        raise MalformedBody("body", problem)
    return tensors


def _from_bytes(one: TensorInput, size: object, tail: memoryview, at: int, index: int) -> Tensor:
    dtype, shape, field = DTYPES[one.datatype], one.shape, "inputs[%d]"
    count = shape[0] if len(shape) == 1 else math.prod(shape)
    needed = count * dtype.itemsize
    if one.data is not ABSENT and bytes(one.data):
        raise MalformedBody(field % index, f"{one.name} has both data and {BINARY_SIZE}")
    if type(size) is not int or size != needed:
        raise MalformedBody(
            f"{field % index}.parameters.{BINARY_SIZE}",
            f"is {size}, but {one.datatype} {shape} of {one.name} takes {needed} bytes",
        )
    left = len(tail) - at
    if needed > left:
        problem = f"{one.name} takes {needed} bytes, only {left} are left"
        raise MalformedBody(field % index, problem)
    # NumPy refuses to look behind the end, where there is nothing to be seen.
    flat = np.frombuffer(tail, dtype, count, at) if needed else np.empty(0, dtype)
    if not flat.flags.aligned:  # once, not again for every use
        flat = flat.copy()
    return flat if len(shape) == 1 else _shaped(flat, one, field % index)


def _from_json(one: TensorInput, field: str) -> Tensor:
    if not bytes(one.data):
        raise MalformedBody(field, f"{one.name} has neither data nor {BINARY_SIZE}")
    field = f"{field}.data"
    dtype = DTYPES[one.datatype]
    try:
        array = np.asarray(decode(one.data, _Nested, field))
    except ValueError as error:
        if isinstance(error, InvalidInput | MalformedBody):
            raise
        raise InvalidInput(field, f"{one.name} is not rectangular") from None
    if array.size != math.prod(one.shape):
        problem = f"{one.name} has {array.size} values, its shape {one.shape} another number"
        raise InvalidInput(field, problem)
    if array.size:
        _check_values(array, dtype, one, field)
    return _shaped(array.astype(dtype), one, field)


def _shaped(array: Tensor, one: TensorInput, field: str) -> Tensor:
    try:
        return array.reshape(one.shape)
    except ValueError:  # more dimensions, or larger ones around a zero, than NumPy has
        raise InvalidInput(field, f"the shape of {one.name} is beyond reason") from None


def _check_values(array: Tensor, dtype: np.dtype[Any], one: TensorInput, field: str) -> None:
    kinds = {"b": "b", "f": "iuf"}.get(dtype.kind, "iu")
    if array.dtype.kind not in kinds:
        raise InvalidInput(field, f"{one.name} must hold {one.datatype}, got {array.dtype}")
    if dtype.kind == "b":
        return
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    least, largest = array.min(), array.max()
    if least < limits.min or largest > limits.max:
        worst = least if least < limits.min else largest
        raise InvalidInput(field, f"{worst} of {one.name} does not fit {one.datatype}")
