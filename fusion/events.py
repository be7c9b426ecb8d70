"""Sensor events on one integer clock, and their binning into time steps."""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from fusion.errors import InvalidInput
from fusion.machine_code import machine_code

_Number = TypeVar("_Number", bound=np.generic)
Binning = Literal["count", "binary"]

_INT32, _INT64 = _INTEGERS = np.dtype(np.int32), np.dtype(np.int64)

LAST_TIME_US = 2**53
"""Largest event time: 285 years in microseconds, exact in a JSON number and safe to scale."""


class EventStream(Struct, frozen=True):
    """Events of one sensor, sorted by time and checked once, by `EventStream.checked`.

    Attributes:
        t_us: int64 [n], microseconds since the start of the recording, ascending.
        channel: int32 [n], index into the sensor's shape in C order.
        value: float32 [n], or None where every event counts as 1.
        size: number of channels.
    """

    t_us: NDArray[np.int64]
    channel: NDArray[np.int32]
    value: NDArray[np.float32] | None
    size: int

    def __len__(self) -> int:
        return int(self.t_us.size)

    @classmethod
    def empty(cls, size: int) -> "EventStream":
        """Return a stream of `size` channels on which nothing happened."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int32), None, size)

    @classmethod
    def checked(
        cls,
        t_us: ArrayLike,
        channel: ArrayLike,
        value: ArrayLike | None = None,
        *,
        size: int,
        field: str = "events",
    ) -> "EventStream":
        """Return the events as a stream after checking them.

        Args:
            t_us: whole numbers [n], microseconds, ascending, from 0 to 2**53.
            channel: whole numbers [n], from 0 to size - 1.
            value: finite numbers [n], or None.
            size: number of channels of the sensor.
            field: what to call this sensor's events in an error.

        Raises:
            InvalidInput: naming the field and the first offending event.
        """
        ordered = _ordered(t_us, channel, size) if value is None else None
        if ordered is not None:
            return cls(*ordered, None, size)
        times = _whole_numbers(t_us, f"{field}.times_us").astype(np.int64, copy=False)
        channels = _whole_numbers(channel, f"{field}.channels")
        _same_length(times, channels, field, "channels")
        _check_times(times, f"{field}.times_us")
        _check_channels(channels, size, f"{field}.channels")
        values = None if value is None else _finite(value, times, field)
        return cls(times, channels.astype(np.int32, copy=False), values, size)


def plain(array: NDArray[_Number]) -> NDArray[_Number]:
    """Return an array as machine code takes it: aligned, its numbers side by side."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else array.copy()


def _ordered(
    times: ArrayLike, channels: ArrayLike, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
    """Return events in which machine code finds nothing wrong; what is, NumPy says."""
    code = machine_code()
    if code is None or not (isinstance(times, np.ndarray) and isinstance(channels, np.ndarray)):
        return None
    if (
        times.dtype != _INT64
        or channels.dtype not in _INTEGERS
        or not times.ndim == channels.ndim == 1
        or times.size != channels.size
    ):
        return None
    times, channels = plain(times), plain(channels)
    if not code.are_in_order(times, channels, size, LAST_TIME_US):
        return None
    return times, channels.astype(_INT32, copy=False)


def _whole_numbers(values: ArrayLike, field: str) -> NDArray[np.signedinteger]:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, f"not a flat list of numbers: {error}") from None
    if array.ndim != 1:
        raise InvalidInput(field, f"must be a flat list, got shape {list(array.shape)}")
    if array.dtype.kind == "i":
        return array
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind == "u":
        if int(array.max()) > np.iinfo(np.int64).max:
            index = int(array.argmax())
            raise InvalidInput(f"{field}[{index}]", f"{array[index]} does not fit 64-bit integers")
        return array.astype(np.int64)
    nearest = "send whole microseconds" if field.endswith("times_us") else None
    raise InvalidInput(field, f"must hold 64-bit integers, got {array.dtype}", nearest)


def _same_length(
    times: NDArray[np.int64], other: Sequence[object] | NDArray[np.generic], field: str, name: str
) -> None:
    if len(times) != len(other):
        raise InvalidInput(
            field,
            f"times_us has {len(times)} entries but {name} has {len(other)}",
            "one entry per event in each",
        )


