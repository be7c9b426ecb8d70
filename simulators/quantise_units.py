"""Populations of a plan in the recursion that Loihi steps, before anything is rounded.

With x = v − v_reset, U = drive_m·i and everything divided by the threshold above the reset, the
neurons of NIR follow

    U' = keep_u·U + G·S        keep_u = 1 − dt/τ_syn (0 without a synaptic current)
    x' = keep_v·x + U' + b     keep_v = 1 − dt/τ_mem (1 without a leak)
    spike where x' > 1, which sets x to 0

which is Loihi's recursion up to one factor κ for each population. S is the weighted activity, G the
product of the gains on its way to the membrane.

A constant c in S passes the synaptic filter in NIR. It does so here too: with the steady current
U∞ = G·c/(1 − keep_u) as bias and −U∞ as the current before the first step, U + U∞ follows the
filter exactly (docs/adr/0010).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from simulators.folding import Drive, Matrix, Tap
from simulators.neurons import Neuron
from simulators.plan import PlanNode

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """One population in units of its thresholds; arrays are float64 [neurons].

    Attributes:
        node: the population.
        taps: source and delay → weights, G·W.
        rate_u: 1 − keep_u.
        rate_v: 1 − keep_v.
        bias: b, a steady current through the synaptic filter included.
        u: U before the first step.
        x: x before the first step.
        threshold: units of v in one unit of x; 1 where the population never spikes.
    """

    node: PlanNode
    taps: Mapping[Tap, Matrix]
    rate_u: Array
    rate_v: Array
    bias: Array
    u: Array
    x: Array
    threshold: Array

    @property
    def name(self) -> str:
        """The population's name."""
        return self.node.name

    @property
    def spikes(self) -> bool:
        """Whether the population ever spikes."""
        return self.node.spikes


def threshold_of(neuron: Neuron) -> Array:
    """Return the threshold above the reset [neurons]; ones for neurons that never spike."""
    spiking = neuron.spiking
    if spiking is None:
        return np.ones_like(neuron.gain)
    return spiking.v_threshold - spiking.v_reset


def in_units(node: PlanNode, drive: Drive) -> Units:
    """Return a population, whose thresholds are above its resets, in units of them."""
    neuron = node.operation
    assert isinstance(neuron, Neuron)
    threshold = threshold_of(neuron)
    v_reset = np.zeros(node.size) if neuron.spiking is None else neuron.spiking.v_reset
    rate_v, gain, rest = np.zeros(node.size), neuron.gain, np.zeros(node.size)
    if neuron.leak is not None:
        rate_v, gain, rest = neuron.leak.rate, neuron.leak.drive, neuron.leak.rest
    rate_u = np.ones(node.size)
    if neuron.synapse is not None:
        rate_u, gain = neuron.synapse.rate, gain * neuron.synapse.drive
    gain = gain / threshold
    steady = gain * drive.bias(node.size) / rate_u
    return Units(
        node,
        {tap: sparse.csr_array(sparse.diags_array(gain) @ w) for tap, w in drive.taps.items()},
        rate_u,
        rate_v,
        steady + (rest - rate_v * v_reset) / threshold,
        -steady * (rate_u < 1),
        (neuron.initial_v - v_reset) / threshold,
        threshold,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Largest magnitudes of a population, in thresholds, each float64 [neurons].

    Attributes:
        arriving: weighted activity of one step.
        u: synaptic current.
        x: membrane before the reset.
    """

    arriving: Array
    u: Array
    x: Array

    def __or__(self, other: "Peaks") -> "Peaks":
        return Peaks(*map(np.maximum, self.values(), other.values()))

    def values(self) -> tuple[Array, Array, Array]:
        """Return all three."""
        return self.arriving, self.u, self.x


def follow(units: Units, activity: Mapping[str, Array]) -> Iterator[tuple[Array, Array, Array]]:
    """Give a population's S·G, U and x before the reset, step by step, each [batch, neurons].

    Args:
        units: the population.
        activity: node → [steps, batch, neurons], spikes of Inputs and populations; the
            population's own say where its membrane is reset.
    """
    steps, batch = next(iter(activity.values())).shape[:2]
    u, x = np.tile(units.u, (batch, 1)), np.tile(units.x, (batch, 1))
    for step in range(steps):
        arriving = np.zeros_like(u)
        for (source, delay), weights in units.taps.items():
            if step >= delay:
                arriving += (weights @ activity[source][step - delay].T).T
        u = (1 - units.rate_u) * u + arriving
        x = (1 - units.rate_v) * x + u + units.bias
        yield arriving, u, x
        if units.spikes:
            x = np.where(activity[units.name][step] > 0, 0.0, x)


def peaks_of(units: Units, activity: Mapping[str, Array]) -> Peaks:
    """Return a population's peaks over a batch; arguments as `follow`."""
    peaks = Peaks(np.zeros(units.node.size), np.abs(units.u), np.abs(units.x))
    for now in follow(units, activity):
        peaks |= Peaks(*(np.abs(values).max(axis=0) for values in now))
    return peaks


def largest_weights(units: Units) -> Array:
    """Return the largest magnitude of the weights that lead to each neuron."""
    largest = np.zeros(units.node.size)
    for matrix in units.taps.values():
        largest = np.maximum(largest, abs(matrix).max(axis=1).toarray().ravel())
    return largest
