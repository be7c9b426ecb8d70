"""What a model lost on its way to Loihi's integers, as numbers that go with the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from simulators.calibration import SpikeAgreement, overall
from simulators.folding import Folding
from simulators.latency import Latency, latencies
from simulators.loihi_network import STATE_MAX
from simulators.plan import Plan
from simulators.quantise import ARRIVING_MAX, Quantised, QuantisedPopulation, QuantisedWeights
from simulators.quantise_limits import DECAY_UNITY
from simulators.quantise_units import Units
from simulators.quantise_weights import ALIGNED, MAGNITUDE_MAX

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """Relative errors: the largest and the root of the mean square."""

    largest: float
    rms: float


@dataclass(frozen=True, slots=True)
class Headroom:
    """How many times further each register reaches than calibration input drove it.

    Attributes:
        arriving: weighted spikes of one step, 16 bits.
        u: synaptic current, 24 bits.
        v: membrane before the reset, 24 bits.
    """

    arriving: float
    u: float
    v: float


@dataclass(frozen=True, slots=True)
class PopulationLoss:
    """What became of one population.

    Attributes:
        node: its name.
        neurons: how many.
        kinds: neurons of different decays or thresholds among them; a chip's core holds a limited
            number of kinds.
        v_threshold: lowest and highest threshold in integers, or None where it never spikes.
        tau_syn: errors of 1/τ_syn, or None without a synaptic current.
        tau_mem: errors of 1/τ_mem, or None without a leak.
        threshold: errors of the threshold above the reset.
        bias: largest error of the bias in one step, in thresholds.
        headroom: what is left of its registers on calibration input.
        predicted: agreement of its spikes with the float reference on calibration input.
        measured: the same on other input; both None where it never spikes.
    """

    node: str
    neurons: int
    kinds: int
    v_threshold: tuple[int, int] | None
    tau_syn: Loss | None
    tau_mem: Loss | None
    threshold: Loss
    bias: float
    headroom: Headroom
    predicted: float | None
    measured: float | None


@dataclass(frozen=True, slots=True)
class ConnectionLoss:
    """What became of the synapses between two populations at one delay.

    Attributes:
        source: presynaptic node.
        target: postsynaptic population.
        steps: steps from a spike to the neuron.
        synapses: how many.
        exponents: of the positive and of the negative weights; None where there are none.
        weights: errors: the largest relative to the largest weight, the rms to the weights' rms.
        saturated: weights that were too large for their bits.
        vanished: weights that became 0.
    """

    source: str
    target: str
    steps: int
    synapses: int
    exponents: tuple[int | None, int | None]
    weights: Loss
    saturated: int
    vanished: int


@dataclass(frozen=True, slots=True)
class LossReport:
    """What a model lost; goes with it as `quantisation.json`.

    Attributes:
        populations: by population.
        connections: by connection.
        predicted: agreement of all spikes with the float reference on calibration input.
        measured: the same on other input, or None if there was none.
        notes: what else is approximate, one sentence each.
    """

    populations: tuple[PopulationLoss, ...]
    connections: tuple[ConnectionLoss, ...]
    predicted: float
    measured: float | None
    notes: tuple[str, ...]


def loss_report(
    quantised: Quantised,
    plan: Plan,
    folding: Folding,
    predicted: Sequence[SpikeAgreement],
    measured: Sequence[SpikeAgreement],
) -> LossReport:
    """Return what a model lost.

    Args:
        quantised: the model in integers.
        plan: the plan that it was made from.
        folding: the plan folded.
        predicted: agreement on calibration input.
        measured: agreement on other input; empty if there was none.
    """
    shares = [{one.node: one.share for one in parts} for parts in (predicted, measured)]
    return LossReport(
        tuple(_population(one, *(share.get(one.units.name) for share in shares))
              for one in quantised.populations),
        tuple(loss for one in quantised.populations for loss in _connections(one)),
        overall(predicted).share,
        overall(measured).share if measured else None,
        (*_late_constants(folding), *_uneven_paths(plan, folding)),
    )  # fmt: skip


def _population(
    one: QuantisedPopulation, predicted: float | None, measured: float | None
) -> PopulationLoss:
    units, made = one.units, one.made
    bias = made.bias_mant * 2.0**made.bias_exp / one.factors
    kept = [(made.du + 1) / DECAY_UNITY, made.dv / DECAY_UNITY]
    threshold = made.vth * ALIGNED / one.factors if units.spikes else np.ones(made.size)
    kinds = np.unique(np.stack([made.du, made.dv, made.vth]), axis=1).shape[1]
    return PopulationLoss(
        units.name,
        made.size,
        kinds,
        (int(made.vth.min()), int(made.vth.max())) if units.spikes else None,
        _relative(kept[0], units.rate_u) if np.any(units.rate_u < 1) else None,
        _relative(kept[1], units.rate_v) if np.any(units.rate_v > 0) else None,
        _relative(threshold, np.ones(made.size)),
        float(np.abs(bias - units.bias).max(initial=0)),
        _headroom(one),
        predicted,
        measured,
    )


def _headroom(one: QuantisedPopulation) -> Headroom:
    limits = (ARRIVING_MAX * ALIGNED, STATE_MAX, STATE_MAX)
    reached = [float((peak * one.factors).max()) for peak in one.peaks.values()]
    return Headroom(*(limit / max(1.0, peak) for limit, peak in zip(limits, reached, strict=True)))


def _relative(made: Array, wanted: Array) -> Loss:
    errors = (made - wanted) / wanted
    return Loss(float(np.abs(errors).max()), float(np.sqrt(np.mean(errors**2))))


def _connections(one: QuantisedPopulation) -> Iterable[ConnectionLoss]:
    for tap, parts in groupby(one.weights, key=lambda part: part.weights.tap):
        yield _connection(one.units, tap, list(parts), one.factors)


def _connection(
    units: Units, tap: tuple[str, int], parts: list[QuantisedWeights], factors: Array
) -> ConnectionLoss:
    wanted = np.concatenate([part.weights.magnitude for part in parts])
    errors = np.concatenate(
        [p.weights.restored(p.made, p.exponent, factors) - p.weights.magnitude for p in parts]
    )
    exponents: dict[str, int] = {part.weights.sign: part.exponent for part in parts}
    made = np.concatenate([part.made for part in parts])
    return ConnectionLoss(
        tap[0],
        units.name,
        tap[1],
        wanted.size,
        (exponents.get("excitatory"), exponents.get("inhibitory")),
        Loss(
            float(np.abs(errors).max() / wanted.max()),
            float(np.sqrt(np.mean(errors**2) / np.mean(wanted**2))),
        ),
        int(np.count_nonzero(made > MAGNITUDE_MAX)),
        int(np.count_nonzero(made == 0)),
    )


def _late_constants(folding: Folding) -> Iterable[str]:
    for node in folding.populations:
        late = [since for since, bias in folding.drives[node.name].biases.items() if bias.any()]
        if max(late, default=0):
            yield (
                f"{node.name}: a constant that arrives {max(late)} steps late in the graph acts "
                "from the first step on the chip"
            )


def _uneven_paths(plan: Plan, folding: Folding) -> Iterable[str]:
    """Tell where paths of different length first meet, whose spikes came together otherwise."""
    late = latencies(plan.nodes)
    uneven = {node.name for node in folding.populations if _is_uneven(node.name, late)}
    for name in sorted(uneven):
        if not uneven & {source for source, _ in folding.drives[name].taps}:
            yield (
                f"{name}: paths of {late[name].shortest} to {late[name].longest} steps meet here, "
                "which take none in a contract without feed-forward delays; a Delay evens them out"
            )


def _is_uneven(name: str, late: Mapping[str, Latency]) -> bool:
    return name in late and late[name].shortest < late[name].longest
