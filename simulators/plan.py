"""A NIR graph made ready to step: checked nodes in execution order, with delays on their edges."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import nir
import numpy as np

from fusion.contract import FLOATS, ExecutionContract
from fusion.errors import InvalidContract, InvalidModel
from simulators import order
from simulators.draft import Draft, Source, make_drafts, named
from simulators.neurons import Neuron
from simulators.operations import Operation, Shape, Thresholding


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node of a plan.

    Attributes:
        name: the node's name in the graph.
        kind: its NIR type.
        shape: shape of its output; inside the engines it is flat, in C order.
        operation: what it does in a step.
        sources: whose outputs are added, in this order, to give its input.
    """

    name: str
    kind: str
    shape: Shape
    operation: Operation
    sources: tuple[Source, ...]

    @property
    def size(self) -> int:
        """Number of elements of its output."""
        return math.prod(self.shape)

    @property
    def spikes(self) -> bool:
        """Whether its output is spikes."""
        operation = self.operation
        return isinstance(operation, Thresholding) or (
            isinstance(operation, Neuron) and operation.spiking is not None
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph in the order in which its nodes are stepped, and the contract."""

    nodes: tuple[PlanNode, ...]
    contract: ExecutionContract

    def reads_old_current(self, neuron: Neuron) -> bool:
        """Return whether a neuron's output does not depend on its input of the same step."""
        return self.contract.membrane_reads == "old_current" and neuron.synapse is not None

    @property
    def float_type(self) -> np.dtype[np.floating]:
        """The contract's floating-point type.

        Raises:
            InvalidContract: if the contract asks for a chip's integers.
        """
        if self.contract.arithmetic not in FLOATS:
            raise InvalidContract(
                "contract.arithmetic", f"{self.contract.arithmetic} is not floating-point",
                " or ".join(FLOATS),
            )  # fmt: skip
        return np.dtype(self.contract.arithmetic)

    def of_kind(self, kind: str) -> tuple[PlanNode, ...]:
        """Return the nodes of a NIR type, by name."""
        chosen = (node for node in self.nodes if node.kind == kind)
        return tuple(sorted(chosen, key=lambda node: node.name))


def make_plan(graph: nir.NIRGraph, contract: ExecutionContract) -> Plan:
    """Check a graph, nested or not, and put its nodes in execution order.

    Raises:
        InvalidModel: naming the first node or edge that cannot be used, and why.
    """
    drafts = make_drafts(graph, contract)
    plan = Plan(tuple(_built(draft, contract) for draft in drafts), contract)
    return _in_order(plan)


def _built(draft: Draft, contract: ExecutionContract) -> PlanNode:
    with named(draft.name), np.errstate(all="ignore"):
        operation = draft.made.build()
        _refuse_overflow(operation, contract)
    return PlanNode(draft.name, draft.kind, draft.made.shape, operation, draft.sources)


def _refuse_overflow(part: Any, contract: ExecutionContract) -> None:
    """Refuse numbers that the contract's arithmetic does not hold, such as 1 / 1e-320."""
    floats = contract.arithmetic if contract.arithmetic in FLOATS else "float64"
    most = np.finfo(floats).max
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            _refuse_overflow(value, contract)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            beyond = ~(np.abs(value) <= most)
            if np.any(beyond):
                problem = f"becomes {value[beyond][0]:.6g}, which {floats} lacks"
                raise InvalidModel(
                    field.name, problem, f"parameters that keep it within {most:.2g}"
                )


def _in_order(plan: Plan) -> Plan:
    """Return the plan in an order in which a step can run, which loops without delay may change.

    Raises:
        InvalidModel: naming a node on a loop that has neither a delay nor a synaptic current.
    """
    if plan.contract.recurrent_delay_steps:
        return plan
    delayed = {
        (source.node, node.name)
        for node in plan.nodes
        for source in node.sources
        if source.delay_steps
    }
    nodes = {node.name: node for node in plan.nodes}
    edges = [(source.node, node.name) for node in plan.nodes for source in node.sources]
    taken_last = {
        (source, target)
        for source, target in edges
        if isinstance(neuron := nodes[target].operation, Neuron) and plan.reads_old_current(neuron)
    }
    names = order.execution_order(nodes, edges, delayed | taken_last)
    if len(names) < len(nodes):
        stuck = order.cycle(set(nodes) - set(names), set(edges) - delayed - taken_last)
        raise InvalidModel(
            f"nodes.{stuck[0]}",
            f"the loop {' -> '.join([*stuck, stuck[0]])} has no synaptic current, "
            "so it cannot run with recurrent_delay_steps 0",
            "recurrent_delay_steps 1, or a CubaLIF or CubaLI in the loop",
        )
    return Plan(tuple(nodes[name] for name in names), plan.contract)


def output_populations(plan: Plan) -> tuple[str, ...]:
    """Return the spiking nodes from which an Output is reached without passing another one."""
    nodes = {node.name: node for node in plan.nodes}
    pending = [node.name for node in plan.of_kind("Output")]
    seen, found = set(pending), set()
    while pending:
        for source in nodes[pending.pop()].sources:
            if nodes[source.node].spikes:
                found.add(source.node)
            elif source.node not in seen:
                seen.add(source.node)
                pending.append(source.node)
    return tuple(sorted(found))
