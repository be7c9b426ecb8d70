"""Weights in eight bits and one power of two, and the factors that make the most of the bits.

The synapses between two populations become at most two connections: one holds the positive
weights, one the negative. Loihi takes the sign of a mixed connection out of its eight bits; two of
one sign keep all eight for the magnitude, and have an exponent each.

Neurons of equal decays form a group and share a factor κ, and so a threshold: a population whose
neurons are alike stays so on the chip. A population of many kinds of neurons has a threshold for
each kind, and each kind's largest weight fills the eight bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulators.folding import Matrix, Tap
from simulators.loihi_arithmetic import ALIGNMENT_BITS

Array = NDArray[np.float64]
Ints = NDArray[np.int32]
Sign = Literal["excitatory", "inhibitory"]

ALIGNED = 1 << ALIGNMENT_BITS
MAGNITUDE_MAX = 255
EXPONENT_MIN, EXPONENT_MAX = -8, 7
_GRID = np.geomspace(0.5, 1.0, 25)[1:]
_SAMPLE = 2**13


@dataclass(frozen=True, slots=True, eq=False)
class SignedWeights:
    """The weights of one sign of a tap.

    Attributes:
        tap: presynaptic node and delay in steps.
        sign: which of them.
        pre: int32 [synapses].
        post: int32 [synapses].
        magnitude: float64 [synapses], positive, in thresholds.
    """

    tap: Tap
    sign: Sign
    pre: Ints
    post: Ints
    magnitude: Array

    def registers(self, factors: Array) -> Array:
        """Return the magnitudes in units of a register, for the neurons' factors κ."""
        made: Array = self.magnitude * factors[self.post] / ALIGNED
        return made

    def exponent(self, factors: Array) -> int:
        """Return the smallest exponent with which all magnitudes fit their bits."""
        # A largest weight of 255 times a power of two, up to rounding, must not cost a bit.
        needed = np.ceil(np.log2(self.registers(factors).max() / MAGNITUDE_MAX) - 1e-9)
        return int(np.clip(needed, EXPONENT_MIN, EXPONENT_MAX))

    def integers(self, factors: Array) -> tuple[Ints, int]:
        """Return the magnitudes as integers [synapses] and the exponent that they share."""
        exponent = self.exponent(factors)
        made = np.rint(self.registers(factors) / 2.0**exponent).astype(np.int32)
        while exponent < 0 and not np.any(made & 1):
            # Right shifts of a sum round down; these need none.
            made, exponent = made >> 1, exponent + 1
        return made, exponent

    def restored(self, made: Ints, exponent: int, factors: Array) -> Array:
        """Return integers in thresholds again."""
        weights: Array = made * (2.0**exponent * ALIGNED / factors[self.post])
        return weights


def by_sign(taps: Mapping[Tap, Matrix]) -> Iterator[SignedWeights]:
    """Give the weights of a population's taps, apart by their sign."""
    for tap, matrix in sorted(taps.items()):
        synapses = matrix.tocoo()
        pre, post = synapses.col.astype(np.int32), synapses.row.astype(np.int32)
        signs: dict[Sign, Any] = {
            "excitatory": synapses.data > 0,
            "inhibitory": synapses.data < 0,
        }
        for sign, chosen in signs.items():
            if chosen.any():
                magnitude = np.abs(synapses.data[chosen])
                yield SignedWeights(tap, sign, pre[chosen], post[chosen], magnitude)


def best_factors(
    weights: Sequence[SignedWeights],
    ceilings: Array,
    groups: NDArray[np.int64],
    units: Array,
    *,
    whole: bool,
) -> Array:
    """Return the neurons' factors κ: as large as the ceilings let them, and kind to the weights.

    Args:
        weights: the weights that lead to a population.
        ceilings: float64 [neurons], the largest κ that leaves every register its headroom.
        groups: int64 [neurons], number of the neuron's group, from 0.
        units: float64 [neurons], factors with which the weights may be whole numbers, up to a
            power of two.
        whole: whether κ must be a multiple of 64, as a threshold is; the ceilings are 64 at least.
    """
    highest = _highest(weights, ceilings, groups)
    exponents = [one.exponent(highest) for one in weights]
    factors = np.zeros_like(ceilings)
    rows = [_sampled(one, groups) for one in weights]
    for group in range(groups.max() + 1):
        members = groups == group
        limit = float(highest[members].min())
        parts = [
            (part[group], exponent)
            for part, exponent in zip(rows, exponents, strict=True)
            if group in part
        ]
        unit = float(units[members][0])
        tried = [unit * 2.0 ** float(np.floor(np.log2(limit / unit))), *(limit * _GRID).tolist()]
        if whole:
            tried = [float(ALIGNED * max(1, _nearest_below(one, limit))) for one in tried]
        factors[members] = min(
            tried, key=lambda factor: (round(_error(parts, factor), 12), -factor)
        )
    return factors


def _highest(weights: Sequence[SignedWeights], ceilings: Array, groups: NDArray[np.int64]) -> Array:
    """Return each group's highest factor: its ceiling, or what fills the bits of its weights.

    The exponent that all groups share is the largest that leaves every group the full bits, but
    not negative if that can be helped, because right shifts of a sum round down.
    """
    count = groups.max() + 1
    ceiling, largest = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(ceiling, groups, ceilings)
    for one in weights:
        np.maximum.at(largest, groups[one.post], one.magnitude)
    if not largest.any():
        return ceiling[groups]
    reach = np.floor(np.log2((ceiling * largest)[largest > 0] / (ALIGNED * MAGNITUDE_MAX)))
    exponent = min(max(reach.min(), min(0.0, reach.max())), EXPONENT_MAX)
    full = MAGNITUDE_MAX * 2.0**exponent * ALIGNED / np.maximum(largest, 1e-300)
    filling: Array = np.minimum(ceiling, full)[groups]
    return filling


def _sampled(weights: SignedWeights, groups: NDArray[np.int64]) -> dict[int, Array]:
    """Return group → its magnitudes or, of many, some of them."""
    order = np.argsort(groups[weights.post], kind="stable")
    numbers, starts = np.unique(groups[weights.post][order], return_index=True)
    parts = np.split(weights.magnitude[order], starts[1:])
    return {
        int(number): part[:: -(-part.size // _SAMPLE)]
        for number, part in zip(numbers, parts, strict=True)
    }


def _nearest_below(factor: float, limit: float) -> int:
    """Return the nearest number of 64s that does not pass the limit."""
    return min(round(factor / ALIGNED), int(limit / ALIGNED))


def _error(parts: Sequence[tuple[Array, int]], factor: float) -> float:
    """Return the root of the squared errors over the squared weights."""
    errors = squares = 0.0
    for magnitude, exponent in parts:
        unit = 2.0**exponent * ALIGNED / factor
        lost = np.rint(magnitude / unit) * unit - magnitude
        errors += float(lost @ lost)
        squares += float(magnitude @ magnitude)
    return float(np.sqrt(errors / squares)) if squares else 0.0
