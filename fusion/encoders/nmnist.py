"""Reader of N-MNIST recordings: an event camera of 34 by 34 pixels that looked at MNIST digits."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from fusion.events import EventStream

SHAPE = (2, 34, 34)
"""Polarity, y, x. A channel is p*34*34 + y*34 + x."""

EVENT_BYTES = 5


def read_nmnist(path: Path) -> EventStream:
    """Return the events of a `.bin` or `.bs2` file, sorted by time.

    An event is five bytes, most significant first: x, y, then one polarity bit and 23 bits of
    microseconds.

    Raises:
        InvalidInput: naming the file, if it is cut short or an event lies outside the sensor.
        OSError: if the file cannot be read.
    """
    return decode_nmnist(path.read_bytes(), path.name)


def decode_nmnist(content: bytes, name: str = "recording") -> EventStream:
    """Return the events held in the bytes of an N-MNIST file; `name` is used in errors.

    Raises:
        InvalidInput: as `read_nmnist`.
    """
    if len(content) % EVENT_BYTES:
        raise InvalidInput(
            name, f"{len(content)} bytes are not whole events of {EVENT_BYTES} bytes: cut short?"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, EVENT_BYTES).astype(np.int64)
    x, y, polarity = rows[:, 0], rows[:, 1], rows[:, 2] >> 7
    _refuse_outside(x, y, name)
    t_us = (rows[:, 2] & 0x7F) << 16 | rows[:, 3] << 8 | rows[:, 4]
    channel = np.ravel_multi_index((polarity, y, x), SHAPE)
    # The camera's own order is kept among events of one microsecond.
    order = np.argsort(t_us, kind="stable")
    size = int(np.prod(SHAPE))
    return EventStream(t_us[order], channel[order].astype(np.int32), None, size)


def _refuse_outside(x: NDArray[np.int64], y: NDArray[np.int64], name: str) -> None:
    bad = np.flatnonzero((x >= SHAPE[2]) | (y >= SHAPE[1]))
    if bad.size:
        first = int(bad[0])
        raise InvalidInput(
            f"{name}: event {first}",
            f"pixel x={x[first]}, y={y[first]} lies outside the {SHAPE[2]} by {SHAPE[1]} sensor",
        )
