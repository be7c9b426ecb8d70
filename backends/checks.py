"""The pre-flight check: what of a model a target cannot do, found without running anything."""

from collections.abc import Mapping
from typing import Any

import nir

from backends.base import Capabilities, Violation
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
    violations = _node_types(flatten(graph), capabilities)
    violations += _choices(contract, capabilities, supported)
    if all(violation.used in KINDS for violation in violations if violation.limit == NODE_TYPE):
        violations += _sizes(make_plan(graph, contract), capabilities)
    return violations


def _node_types(graph: nir.NIRGraph, capabilities: Capabilities) -> list[Violation]:
    allowed = ", ".join(capabilities.node_types)
    return [
        Violation(name, NODE_TYPE, type(node).__name__, allowed)
        for name, node in graph.nodes.items()
        if type(node).__name__ not in capabilities.node_types
    ]


def _choices(
    contract: ExecutionContract,
    capabilities: Capabilities,
    supported: Mapping[str, tuple[Any, ...]],
) -> list[Violation]:
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
