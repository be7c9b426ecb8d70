"""From a plan to Loihi's integers.

`docs/reference/loihi.md` tells the mathematics. In short: every population is brought into Loihi's
recursion (`quantise_units`), runs of the float reference on calibration input show how far its
registers reach, and factors κ take it to integers: as large as the registers allow, with a mantissa
that suits the weights (`quantise_weights`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.calibration import Activity
from simulators.folding import Folding
from simulators.loihi_connections import Connection, Dense, Sparse
from simulators.loihi_network import (
    DECAY_MAX,
    STATE_MAX,
    THRESHOLD_MAX,
    InputNode,
    LifPopulation,
    LoihiNetwork,
    OutputNode,
)
from simulators.plan import Plan
from simulators.quantise_limits import DECAY_UNITY, read_by
from simulators.quantise_units import Peaks, Units, in_units, largest_weights, peaks_of
from simulators.quantise_weights import (
    ALIGNED,
    SignedWeights,
    best_factors,
    by_sign,
)
from simulators.violation import Unrepresentable, Violation

Array = NDArray[np.float64]

HEADROOM = 2.0
"""How many times further than on calibration input every register may reach."""
ARRIVING_MAX = 2**15 - 1
"""Largest sum of weighted spikes in a step; a chip's register may hold no more than 16 bits."""
BIAS_MANTISSA_MAX, BIAS_EXPONENT_MAX = 2**12 - 1, 7
PAYLOAD_BITS = 16
_DENSE_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedWeights:
    """The weights of one sign of a tap, and what became of them.

    Attributes:
        weights: in thresholds.
        made: int32 [synapses], magnitudes.
        exponent: their exponent.
    """

    weights: SignedWeights
    made: NDArray[np.int32]
    exponent: int


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedPopulation:
    """A population, and what became of it.

    Attributes:
        units: in thresholds.
        peaks: how far its registers reach on calibration input, in thresholds.
        factors: κ, float64 [neurons]: the membrane in integers where it is 1 in thresholds.
        weights: of the synapses that lead to it.
        made: the population in integers.
    """

    units: Units
    peaks: Peaks
    factors: Array
    weights: tuple[QuantisedWeights, ...]
    made: LifPopulation


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A plan in Loihi's integers: the network, and how each population came about."""

    network: LoihiNetwork
    populations: tuple[QuantisedPopulation, ...]


def quantise(plan: Plan, folding: Folding, known: Sequence[Activity]) -> Quantised:
    """Return a plan in Loihi's integers.

    Args:
        plan: the plan, whose contract gives every weight a step.
        folding: the plan folded, without violations.
        known: what calibration input makes it do.

    Raises:
        Unrepresentable: naming the populations whose input no factor brings into range.
    """
    every = [in_units(node, folding.drives[node.name]) for node in folding.populations]
    by_step = [activity.by_step() for activity in known]
    peaks = [_peaks(units, by_step) for units in every]
    out_of_range = [
        found for pair in zip(every, peaks, strict=True) if (found := _range_violation(*pair))
    ]
    if out_of_range:
        raise Unrepresentable(out_of_range)
    populations = tuple(map(_population, every, peaks))
    binary = plan.contract.binning == "binary"
    graded = {node.name: 0 if binary else PAYLOAD_BITS for node in folding.inputs}
    network = LoihiNetwork(
        dt_s=plan.contract.dt_s,
        inputs=tuple(InputNode(node.name, node.shape) for node in folding.inputs),
        populations=tuple(one.made for one in populations),
        connections=tuple(made for one in populations for made in _connections(one, graded)),
        outputs=tuple(_outputs(folding, {one.units.name: one for one in populations})),
    )
    return Quantised(network, populations)


def _peaks(units: Units, by_step: Sequence[Mapping[str, Array]]) -> Peaks:
    """Return a population's peaks over all samples, and at least what one spike does."""
    one = largest_weights(units)
    return reduce(or_, (peaks_of(units, each) for each in by_step), Peaks(one, one, 0 * one))


def _ceilings(units: Units, peaks: Peaks) -> Array:
    """Return the largest factors [neurons] that leave every register its headroom."""
    limits = (ARRIVING_MAX * ALIGNED, STATE_MAX, STATE_MAX)
    lowest = np.full(units.node.size, float(THRESHOLD_MAX * ALIGNED))
    for limit, peak in zip(limits, peaks.values(), strict=True):
        lowest = np.minimum(lowest, limit / np.maximum(HEADROOM * peak, 1e-300))
    bias = BIAS_MANTISSA_MAX << BIAS_EXPONENT_MAX
    ceilings: Array = np.minimum(lowest, bias / np.maximum(np.abs(units.bias), 1e-300))
    return ceilings


