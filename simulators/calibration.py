"""Runs of the float reference on sample input, and how well a network's spikes agree with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from simulators.loihi import LoihiEngine
from simulators.loihi_network import LoihiNetwork
from simulators.plan import Plan
from simulators.reference import ReferenceEngine

Rasters = Mapping[str, NDArray[np.generic]]
"""Input node → [steps, *shape]: one sample."""

BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """What some samples make the float reference do.

    Attributes:
        inputs: Input node → [batch, steps, *shape].
        spikes: spiking population → int8 [batch, steps, neurons].
    """

    inputs: Mapping[str, NDArray[np.generic]]
    spikes: Mapping[str, NDArray[np.int8]]

    def by_step(self) -> dict[str, NDArray[np.float64]]:
        """Return the activity of inputs and populations, each [steps, batch, neurons]."""
        return {
            name: np.asarray(values, np.float64)
            .reshape(*values.shape[:2], -1)
            .swapaxes(0, 1)
            for name, values in (*self.inputs.items(), *self.spikes.items())
        }  # fmt: skip


def activities(plan: Plan, samples: Sequence[Rasters]) -> list[Activity]:
    """Return what the samples make the plan do in 64-bit floats."""
    exact = replace(plan, contract=replace(plan.contract, arithmetic="float64"))
    engine = ReferenceEngine(exact)
    spiking = [node.name for node in plan.nodes if node.spikes]
    made = []
    for inputs in _batches(samples):
        recorded = engine.run(inputs, record=spiking).recorded
        spikes = {
            name: recorded[f"{name}.spikes"].astype(np.int8).reshape(*_lead(inputs), -1)
            for name in spiking
        }
        made.append(Activity(inputs, spikes))
    return made


def _batches(samples: Sequence[Rasters]) -> Iterator[Rasters]:
    """Give the samples in batches of equal length; runs of a batch share the work of a step."""
    for _, alike in groupby(samples, key=_steps):
        group = list(alike)
        for first in range(0, len(group), BATCH):
            chosen = group[first : first + BATCH]
            yield {name: np.stack([one[name] for one in chosen]) for name in chosen[0]}


def _steps(sample: Rasters) -> int:
    return len(next(iter(sample.values())))


def _lead(inputs: Rasters) -> tuple[int, int]:
    batch, steps = next(iter(inputs.values())).shape[:2]
    return batch, steps


@dataclass(frozen=True, slots=True)
class SpikeAgreement:
    """How well the spikes of a population agree with those of the float reference.

    Attributes:
        node: the population.
        float_spikes: spikes in floats.
        loihi_spikes: spikes in integers.
        matched: spikes that both have, of the same neuron in the same step.
    """

    node: str
    float_spikes: int
    loihi_spikes: int
    matched: int

    @property
    def share(self) -> float:
        """2·matched / (float + integer spikes), the Dice coefficient; 1 if both are silent."""
        spikes = self.float_spikes + self.loihi_spikes
        return 2 * self.matched / spikes if spikes else 1.0


def agreement(network: LoihiNetwork, known: Sequence[Activity]) -> tuple[SpikeAgreement, ...]:
    """Return how well the network's spikes agree with the activities, by population."""
    engine = LoihiEngine(network)
    totals: dict[str, NDArray[np.int64]] = {}
    for activity in known:
        recorded = engine.run(activity.inputs, record=list(activity.spikes)).recorded
        for name, exact in activity.spikes.items():
            made = recorded[f"{name}.spikes"].reshape(exact.shape)
            found = np.array([exact.sum(), made.sum(), np.minimum(exact, made).sum()], np.int64)
            totals[name] = totals.get(name, 0) + found
    return tuple(SpikeAgreement(name, *map(int, counts)) for name, counts in totals.items())


def overall(parts: Sequence[SpikeAgreement]) -> SpikeAgreement:
    """Return the agreement of all populations together."""
    sums = [sum(getattr(one, name) for one in parts) for name in _COUNTS]
    return SpikeAgreement("all", *sums)


_COUNTS = ("float_spikes", "loihi_spikes", "matched")
