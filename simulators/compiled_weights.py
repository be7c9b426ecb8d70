"""How a compiled program stores weights: dense rows of floats or of int8, or single synapses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_layout import Form, aligned
from simulators.compiled_rows import BLOCK, interleaved
from simulators.connectivity import Connection

SYNAPSES_BELOW = 0.1
"""Share of connected pairs below which single synapses take less time than dense rows."""

_ROW_ELEMENTS = 16
_LARGEST = 127


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a connection lies: its form, its place in the pool of that form, what a row takes.

    Attributes:
        form: how it is stored.
        at: offset of its first row, or of its entry in `start`.
        fan_out: offset into `fan_out`, or -1 where single synapses are as many for every
            presynaptic neuron.
        fan_each: how many, then.
        stride: elements of a row.
        scale: what an integer counts.
        row_sums: rows that int16 can add up.
        place: what to add to the number of a synapse, or of a presynaptic neuron where its synapses
            are equal, to find the weight.
        narrow: whether 16 bits hold the postsynaptic neurons.
    """

    form: Form
    at: int
    fan_out: int
    fan_each: int
    stride: int = 0
    scale: float = 1.0
    row_sums: int = 1
    place: int = 0
    narrow: bool = False


@dataclass(slots=True)
class WeightPools:
    """Collects the weights of a program.

    Integers take a quarter of the memory traffic, but only where they cannot change a bit: every
    weight is a whole number of −127 to 127 times one power of two, and no sum of them can leave the
    whole numbers that a float holds. Then every order of additions gives the same, exact sum.
    """

    dtype: np.dtype[np.floating]
    rows: list[NDArray[np.floating]] = field(default_factory=list)
    integers: list[NDArray[np.uint8]] = field(default_factory=list)
    start: list[NDArray[np.int64]] = field(default_factory=list)
    near: list[NDArray[np.uint16]] = field(default_factory=list)
    post: list[NDArray[np.int32]] = field(default_factory=list)
    weight: list[NDArray[np.floating]] = field(default_factory=list)
    fan_out: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, connection: Connection) -> Stored:
        """Store a connection in the form that is read fastest."""
        weight = connection.weight.astype(self.dtype)
        pairs = connection.n_pre * connection.n_post
        # A weight that rounds to zero would be lost among the zeros of absent synapses.
        if weight.size < SYNAPSES_BELOW * pairs or np.any(weight == 0):
            return self._add_synapses(connection, weight)
        scale = integer_scale(weight, connection.n_pre)
        if scale is None:
            return self._add_rows(connection, weight)
        return self._add_integers(connection, weight / self.dtype.type(scale), scale)

    def _add_synapses(self, connection: Connection, weight: NDArray[np.floating]) -> Stored:
        narrow = connection.n_post <= 2**16
        at, held = _total(self.start), _total(self.weight)
        first = _total(self.near if narrow else self.post)
        fan_out = connection.fan_out()
        starts = np.concatenate(([0], np.cumsum(fan_out)))
        self.start.append(first + starts)
        if narrow:
            self.near.append(connection.post.astype(np.uint16))
        else:
            self.post.append(connection.post.astype(np.int32))
        one_each = _one_each(weight, starts)
        self.weight.append(weight if one_each is None else one_each)
        form, place = (Form.SYNAPSES, held - first) if one_each is None else (Form.EQUAL, held)
        return Stored(form, at, *self._fan_out(fan_out), place=place, narrow=narrow)

    def _add_rows(self, connection: Connection, weight: NDArray[np.floating]) -> Stored:
        stride = -(-connection.n_post // _ROW_ELEMENTS) * _ROW_ELEMENTS
        rows = np.zeros((connection.n_pre, stride), self.dtype)
        rows[connection.pre, connection.post] = weight
        at = appended(self.rows, rows.ravel())
        return Stored(Form.ROWS, at, appended(self.fan_out, connection.fan_out()), 0, stride)

    def _add_integers(
        self, connection: Connection, whole: NDArray[np.floating], scale: float
    ) -> Stored:
        stride = -(-connection.n_post // BLOCK) * BLOCK
        rows = np.zeros((connection.n_pre, stride), np.int8)
        rows[connection.pre, connection.post] = whole
        at = appended(self.integers, interleaved(rows.ravel()))
        row_sums = np.iinfo(np.int16).max // int(np.abs(whole).max())
        fan_out = appended(self.fan_out, connection.fan_out())
        return Stored(Form.INTEGERS, at, fan_out, 0, stride, scale, row_sums)

    def _fan_out(self, fan_out: NDArray[np.int64]) -> tuple[int, int]:
        if np.all(fan_out == fan_out[:1]):
            return -1, int(fan_out[:1].sum())
        return appended(self.fan_out, fan_out), 0


def _one_each(
    weight: NDArray[np.floating], starts: NDArray[np.int64]
) -> NDArray[np.floating] | None:
    """Return the weight of each presynaptic neuron, None if it has several."""
    fan_out = np.diff(starts)
    each = np.zeros(fan_out.size, weight.dtype)
    each[fan_out > 0] = weight[starts[:-1][fan_out > 0]]
    return each if np.array_equal(np.repeat(each, fan_out), weight) else None


def integer_scale(weight: NDArray[np.floating], n_pre: int) -> float | None:
    """Return the power of two of which weights are whole multiples of −127 to 127.

    None if there is none, or if the sum of `n_pre` such weights might not be exact.
    """
    largest = float(np.abs(weight).max(initial=0))
    exact = 2 ** np.finfo(weight.dtype).nmant
    if not (0 < largest < math.inf) or n_pre * _LARGEST > exact:
        return None
    exponent = math.frexp(largest)[1] - 7
    # Far from the ends of the exponents, scaling is exact too.
    if abs(exponent) > 60:
        return None
    scale = math.ldexp(1.0, exponent)
    whole = weight / weight.dtype.type(scale)
    return scale if np.array_equal(whole, np.rint(whole)) else None


def pooled(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Return parts one after the other, from a cache line on; at least one element."""
    pool = aligned(max(1, _total(parts)), dtype)
    at = 0
    for part in parts:
        pool[at : at + part.size] = part
        at += part.size
    return pool


def appended(parts: list[NDArray[Any]], part: NDArray[Any]) -> int:
    """Append a part of what will be `pooled`; return where it begins."""
    at = _total(parts)
    parts.append(part)
    return at


def _total(parts: Sequence[NDArray[Any]]) -> int:
    return sum(part.size for part in parts)