def _range_violation(units: Units, peaks: Peaks) -> Violation | None:
    """Return what is wrong with a population whose input is too large for its threshold."""
    ceilings = _ceilings(units, peaks)
    worst = int(ceilings.argmin())
    if ceilings[worst] >= ALIGNED or not units.spikes:
        return None
    reached = max(abs(float(part[worst])) for part in (*peaks.values(), units.bias))
    return Violation(
        units.name, "largest input or membrane, in thresholds", f"{reached:.6g}",
        f"about {reached * float(ceilings[worst]) / ALIGNED:.6g}",
        "a higher threshold or smaller weights",
    )  # fmt: skip


def _population(units: Units, peaks: Peaks) -> QuantisedPopulation:
    signed = tuple(by_sign(units.taps))
    du = np.clip(np.rint(units.rate_u * DECAY_UNITY) - 1, 0, DECAY_MAX).astype(np.int32)
    dv = np.clip(np.rint(units.rate_v * DECAY_UNITY), 0, DECAY_MAX).astype(np.int32)
    # An Output that reads the membrane has one scale for all of it.
    groups = np.unique(np.stack([du, dv]), axis=1, return_inverse=True)[1].ravel()
    groups = groups if units.spikes else np.zeros_like(groups)
    factors = best_factors(
        signed, _ceilings(units, peaks), groups, np.abs(units.threshold), whole=units.spikes
    )
    mantissa, exponent = _bias(units.bias * factors)
    made = LifPopulation(
        name=units.name,
        shape=units.node.shape,
        du=du,
        dv=dv,
        vth=np.rint(factors / ALIGNED).astype(np.int32)
        if units.spikes
        else np.full_like(du, THRESHOLD_MAX),
        bias_mant=mantissa,
        bias_exp=exponent,
        u=np.rint(units.u * factors).astype(np.int32),
        v=np.rint(units.x * factors).astype(np.int32),
    )
    weights = tuple(QuantisedWeights(one, *one.integers(factors)) for one in signed)
    return QuantisedPopulation(units, peaks, factors, weights, made)


def _bias(values: Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return mantissas of 13 bits and the smallest exponents with which they hold the values."""
    needed = np.log2(np.maximum(np.abs(values), 1) / BIAS_MANTISSA_MAX)
    exponent = np.clip(np.ceil(needed - 1e-9), 0, BIAS_EXPONENT_MAX).astype(np.int32)
    mantissa = np.rint(values / 2.0**exponent).astype(np.int32)
    return np.clip(mantissa, -BIAS_MANTISSA_MAX, BIAS_MANTISSA_MAX), exponent


def _connections(
    population: QuantisedPopulation, graded: Mapping[str, int]
) -> Iterator[Connection]:
    """Give the synapses that lead to a population; `graded` holds the payload bits of inputs."""
    for one in population.weights:
        source, delay = one.weights.tap
        sign = 1 if one.weights.sign == "excitatory" else -1
        shared = {
            "name": f"{source} -> {population.units.name}, {delay} steps, {one.weights.sign}",
            "source": source,
            "target": population.units.name,
            "weight_exp": one.exponent,
            "sign_mode": one.weights.sign,
            "num_message_bits": graded.get(source, 0),
        }
        yield _placed(one, sign * one.made, delay - 1, population.units, shared)


def _placed(
    one: QuantisedWeights, weights: NDArray[np.int32], late: int, units: Units, shared: Any
) -> Connection:
    n_post, n_pre = units.taps[one.weights.tap].shape
    if weights.size < _DENSE_SHARE * n_post * n_pre:
        delays: Any = np.full(weights.shape, late, np.int32) if late else None
        return Sparse(
            pre=one.weights.pre, post=one.weights.post, weights=weights, delays=delays,
            n_pre=n_pre, n_post=n_post, **shared,
        )  # fmt: skip
    matrix = np.zeros((n_post, n_pre), np.int32)
    matrix[one.weights.post, one.weights.pre] = weights
    delays = np.full(matrix.shape, late, np.int32) if late else None
    return Dense(weights=matrix, delays=delays, **shared)


def _outputs(
    folding: Folding, populations: Mapping[str, QuantisedPopulation]
) -> Iterator[OutputNode]:
    for node in folding.outputs:
        read = read_by(folding.drives[node.name], populations)
        assert read is not None
        source, gain = read
        spikes = populations[source].units.spikes
        yield OutputNode(
            name=node.name,
            source=source,
            shape=node.shape,
            reads="spikes" if spikes else "v",
            scale=gain if spikes else gain / float(populations[source].factors[0]),
        )
