"""Weighted connections with one defined order of additions.

The input of a postsynaptic neuron is the sum over the *active* presynaptic indices, ascending, one
after the other, in the contract's float type. Engines that keep this order agree bit for bit.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Connection:
    """Synapses sorted by presynaptic, then postsynaptic neuron, at most one a pair.

    Attributes:
        pre: int64 [synapses], presynaptic index, ascending.
        post: int64 [synapses], postsynaptic index, ascending within one presynaptic neuron.
        weight: float64 [synapses], never 0.
        n_pre: number of presynaptic neurons.
        n_post: number of postsynaptic neurons.
    """

    pre: NDArray[np.int64]
    post: NDArray[np.int64]
    weight: NDArray[np.float64]
    n_pre: int
    n_post: int

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float64]) -> "Connection":
        """Return the connection of a weight matrix [n_post, n_pre]."""
        pre, post = np.nonzero(matrix.T)
        return cls(pre, post, matrix.T[pre, post], matrix.shape[1], matrix.shape[0])

    @classmethod
    def from_triplets(
        cls,
        pre: NDArray[np.int64],
        post: NDArray[np.int64],
        weight: NDArray[np.float64],
        n_pre: int,
        n_post: int,
    ) -> "Connection":
        """Return the connection of synapses given in any order."""
        order = np.lexsort((post, pre))
        order = order[weight[order] != 0]
        return cls(pre[order], post[order], weight[order], n_pre, n_post)

    def fan_out(self) -> NDArray[np.int64]:
        """Return the number of synapses [n_pre] of each presynaptic neuron."""
        return np.bincount(self.pre, minlength=self.n_pre)


class Propagator:
    """Sums the weighted activity of presynaptic neurons, in the defined order.

    Adds dense rows where at least a tenth of all pairs is connected, else compressed rows; both
    give the same bits, because adding the zero of an absent synapse changes nothing. Activity that
    has overflowed to infinity takes the compressed rows, for it would turn that zero into NaN.
    """

    def __init__(self, connection: Connection, dtype: np.dtype[np.floating]) -> None:
        self.n_post = connection.n_post
        self.fan_out = connection.fan_out()
        self._dtype = dtype
        pairs = connection.n_pre * connection.n_post
        self._rows: NDArray[np.floating] | None = None
        if connection.weight.size * 10 >= pairs:
            self._rows = np.zeros((connection.n_pre, connection.n_post), dtype)
            self._rows[connection.pre, connection.post] = connection.weight
        self._start = np.concatenate(([0], np.cumsum(self.fan_out)))
        self._post = connection.post
        self._weight = connection.weight.astype(dtype)

    def sums(self, activity: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the input sums [batch, n_post] for presynaptic activity [batch, n_pre]."""
        out = np.zeros((activity.shape[0], self.n_post), self._dtype)
        for sample, row in enumerate(activity):
            active = np.flatnonzero(row)
            if active.size:
                self._sum_into(out[sample], active, row[active])
        return out

    def _sum_into(
        self, out: NDArray[np.floating], active: NDArray[np.int64], value: NDArray[np.floating]
    ) -> None:
        if self._rows is None or not np.all(np.isfinite(value)):
            synapses = _ranges(self._start, active)
            amounts = self._weight[synapses] * np.repeat(value, self.fan_out[active])
            np.add.at(out, self._post[synapses], amounts)
            return
        rows = self._rows[active]
        if np.any(value != 1):
            rows *= value[:, None]
        if self.n_post == 1:
            # NumPy sums a single column pairwise; a running sum keeps the defined order.
            out[0] += np.cumsum(rows[:, 0])[-1]
        else:
            np.add.reduce(rows, axis=0, out=out, initial=0.0)


def _ranges(start: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the concatenation of range(start[c], start[c + 1]) over the chosen c."""
    lengths = start[chosen + 1] - start[chosen]
    offset = np.repeat(start[chosen] - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return offset + np.arange(lengths.sum())


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution or pooling window moves, one entry a spatial axis."""

    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]

    def output_shape(self, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Return the spatial shape after the window moved over `spatial`."""
        return tuple(
            (size + before + after - dilation * (extent - 1) - 1) // stride + 1
            for size, extent, stride, before, after, dilation in zip(
                spatial, kernel, self.stride, self.before, self.after, self.dilation, strict=True
            )
        )


def convolution(
    weight: NDArray[np.float64],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    window: Window,
    groups: int,
) -> Connection:
    """Return the synapses of a convolution.

    Args:
        weight: [out channels, in channels / groups, *kernel].
        input_shape: [in channels, *spatial].
        output_shape: [out channels, *spatial], as the window says.
        window: stride, padding and dilation.
        groups: number of channel groups.
    """
    spatial, out_spatial = input_shape[1:], output_shape[1:]
    extent, out_extent = math.prod(spatial), math.prod(out_spatial)
    per_group = weight.shape[0] // groups
    weights = np.moveaxis(weight, (0, 1), (-2, -1))
    columns: list[list[NDArray[Any]]] = [[], [], []]
    for tap in product(*(range(extent) for extent in weight.shape[2:])):
        source, target = _tap_pairs(tap, spatial, out_spatial, window)
        here = weights[tap]
        out_channel, inner = np.nonzero(here)
        in_channel = out_channel // per_group * weight.shape[1] + inner
        columns[0].append((in_channel[:, None] * extent + source).ravel())
        columns[1].append((out_channel[:, None] * out_extent + target).ravel())
        columns[2].append(np.repeat(here[out_channel, inner], source.size))
    pre, post, values = (np.concatenate(parts) for parts in columns)
    sizes = math.prod(input_shape), math.prod(output_shape)
    return Connection.from_triplets(pre, post, values, *sizes)


def convolution_synapses(
    weights: NDArray[np.int64],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    window: Window,
) -> int:
    """Return how many synapses a convolution has, without making them.

    Args:
        weights: [*kernel], how many weights of each tap are not 0.
        input_shape: [in channels, *spatial].
        output_shape: [out channels, *spatial].
        window: stride, padding and dilation.
    """
    total = weights.astype(np.float64)  # beyond 2**53 the last digits do not matter
    for axis, taps in enumerate(weights.shape):
        offset = window.before[axis] - np.arange(taps) * window.dilation[axis]
        stride = window.stride[axis]
        first = np.maximum(0, -(-offset // stride))
        last = (input_shape[1 + axis] - 1 + offset) // stride
        inside = np.minimum(output_shape[1 + axis] - 1, last) - first + 1
        total = np.tensordot(np.maximum(0, inside).astype(np.float64), total, (0, 0))
    return int(total)


def _tap_pairs(
    tap: tuple[int, ...], spatial: tuple[int, ...], out_spatial: tuple[int, ...], window: Window
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the flat spatial indices (input, output) that one kernel tap connects."""
    inputs, outputs = [], []
    for axis, position in enumerate(tap):
        out = np.arange(out_spatial[axis])
        source = out * window.stride[axis] + position * window.dilation[axis] - window.before[axis]
        inside = (source >= 0) & (source < spatial[axis])
        inputs.append(source[inside])
        outputs.append(out[inside])
    return _flat_indices(inputs, spatial), _flat_indices(outputs, out_spatial)


def _flat_indices(axes: list[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    grid = np.meshgrid(*axes, indexing="ij")
    return np.ravel_multi_index(tuple(grid), shape).astype(np.int64).ravel()
