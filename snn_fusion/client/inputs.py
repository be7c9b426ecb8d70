"""What sensors recorded, as a caller has it, and as raw tensors of the service's binary form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one sensor.

    Attributes:
        times_us: whole numbers [n], microseconds since the recording's start, ascending.
        channels: whole numbers [n], index into the sensor's shape in C order.
        values: numbers [n]; by default each event counts as 1.
    """

    times_us: ArrayLike
    channels: ArrayLike
    values: ArrayLike | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """A regularly sampled recording of one sensor.

    Attributes:
        values: numbers [n], at any gain; int16 and float32 travel as they are, others as float64.
        rate_hz: samples per second.
    """

    values: ArrayLike
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The name of a recording that ships with the model."""

    name: str


Recording = Events | Samples | Sample


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request: its entry in the JSON header, and its numbers."""

    entry: Mapping[str, Any]
    raw: bytes


def tensors(sensor: str, recording: Events | Samples) -> list[Tensor]:
    """Return a recording as tensors.

    Raises:
        ValueError: naming the sensor and the array that is not what it has to be.
    """
    if isinstance(recording, Samples):
        values = _flat(f"{sensor}.values", recording.values)
        kind = values.dtype.newbyteorder("=")
        kept = kind if kind in (np.dtype(np.int16), np.dtype(np.float32)) else np.dtype(np.float64)
        return [_tensor(f"{sensor}.samples", values, kept, rate_hz=recording.rate_hz)]
    times = _whole(f"{sensor}.times_us", recording.times_us, np.dtype(np.int64))
    channels = _whole(f"{sensor}.channels", recording.channels, np.dtype(np.int32))
    made = [
        _tensor(f"{sensor}.times_us", times, np.dtype(np.int64)),
        _tensor(f"{sensor}.channels", channels, np.dtype(np.int32)),
    ]
    if recording.values is not None:
        values = _flat(f"{sensor}.values", recording.values)
        made.append(_tensor(f"{sensor}.values", values, np.dtype(np.float32)))
    return made


DATATYPES = {
    np.dtype(np.int16): "INT16",
    np.dtype(np.int32): "INT32",
    np.dtype(np.int64): "INT64",
    np.dtype(np.float32): "FP32",
    np.dtype(np.float64): "FP64",
}


def _tensor(name: str, values: NDArray[Any], kind: np.dtype[Any], **parameters: Any) -> Tensor:
    raw = values.astype(kind.newbyteorder("<")).tobytes()
    entry = {
        "name": name,
        "datatype": DATATYPES[kind],
        "shape": [values.size],
        "parameters": {"binary_data_size": len(raw), **parameters},
    }
    return Tensor(entry, raw)


def _flat(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        problem = f"must be a flat array of numbers, got {array.dtype} {list(array.shape)}"
        raise ValueError(f"{name}: {problem}")
    return array


def _whole(name: str, values: ArrayLike, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return whole numbers that fit a type; what they mean is the service's to judge."""
    array = _flat(name, values)
    if array.size == 0:
        return array
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: must hold whole numbers, got {array.dtype}")
    limits = np.iinfo(kind)
    if int(array.min()) < limits.min or int(array.max()) > limits.max:
        raise ValueError(f"{name}: {array.min()} to {array.max()} does not fit {kind}")
    return array
