"""Events binned into time steps, as the lists of what is active in each step."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fusion.events import Binning, EventStream, bin_events, dt_ns, plain
from fusion.machine_code import ROOM, MachineCode, machine_code
from fusion.sparse_raster import SparseRaster

_NOTHING = np.empty(0, np.float32)


def list_events(
    stream: EventStream,
    dt_s: float,
    steps: int,
    node_shape: tuple[int, ...],
    binning: Binning = "count",
    extra_steps: int = 0,
) -> tuple[SparseRaster, int]:
    """Bin events into time steps: bin k covers [k·dt, (k+1)·dt).

    Args:
        stream: the events.
        dt_s: time step in seconds, a whole number of nanoseconds.
        steps: number of bins.
        node_shape: shape of the Input node, of as many elements as the stream has channels.
        binning: as `bin_events` takes it.
        extra_steps: silent steps behind the bins.

    Returns:
        One sample of `steps` + `extra_steps`, and the number of events beyond the last bin.
    """
    code = machine_code()
    if code is None:
        start, channel, value, outside = _listed(stream, dt_s, steps, binning)
    else:
        start, channel, value, outside = _scanned(code, stream, dt_s, steps, binning)
    if extra_steps:
        start = np.concatenate((start, np.full(extra_steps, start[-1])))
    return SparseRaster((1, steps + extra_steps, *node_shape), start, channel, value), outside


def list_nothing(steps: int, node_shape: tuple[int, ...]) -> SparseRaster:
    """Return one sample in which nothing happens."""
    return SparseRaster(
        (1, steps, *node_shape), np.zeros(steps + 1, np.int64), np.empty(0, np.int32)
    )


def read_integers(text: memoryview) -> NDArray[np.int64] | None:
    """Return the whole numbers of a JSON array that a decoder has accepted.

    None means that it takes the decoder itself: there is a sign, a fraction, something else than a
    number or one of more than 18 digits, or there is no machine code.
    """
    code = machine_code()
    if code is None or text[:1].tobytes() != b"[":
        return None
    content = np.frombuffer(text, np.uint8, offset=1)
    out = np.empty(content.size // 2 + 1, np.int64)
    count = code.scan_integers(content, out)
    return None if count < 0 else out[:count]


_Lists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32] | None, int]


def _listed(stream: EventStream, dt_s: float, steps: int, binning: Binning) -> _Lists:
    raster, outside = bin_events(stream, dt_s, steps, binning)
    step, channel = np.nonzero(raster)
    value = raster[step, channel]
    start = np.searchsorted(step, np.arange(steps + 1))
    return start, channel.astype(np.int32), None if (value == 1).all() else value, outside


def _scanned(
    code: MachineCode, stream: EventStream, dt_s: float, steps: int, binning: Binning
) -> _Lists:
    events = stream.t_us.size
    start = np.empty(steps + 1, np.int64)
    channel, value = np.empty(events + ROOM, np.int32), np.empty(events, np.float32)
    values = _NOTHING if stream.value is None else plain(stream.value)
    inside = code.scan_events(
        *(plain(stream.t_us), plain(stream.channel), values, _edges_us(dt_s, steps), stream.size),
        *(binning == "binary", start, channel, value),
    )
    ones, used = inside >= 0, int(start[-1])
    inside = inside if ones else ~inside
    return start, channel[:used], None if ones else value[:used], events - inside


@lru_cache(maxsize=16)
def _edges_us(dt_s: float, steps: int) -> NDArray[np.int64]:
    """Return where bins begin, [steps + 1], in microseconds rounded up: events come at whole ones.

    Beyond 2**63 ns they are beyond every event.
    """
    step_ns = dt_ns(dt_s)
    last = min(steps, (2**63 - 1000) // step_ns)
    edges = np.full(steps + 1, 2**63 - 1, np.int64)
    edges[0] = 0
    if last:
        edges[1 : last + 1] = (np.arange(1, last + 1) * step_ns + 999) // 1000
    edges.flags.writeable = False
    return edges
