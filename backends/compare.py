"""One model and one input on several targets: where they differ, and by how much.

Accuracy and the similarity of activity do not follow each other, so both are told. Measures are
taken for every spiking population, by pairs of targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backends.contracts import differing
from backends.energy import EnergyReport
from fusion.contract import ExecutionContract
from simulators.rasters import PopulationDifference, Raster, population_difference

Verdict = Literal["identical", "equivalent", "different"]

TOLERANCE = 0.01
"""Mismatched bins, as a share of the spikes, that still count as equivalent."""


def raster_of(recorded: NDArray[np.generic]) -> Raster:
    """Return recorded spikes [steps, *shape] as spike counts [steps, neurons]."""
    spikes = np.asarray(recorded, np.int64)
    return spikes.reshape(len(spikes), -1)


@dataclass(frozen=True, slots=True)
class TargetRun:
    """One target's part of a comparison: plain values, wherever the run was.

    Attributes:
        target: its name.
        contract: the contract it ran under.
        label: its fused answer; None where nothing was fused.
        recorded: spiking population → spikes [steps, *shape], in the order of the model's plan.
        spikes: population → spikes.
        synaptic_events: synapses that carried a spike.
        steps: time steps run.
        run_s: seconds the run took.
        energy: what the run took.
    """

    target: str
    contract: ExecutionContract
    label: str | None
    recorded: Mapping[str, NDArray[np.generic]]
    spikes: Mapping[str, int]
    synaptic_events: int
    steps: int
    run_s: float
    energy: EnergyReport

    def raster(self, node: str) -> Raster:
        """Return a population's spike counts [steps, neurons]."""
        return raster_of(self.recorded[node])


@dataclass(frozen=True, slots=True)
class Place:
    """A neuron in a time step.

    Attributes:
        node: population.
        step: time step.
        neuron: flat index in the population.
    """

    node: str
    step: int
    neuron: int


@dataclass(frozen=True, slots=True)
class Potential:
    """What a target's neuron tested in a step, before its reset hid it.

    Attributes:
        v: membrane potential; None where it is not known.
        threshold: what it was tested against; None where the neuron has none.
    """

    v: float | None
    threshold: float | None


Pair = tuple[str, str]
"""Names of two targets."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first spike that differs.

    Attributes:
        node: population.
        step: time step.
        neuron: flat index in the population.
        spikes: spikes of the neuron in that step, in the first and the second target.
        v: membrane potential that was tested against the threshold; None where it is not known.
        threshold: the threshold.
        margin: v − threshold.
    """

    node: str
    step: int
    neuron: int
    spikes: tuple[int, int]
    v: tuple[float | None, float | None]
    threshold: float | None
    margin: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two targets compared.

    Attributes:
        targets: their names.
        contract_differences: contract field → its two values, where they differ.
        populations: differences by population.
        divergence: the first spike that differs, None if none does.
        decisions_agree: whether the fused labels are equal; None where nothing was fused.
        verdict: `identical` if no spike and no contract field differs; `equivalent` if, after the
            best lag, mismatched bins are at most `tolerance` of the spikes and the decisions agree.
        tolerance: share of the spikes.
    """

    targets: tuple[str, str]
    contract_differences: Mapping[str, tuple[Any, Any]]
    populations: tuple[PopulationDifference, ...]
    divergence: Divergence | None
    decisions_agree: bool | None
    verdict: Verdict
    tolerance: float


def first_differences(runs: Sequence[TargetRun]) -> dict[Pair, Place]:
    """Return for every two runs on the same input the first spike that differs, if one does."""
    found = {
        (first.target, second.target): _first_difference(first, second)
        for first, second in combinations(runs, 2)
    }
    return {pair: place for pair, place in found.items() if place is not None}


def places_to_test(differences: Mapping[Pair, Place]) -> dict[str, list[Place]]:
    """Return target → where it has to be asked what was tested, each place once."""
    places: dict[str, dict[Place, None]] = {}
    for pair, place in differences.items():
        for target in pair:
            places.setdefault(target, {})[place] = None
    return {target: list(found) for target, found in places.items()}


def compare_runs(
    runs: Sequence[TargetRun],
    differences: Mapping[Pair, Place],
    tested: Mapping[str, Mapping[Place, Potential]],
    tolerance: float = TOLERANCE,
) -> tuple[PairComparison, ...]:
    """Compare every pair of targets.

    Args:
        runs: at least two targets' runs on the same input.
        differences: what `first_differences` says of them.
        tested: target → what it tested where `places_to_test` says.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
    """
    return tuple(
        _compare(first, second, differences.get((first.target, second.target)), tested, tolerance)
        for first, second in combinations(runs, 2)
    )


def _compare(
    first: TargetRun,
    second: TargetRun,
    place: Place | None,
    tested: Mapping[str, Mapping[Place, Potential]],
    tolerance: float,
) -> PairComparison:
    dt_s = first.contract.dt_s
    populations = tuple(
        population_difference(node, first.raster(node), second.raster(node), dt_s)
        for node in first.recorded
    )
    differences = differing(first.contract, second.contract)
    agree = None if first.label is None else first.label == second.label
    return PairComparison(
        (first.target, second.target),
        differences,
        populations,
        None if place is None else _divergence(first, second, place, tested),
        agree,
        verdict_on(populations, bool(differences), agree is not False, tolerance),
        tolerance,
    )


def verdict_on(
    populations: Sequence[PopulationDifference], contracts_differ: bool, agree: bool, share: float
) -> Verdict:
    """Return the verdict on two targets, as `PairComparison` has it.

    Args:
        populations: differences by population.
        contracts_differ: whether any contract field does.
        agree: whether the decisions do not differ.
        share: the tolerance.
    """
    if not contracts_differ and agree and not any(one.mismatched for one in populations):
        return "identical"
    within = all(one.mismatched_at_lag <= share * max(one.spikes) for one in populations)
    return "equivalent" if within and agree else "different"


def _first_difference(first: TargetRun, second: TargetRun) -> Place | None:
    earliest: Place | None = None
    for node in first.recorded:  # in plan order: of one step, the one nearest the input comes first
        differs = first.raster(node) != second.raster(node)
        if differs.any():
            step, neuron = (int(index) for index in np.argwhere(differs)[0])
            if earliest is None or step < earliest.step:
                earliest = Place(node, step, neuron)
    return earliest


def _divergence(
    first: TargetRun,
    second: TargetRun,
    place: Place,
    tested: Mapping[str, Mapping[Place, Potential]],
) -> Divergence:
    here, there = (tested[run.target][place] for run in (first, second))
    spikes = [int(run.raster(place.node)[place.step, place.neuron]) for run in (first, second)]
    threshold = here.threshold
    margins = [None if v is None or threshold is None else v - threshold for v in (here.v, there.v)]
    return Divergence(
        place.node, place.step, place.neuron, (spikes[0], spikes[1]), (here.v, there.v), threshold,
        (margins[0], margins[1]),
    )  # fmt: skip
