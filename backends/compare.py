"""One model and one input on several targets: where they differ, and by how much.

Accuracy and the similarity of activity do not follow each other, so both are told. Measures are
taken for every spiking population, by pairs of targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import nir
import numpy as np
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.contracts import LOIHI, differing
from backends.energy import EnergyReport
from fusion.contract import ExecutionContract
from simulators.neurons import Neuron
from simulators.plan import Plan, make_plan
from simulators.rasters import PopulationDifference, Raster, population_difference
from simulators.reference import ReferenceEngine

Verdict = Literal["identical", "equivalent", "different"]

TOLERANCE = 0.01
"""Mismatched bins, as a share of the spikes, that still count as equivalent."""


def raster_of(recorded: NDArray[np.generic]) -> Raster:
    """Return recorded spikes [steps, *shape] as spike counts [steps, neurons]."""
    spikes = np.asarray(recorded, np.int64)
    return spikes.reshape(len(spikes), -1)


@dataclass(frozen=True, slots=True)
class TargetRun:
    """One target's part of a comparison.

    Attributes:
        target: its name.
        contract: the contract it ran under.
        program: the model compiled for it.
        result: its run over one sample, every population recorded.
        energy: what the run took.
        label: its fused answer; None where nothing was fused.
    """

    target: str
    contract: ExecutionContract
    program: Program
    result: RunResult
    energy: EnergyReport
    label: str | None = None

    def raster(self, node: str) -> Raster:
        """Return a population's spike counts [steps, neurons]."""
        return raster_of(self.result.recorded[f"{node}.spikes"][0])


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


def compare_runs(
    graph: nir.NIRGraph,
    runs: Sequence[TargetRun],
    inputs: Mapping[str, NDArray[np.generic]],
    tolerance: float = TOLERANCE,
) -> tuple[PairComparison, ...]:
    """Compare every pair of targets.

    Args:
        graph: the model's network.
        runs: at least two targets' runs on the same input.
        inputs: Input node → [1, steps, *shape], what they ran on.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
    """
    plans = {run.target: make_plan(graph, run.contract) for run in runs}
    return tuple(
        _compare(first, second, plans, inputs, tolerance) for first, second in combinations(runs, 2)
    )


def _compare(
    first: TargetRun,
    second: TargetRun,
    plans: Mapping[str, Plan],
    inputs: Mapping[str, NDArray[np.generic]],
    tolerance: float,
) -> PairComparison:
    nodes = [node.name for node in plans[first.target].nodes if node.spikes]
    dt_s = first.contract.dt_s
    populations = tuple(
        population_difference(node, first.raster(node), second.raster(node), dt_s) for node in nodes
    )
    differences = differing(first.contract, second.contract)
    agree = None if first.label is None else first.label == second.label
    return PairComparison(
        (first.target, second.target),
        differences,
        populations,
        _first_divergence(nodes, first, second, plans, inputs),
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


def _first_divergence(
    nodes: Sequence[str],
    first: TargetRun,
    second: TargetRun,
    plans: Mapping[str, Plan],
    inputs: Mapping[str, NDArray[np.generic]],
) -> Divergence | None:
    earliest: tuple[int, str, int] | None = None
    for node in nodes:  # in plan order: of one step, the population nearest the input comes first
        differs = first.raster(node) != second.raster(node)
        if differs.any() and (earliest is None or int(np.argwhere(differs)[0][0]) < earliest[0]):
            step, neuron = (int(index) for index in np.argwhere(differs)[0])
            earliest = step, node, neuron
    if earliest is None:
        return None
    step, node, neuron = earliest
    spikes = tuple(int(run.raster(node)[step, neuron]) for run in (first, second))
    tested = [_tested(run, plans[run.target], inputs, earliest) for run in (first, second)]
    threshold = _threshold(plans[first.target], node, neuron)
    margins = [None if v is None or threshold is None else v - threshold for v in tested]
    return Divergence(
        node, step, neuron, (spikes[0], spikes[1]), (tested[0], tested[1]), threshold,
        (margins[0], margins[1]),
    )  # fmt: skip


def _threshold(plan: Plan, node: str, neuron: int) -> float | None:
    operation = next(one.operation for one in plan.nodes if one.name == node)
    if not isinstance(operation, Neuron) or operation.spiking is None:
        return None
    return float(operation.spiking.v_threshold[neuron])


def _tested(
    run: TargetRun,
    plan: Plan,
    inputs: Mapping[str, NDArray[np.generic]],
    place: tuple[int, str, int],
) -> float | None:
    """Return the membrane potential that a target tested, before its reset hid it.

    The target's own state before the step goes through one step of the reference, in which the
    population's threshold is out of reach. None where the state is not that of the reference.
    """
    step, node, neuron = place
    if _threshold(plan, node, neuron) is None or run.contract.arithmetic == LOIHI:
        return None
    engine = ReferenceEngine(_without_spikes(plan, node))
    now = {name: np.asarray(values)[:, step : step + 1] for name, values in inputs.items()}
    state = None
    if step:
        before = {name: np.asarray(values)[:, :step] for name, values in inputs.items()}
        state = run.program.run(before).state
        if not state:
            return None
    trace = engine.run(now, state=state, record=[node])
    return float(trace.recorded[f"{node}.v"].reshape(-1)[neuron])


def _without_spikes(plan: Plan, name: str) -> Plan:
    def silent(operation: Neuron) -> Neuron:
        assert operation.spiking is not None
        out_of_reach = np.full_like(operation.spiking.v_threshold, np.inf)
        return replace(operation, spiking=replace(operation.spiking, v_threshold=out_of_reach))

    nodes = tuple(
        replace(node, operation=silent(node.operation))
        if node.name == name and isinstance(node.operation, Neuron)
        else node
        for node in plan.nodes
    )
    return replace(plan, nodes=nodes)