def _check_times(times: NDArray[np.int64], field: str) -> None:
    # In ascending times the first is the least and the last the largest.
    if times.size == 0 or not (
        times[0] < 0 or times[-1] > LAST_TIME_US or (times[1:] < times[:-1]).any()
    ):
        return
    if times.min() < 0:
        index = int(np.flatnonzero(times < 0)[0])
        raise InvalidInput(
            f"{field}[{index}]",
            f"{times[index]} is negative",
            "count microseconds from the start of the recording",
        )
    if int(times.max()) > LAST_TIME_US:
        index = int(np.flatnonzero(times > LAST_TIME_US)[0])
        raise InvalidInput(
            f"{field}[{index}]",
            f"{times[index]} is beyond 2**53",
            "count microseconds from the start of the recording",
        )
    index = int(np.flatnonzero(times[1:] < times[:-1])[0]) + 1
    raise InvalidInput(
        f"{field}[{index}]",
        f"{times[index]} comes after {times[index - 1]}: times must not decrease",
        "sort the events by time, channels and values along with them",
    )


def _check_channels(channels: NDArray[np.signedinteger], size: int, field: str) -> None:
    if channels.size == 0 or (channels.min() >= 0 and channels.max() < size):
        return
    index = int(np.flatnonzero((channels < 0) | (channels >= size))[0])
    raise InvalidInput(
        f"{field}[{index}]", f"{channels[index]} is out of range", f"0 to {size - 1}"
    )


def _finite(value: ArrayLike, times: NDArray[np.int64], field: str) -> NDArray[np.float32]:
    values = finite_numbers(value, f"{field}.values").astype(np.float32)
    _same_length(times, values, field, "values")
    return values


def finite_numbers(value: ArrayLike, field: str) -> NDArray[np.float64]:
    """Return a flat float64 array of finite numbers that also fit float32.

    Raises:
        InvalidInput: naming the first entry that is not a finite number.
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, f"not a flat list of numbers: {error}") from None
    if array.ndim != 1:
        raise InvalidInput(field, f"must be a flat list, got shape {list(array.shape)}")
    if array.size and array.dtype.kind not in "iuf":
        raise InvalidInput(field, f"must hold numbers, got {array.dtype}")
    numbers = array.astype(np.float64)
    bad = np.flatnonzero(~(np.abs(numbers) <= np.finfo(np.float32).max))
    if bad.size:
        index = int(bad[0])
        raise InvalidInput(f"{field}[{index}]", f"{numbers[index]} is not a finite 32-bit number")
    return numbers


def dt_ns(dt_s: float, field: str = "dt_s") -> int:
    """Return a time step in whole nanoseconds.

    Raises:
        InvalidInput: if it is not positive or not a whole number of nanoseconds.
    """
    nanoseconds = round(dt_s * 1e9) if math.isfinite(dt_s * 1e9) else 0
    if nanoseconds < 1 or abs(dt_s * 1e9 - nanoseconds) > 1e-6 * nanoseconds:
        raise InvalidInput(field, f"{dt_s} s is not a whole, positive number of nanoseconds")
    return nanoseconds


def bin_events(
    stream: EventStream, dt_s: float, steps: int, binning: Binning = "count"
) -> tuple[NDArray[np.float32], int]:
    """Bin events into time steps: bin k covers [k·dt, (k+1)·dt).

    Args:
        stream: the events.
        dt_s: time step in seconds, a whole number of nanoseconds.
        steps: number of bins.
        binning: `count` sums the events' values in a bin (events without value count 1), `binary`
            gives 1 where at least one event fell.

    Returns:
        float32 [steps, size], and the number of events that lie beyond the last bin.
    """
    step = stream.t_us * 1000 // dt_ns(dt_s)
    inside = step < steps
    flat = step[inside] * stream.size + stream.channel[inside]
    weights = None if stream.value is None or binning == "binary" else stream.value[inside]
    counts = np.bincount(flat, weights=weights, minlength=steps * stream.size)
    if binning == "binary":
        counts = np.minimum(counts, 1)
    with np.errstate(over="ignore"):  # infinity is refused by the engine, which names the line
        raster = counts.astype(np.float32).reshape(steps, stream.size)
    return raster, int(stream.t_us.size - np.count_nonzero(inside))
