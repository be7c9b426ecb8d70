"""How a compiled program stores weights: dense rows of floats or of int8, or single synapses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_layout import Form, aligned
from simulators.connectivity import Connection

SYNAPSES_BELOW = 0.1
"""Share of connected pairs below which single synapses take less time than dense rows."""

_ROW_ELEMENTS, _ROW_BYTES = 16, 32
_LARGEST = 127


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a connection lies: its form, its place in the pool of that form, what a row takes.

    Attributes:
        form: how it is stored.
        at: offset of its first row, or of its entry in `start`.
        stride: elements of a row.
        scale: what an integer counts.
        row_sums: rows that int16 can add up.
        fan_out: offset into `fan_out`.
    """

    form: Form
    at: int
    stride: int
    scale: float
    row_sums: int
    fan_out: int


@dataclass(slots=True)
class WeightPools:
    """Collects the weights of a program.

    Integers take a quarter of the memory traffic, but only where they cannot change a bit: every
    weight is a whole number of −127 to 127 times one power of two, and no sum of them can leave the
    whole numbers that a float holds. Then every order of additions gives the same, exact sum.
    """

    dtype: np.dtype[np.floating]
    rows: list[NDArray[np.floating]] = field(default_factory=list)
    integers: list[NDArray[np.int8]] = field(default_factory=list)
    start: list[NDArray[np.int64]] = field(default_factory=list)
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
        at, first = _total(self.start), _total(self.post)
        ends = np.cumsum(connection.fan_out())
        self.start.append(first + np.concatenate(([0], ends)))
        self.post.append(connection.post.astype(np.int32))
        self.weight.append(weight)
        return Stored(Form.SYNAPSES, at, 0, 1.0, 1, self._fan_out(connection))

    def _add_rows(self, connection: Connection, weight: NDArray[np.floating]) -> Stored:
        stride = -(-connection.n_post // _ROW_ELEMENTS) * _ROW_ELEMENTS
        rows = np.zeros((connection.n_pre, stride), self.dtype)
        rows[connection.pre, connection.post] = weight
        at = _total(self.rows)
        self.rows.append(rows.ravel())
        return Stored(Form.ROWS, at, stride, 1.0, 1, self._fan_out(connection))

    def _add_integers(
        self, connection: Connection, whole: NDArray[np.floating], scale: float
    ) -> Stored:
        stride = -(-connection.n_post // _ROW_BYTES) * _ROW_BYTES
        rows = np.zeros((connection.n_pre, stride), np.int8)
        rows[connection.pre, connection.post] = whole
        at = _total(self.integers)
        self.integers.append(rows.ravel())
        row_sums = np.iinfo(np.int16).max // int(np.abs(whole).max())
        return Stored(Form.INTEGERS, at, stride, scale, row_sums, self._fan_out(connection))

    def _fan_out(self, connection: Connection) -> int:
        at = _total(self.fan_out)
        self.fan_out.append(connection.fan_out())
        return at


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


def _total(parts: Sequence[NDArray[Any]]) -> int:
    return sum(part.size for part in parts)
