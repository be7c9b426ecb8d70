"""What a neuron tested in a step: its membrane potential before the reset hid it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.base import Program
from backends.compare import Place, Potential
from backends.contracts import LOIHI
from fusion.contract import ExecutionContract
from simulators.neurons import Neuron
from simulators.plan import Plan
from simulators.reference import ReferenceEngine

Batch = Mapping[str, NDArray[np.generic]]


def potential_at(
    place: Place, program: Program, plan: Plan, contract: ExecutionContract, batch: Batch
) -> Potential:
    """Return what a target tested at a place.

    The target's own state before the step goes through one step of the reference, in which the
    population's threshold is out of reach. The potential is None where the state is not that of the
    reference.

    Args:
        place: a neuron in a step.
        program: the model compiled for the target.
        plan: the model's plan under the target's contract.
        contract: that contract.
        batch: Input node → [1, steps, *shape], what it ran on.
    """
    threshold = _threshold(plan, place)
    if threshold is None or contract.arithmetic == LOIHI:
        return Potential(None, threshold)
    step = place.step
    state = None
    if step:
        state = program.run({name: values[:, :step] for name, values in batch.items()}).state
        if not state:
            return Potential(None, threshold)
    now = {name: values[:, step : step + 1] for name, values in batch.items()}
    engine = ReferenceEngine(_without_spikes(plan, place.node))
    trace = engine.run(now, state=state, record=[place.node])
    v = trace.recorded[f"{place.node}.v"].reshape(-1)[place.neuron]
    return Potential(float(v), threshold)


def _threshold(plan: Plan, place: Place) -> float | None:
    operation = next(one.operation for one in plan.nodes if one.name == place.node)
    if not isinstance(operation, Neuron) or operation.spiking is None:
        return None
    return float(operation.spiking.v_threshold[place.neuron])


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
