"""Rasters as the lists of what is active in each step."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class SparseRaster(Struct, frozen=True):
    """The activity of an Input node, as every engine takes it; `numpy.asarray` makes it dense.

    Row r = sample · steps + step lists its active channels, ascending, each once, in
    `channel[start[r]:start[r + 1]]`.

    Attributes:
        shape: of the dense raster, [batch, steps, *shape of the node].
        start: int64 [batch · steps + 1].
        channel: int32 [active], flat in C order of the node's shape.
        value: float [active], finite, or None where all activity is 1.
    """

    shape: tuple[int, ...]
    start: NDArray[np.int64]
    channel: NDArray[np.int32]
    value: NDArray[np.floating] | None = None

    @property
    def node_shape(self) -> tuple[int, ...]:
        """Shape of the node."""
        return self.shape[2:]

    def __array__(
        self, dtype: np.dtype[np.generic] | None = None, copy: bool | None = None
    ) -> NDArray[np.generic]:
        if copy is False:
            raise ValueError("a SparseRaster becomes dense in a new array only")
        size = math.prod(self.node_shape)
        kind = np.float32 if self.value is None else self.value.dtype
        dense = np.zeros(math.prod(self.shape), kind)
        row = np.repeat(np.arange(self.start.size - 1), np.diff(self.start))
        dense[row * size + self.channel] = 1 if self.value is None else self.value
        return dense.reshape(self.shape).astype(dtype or kind, copy=False)


def sparse(dense: NDArray[np.floating], extra_steps: int = 0) -> SparseRaster:
    """Return a raster [batch, steps, *shape] of finite numbers, with silent steps behind it."""
    batch, steps, *shape = dense.shape
    rows = dense.reshape(batch, steps, -1)
    sample, step, channel = np.nonzero(rows)
    active = np.zeros((batch, steps + extra_steps), np.int64)
    active[:, :steps] = np.count_nonzero(rows, axis=2)
    start = np.concatenate((np.zeros(1, np.int64), np.cumsum(active)))
    value = rows[sample, step, channel]
    return SparseRaster(
        (batch, steps + extra_steps, *shape),
        start,
        channel.astype(np.int32),
        None if (value == 1).all() else value,
    )


def stacked(rasters: Sequence[SparseRaster]) -> SparseRaster:
    """Return rasters of one node and of equal steps as one, sample behind sample."""
    first = rasters[0]
    if len(rasters) == 1:
        return first
    ends = np.cumsum([raster.start[-1] for raster in rasters])
    starts = [first.start, *(r.start[1:] + end for r, end in zip(rasters[1:], ends, strict=False))]
    values = None
    if any(raster.value is not None for raster in rasters):
        values = np.concatenate([_values(raster) for raster in rasters])
    return SparseRaster(
        (sum(raster.shape[0] for raster in rasters), *first.shape[1:]),
        np.concatenate(starts),
        np.concatenate([raster.channel for raster in rasters]),
        values,
    )


def one_lasting(raster: SparseRaster, steps: int) -> SparseRaster:
    """Return one sample cut to a number of steps, or with silence behind it."""
    kept = min(steps, raster.shape[1])
    start = np.concatenate(
        (raster.start[: kept + 1], np.full(steps - kept, raster.start[kept], np.int64))
    )
    used = int(start[-1])
    value = None if raster.value is None else raster.value[:used]
    return SparseRaster((1, steps, *raster.node_shape), start, raster.channel[:used], value)


def _values(raster: SparseRaster) -> NDArray[np.floating]:
    return np.ones(raster.channel.size, np.float32) if raster.value is None else raster.value
