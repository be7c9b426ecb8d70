"""The synapses of Loihi's integers in the flat arrays of the kernel."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_layout import padded
from simulators.compiled_loihi import (
    FAN_OUT,
    RIGHT,
    ROW_BIAS,
    ROW_SUMS,
    SCALE,
    SLOTS,
    START,
    WEIGHT,
    WIDTH,
)
from simulators.compiled_rows import interleaved
from simulators.compiled_weights import appended, pooled
from simulators.loihi_arithmetic import Ints
from simulators.loihi_connections import Connection, Conv
from simulators.loihi_synapses import CONV_BITS, stored_synapses

_DENSE_SHARE = 4
"""Rows are kept whole where at least one weight in so many is not 0: wide sums then beat lists."""

_REGISTER_BITS = 32
_BYTE = 255


@dataclass(frozen=True, slots=True)
class _Packed:
    """Weights as bytes: (byte − bias) · scale, with the bias that makes all of them 0 to 255."""

    whole: Ints
    scale: int
    bias: int

    @property
    def row_sums(self) -> int:
        """Rows that int16 can add up."""
        return int(np.iinfo(np.int16).max // max(1, np.abs(self.whole).max(initial=0)))


@dataclass(slots=True)
class Wiring:
    """Collects connections; see `compiled_loihi.step_samples`."""

    integers: list[NDArray[np.uint8]] = field(default_factory=list)
    weights: list[NDArray[np.int16]] = field(default_factory=list)
    starts: list[Ints] = field(default_factory=list)
    places: list[NDArray[np.int32]] = field(default_factory=list)
    fan_out: list[Ints] = field(default_factory=list)

    def add(self, connection: Connection, row: NDArray[np.int64]) -> int:
        """Store a connection in the form that is read fastest, and say in its row where.

        Returns:
            The largest payload with which no sum can wrap.
        """
        n_post, n_pre = connection.sizes
        pre, post, weight, delay = stored_synapses(connection)
        exponent = 0 if isinstance(connection, Conv) else connection.weight_exp
        delays = None if isinstance(connection, Conv) else connection.delays
        weight = weight << max(exponent, 0)
        row[SLOTS] = 1 if delays is None else 1 + int(delays.max(initial=0))
        row[WIDTH], row[RIGHT] = padded(n_post), max(-exponent, 0)
        row[FAN_OUT] = appended(self.fan_out, np.bincount(pre, minlength=n_pre))
        dense = row[SLOTS] == 1 and weight.size * _DENSE_SHARE >= n_pre * n_post
        packed = _packed(weight) if dense else None
        if packed is None:
            self._add_lists(pre, post + delay * padded(n_post), weight, row)
        else:
            self._add_rows(pre, post, packed, row)
        reach = int(np.bincount(post, np.abs(weight)).max(initial=0))
        bits = CONV_BITS if isinstance(connection, Conv) else _REGISTER_BITS
        return int(2 ** (bits - 1) - 1) // max(reach, 1)

    def pools(self) -> tuple[NDArray[Any], ...]:
        """Return all connections in one array each, in the kernel's order."""
        return (
            pooled(self.integers, np.uint8),
            pooled(self.weights, np.int16),
            pooled(self.starts, np.int64),
            pooled(self.places, np.int32),
            pooled(self.fan_out, np.int64),
        )

    def _add_rows(self, pre: Ints, post: Ints, packed: _Packed, row: NDArray[np.int64]) -> None:
        whole = np.zeros((self.fan_out[-1].size, row[WIDTH]), np.int16)
        whole[pre, post] = packed.whole
        row[WEIGHT] = appended(self.integers, interleaved(whole.ravel(), packed.bias))
        row[START] = -1
        row[SCALE], row[ROW_BIAS], row[ROW_SUMS] = packed.scale, packed.bias, packed.row_sums

    def _add_lists(self, pre: Ints, place: Ints, weight: Ints, row: NDArray[np.int64]) -> None:
        order = np.lexsort((place, pre))
        first = appended(self.weights, weight[order].astype(np.int16))
        self.places.append(place[order].astype(np.int32))
        ends = first + np.cumsum(self.fan_out[-1])
        row[START] = appended(self.starts, np.concatenate(([first], ends)))


def _packed(weight: Ints) -> _Packed | None:
    """Return weights as bytes, None where these cannot hold them."""
    together = int(np.bitwise_or.reduce(weight, initial=0))
    scale = together & -together or 1
    whole = weight // scale
    low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
    return _Packed(whole, scale, -low) if high - low <= _BYTE else None
