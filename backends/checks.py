"""The pre-flight check: what of a model a target cannot do, found without running anything."""

from collections.abc import Mapping, Sequence
from typing import Any

import nir
import numpy as np

from backends.base import Capabilities, Violation
from backends.cores import Placement, Wires, place
from backends.errors import ModelRejected
from backends.limits import SizeLimits
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.draft import KINDS, NodeSize, measure
from simulators.flatten import flatten
from simulators.neurons import Neuron
from simulators.operations import Weights
from simulators.plan import Plan, make_plan

NODE_TYPE = "node type"
SIZES = ("neurons", "synapses", "values", "delay_values")
"""What is counted of a model: fields of `NodeSize`."""


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
        violations += _sizes(graph, contract, capabilities)
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


def _sizes(
    graph: nir.NIRGraph, contract: ExecutionContract, capabilities: Capabilities
) -> list[Violation]:
    found = size_violations(
        measure(graph, contract),
        {name: getattr(capabilities, f"max_{name}") for name in SIZES},
    )
    if found:
        return found
    placement = plan_placement(make_plan(graph, contract), capabilities)
    return [] if placement is None else list(placement.violations)


def size_violations(
    nodes: Sequence[NodeSize], allowed: Mapping[str, int | None]
) -> list[Violation]:
    """Return the sizes, of `SIZES`, that exceed what is allowed, each naming the largest node."""
    found = []
    for name in SIZES:
        sizes = {node.node: getattr(node, name) for node in nodes}
        found += _total(name.replace("_", " "), sizes, allowed[name])
    return found


def refuse_oversize(
    model: FusionModel, contract: ExecutionContract, target: str, limits: SizeLimits
) -> None:
    """Return if this process can make a model ready for a target, whatever the target itself takes.

    Raises:
        InvalidModel: if the graph cannot be run anywhere.
        ModelRejected: naming every limit that it exceeds.
    """
    kinds = {type(node).__name__ for node in flatten(model.graph).nodes.values()}
    if not kinds <= KINDS:  # what a backend of its own knows, it has to size
        return
    allowed = {name: getattr(limits, name) for name in SIZES}
    found = size_violations(measure(model.graph, contract), allowed)
    if found:
        raise ModelRejected(target, found)


def total_violations(
    neurons: Mapping[str, int], synapses: Mapping[str, int], capabilities: Capabilities
) -> list[Violation]:
    """Return whether there are too many neurons or synapses in all, each by node."""
    return [
        *_total("neurons", neurons, capabilities.max_neurons),
        *_total("synapses", synapses, capabilities.max_synapses),
    ]


def _total(limit: str, sizes: Mapping[str, int], allowed: int | None) -> list[Violation]:
    total = sum(sizes.values())
    if allowed is None or total <= allowed:
        return []
    largest = max(sizes, key=lambda name: sizes[name])
    return [Violation(largest, limit, str(total), str(allowed), str(allowed))]


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
