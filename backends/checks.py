"""The pre-flight check: what of a model a target cannot do, found without running anything."""

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from backends.base import Capabilities, Violation
from backends.cores import Placement, Wires, place
from fusion.contract import ExecutionContract
from simulators.flatten import flatten
from simulators.neurons import Neuron
from simulators.operations import Weights
from simulators.plan import KINDS, Plan, make_plan

NODE_TYPE = "node type"


def check_plan(
    graph: nir.NIRGraph,
    contract: ExecutionContract,
    capabilities: Capabilities,
    supported: Mapping[str, tuple[Any, ...]],
) -> list[Violation]:
    """Return every way in which a model exceeds a target.

    Args:
        graph: the network.
        contract: how it is to be stepped.
        capabilities: what the target can do.
        supported: contract field → the choices that the target's engine implements.

    Raises:
        InvalidModel: if the graph cannot be run anywhere.
    """
    violations = node_type_violations(flatten(graph), capabilities)
    violations += choice_violations(contract, capabilities, supported)
    if all(violation.used in KINDS for violation in violations if violation.limit == NODE_TYPE):
        violations += _sizes(make_plan(graph, contract), capabilities)
    return violations


def node_type_violations(graph: nir.NIRGraph, capabilities: Capabilities) -> list[Violation]:
    """Return the nodes, of a graph without graphs inside, whose type a target does not run."""
    allowed = ", ".join(capabilities.node_types)
    return [
        Violation(name, NODE_TYPE, type(node).__name__, allowed)
        for name, node in graph.nodes.items()
        if type(node).__name__ not in capabilities.node_types
    ]


def choice_violations(
    contract: ExecutionContract,
    capabilities: Capabilities,
    supported: Mapping[str, tuple[Any, ...]],
) -> list[Violation]:
    """Return the choices of a contract that a target does not offer."""
    offered = {**supported, "arithmetic": capabilities.arithmetic}
    return [
        Violation(
            f"contract.{name}",
            "choice",
            str(value),
            " or ".join(map(str, choices)),
            str(choices[0]),
        )
        for name, choices in offered.items()
        if (value := getattr(contract, name)) not in choices
    ]


def _sizes(plan: Plan, capabilities: Capabilities) -> list[Violation]:
    neurons = {n.name: n.size for n in plan.nodes if isinstance(n.operation, Neuron)}
    synapses = {
        node.name: int(node.operation.connection.weight.size)
        for node in plan.nodes
        if isinstance(node.operation, Weights)
    }
    placement = plan_placement(plan, capabilities)
    found = total_violations(neurons, synapses, capabilities)
    return found if placement is None else [*found, *placement.violations]


def total_violations(
    neurons: Mapping[str, int], synapses: Mapping[str, int], capabilities: Capabilities
) -> list[Violation]:
    """Return whether there are too many neurons or synapses in all, each by node."""
    found = []
    for limit, sizes, allowed in (
        ("neurons", neurons, capabilities.max_neurons),
        ("synapses", synapses, capabilities.max_synapses),
    ):
        total = sum(sizes.values())
        if allowed is not None and total > allowed:
            largest = max(sizes, key=lambda name: sizes[name])
            found.append(Violation(largest, limit, str(total), str(allowed), str(allowed)))
    return found


def plan_placement(plan: Plan, capabilities: Capabilities) -> Placement | None:
    """Return a plan's neurons placed on the target's cores; None where it limits no core.

    A sender is a line into the weights in front of a neuron.
    """
    nodes = {node.name: node for node in plan.nodes}
    populations = {n.name: n.size for n in plan.nodes if isinstance(n.operation, Neuron)}
    wires = []
    for name, size in populations.items():
        for source in nodes[name].sources:
            before = nodes[source.node]
            if isinstance(before.operation, Weights):
                sender = "+".join(one.node for one in before.sources)
                connection = before.operation.connection
                wires.append(Wires(sender, name, connection.pre, connection.post))
            else:
                each = np.arange(size)
                wires.append(Wires(before.name, name, each, each))
    return place(populations, wires, capabilities)
