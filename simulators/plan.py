"""A NIR graph made ready to step: checked nodes in execution order, with delays on their edges."""

import math
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from fusion.contract import FLOATS, ExecutionContract
from fusion.errors import InvalidContract, InvalidModel
from simulators import order
from simulators.flatten import flatten
from simulators.neurons import PARAMETERS, Neuron, make_neuron
from simulators.operations import (
    MAKERS,
    STATELESS,
    WEIGHTED,
    Operation,
    Shape,
    Thresholding,
    Weights,
)

KINDS = frozenset([*MAKERS, *PARAMETERS])
"""NIR types that a plan knows."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a node's input comes from, and how many steps later it arrives."""

    node: str
    delay_steps: int


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
    graph = flatten(graph)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    edges = _checked_edges(graph, kinds)
    _refuse_batch_dimensions(graph, edges)
    closing = _closing_edges(kinds, edges, contract)
    weighted = {name for name, kind in kinds.items() if kind in WEIGHTED}
    steps = contract.recurrent_delay_steps, contract.feedforward_delay_steps
    delays = order.step_delays(edges, closing, weighted, *steps)
    plan: dict[str, PlanNode] = {}
    for name in order.execution_order(kinds, edges, closing):
        sources = sorted(source for source, target in edges if target == name)
        shape = _input_shape(name, graph.nodes[name], sources, plan)
        arriving = tuple(Source(source, delays[source, name]) for source in sources)
        plan[name] = _plan_node(name, graph.nodes[name], shape, contract, arriving)
    _check_shapes(plan)
    return _in_order(
        Plan(tuple(plan.values()), contract), {e for e, late in delays.items() if late}
    )


def _closing_edges(
    kinds: dict[str, str], edges: list[order.Edge], contract: ExecutionContract
) -> set[order.Edge]:
    """Return the edges on which the delay of a loop lies."""
    inputs = [name for name, kind in kinds.items() if kind == "Input"]
    closing = order.closing_edges(kinds, edges, inputs)
    if contract.recurrent_delay_at == "after_weights":
        return closing
    stateless = [name for name, kind in kinds.items() if kind in STATELESS]
    return order.delays_at_spikes(edges, closing, stateless)


def _in_order(plan: Plan, delayed: set[order.Edge]) -> Plan:
    """Return the plan in an order in which a step can run, which loops without delay may change.

    Raises:
        InvalidModel: naming a node on a loop that has neither a delay nor a synaptic current.
    """
    if plan.contract.recurrent_delay_steps:
        return plan
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


def _checked_edges(graph: nir.NIRGraph, kinds: dict[str, str]) -> list[order.Edge]:
    for name, kind in kinds.items():
        if kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise InvalidModel(f"nodes.{name}", f"{kind} is not supported", known)
    edges = [(str(source), str(target)) for source, target in graph.edges]
    if len(set(edges)) < len(edges):
        source, target = next(edge for edge in edges if edges.count(edge) > 1)
        raise InvalidModel(f"edges[{source} -> {target}]", "is listed twice")
    for kind in ("Input", "Output"):
        if kind not in kinds.values():
            raise InvalidModel("nodes", f"the graph has no {kind} node")
    fed = {target for _, target in edges}
    for name, kind in kinds.items():
        if kind == "Input" and name in fed:
            raise InvalidModel(f"nodes.{name}", "an Input cannot have an incoming edge")
        if kind != "Input" and name not in fed:
            raise InvalidModel(f"nodes.{name}", "nothing leads to it")
    return edges


def _refuse_batch_dimensions(graph: nir.NIRGraph, edges: list[order.Edge]) -> None:
    """Refuse an Input with one dimension more than the node that it leads to takes."""
    for source, target in edges:
        if not isinstance(graph.nodes[source], nir.Input):
            continue
        shape = _declared_shape(graph.nodes[source])
        if shape is not None and len(shape) > 1 and _takes(graph.nodes[target], shape[1:]):
            raise InvalidModel(
                f"nodes.{source}.shape",
                f"{list(shape)} holds a batch dimension, for {target} takes {list(shape[1:])}",
                f"{list(shape[1:])}: export without the batch dimension",
            )


def _takes(node: Any, shape: Shape) -> bool:
    """Return whether a node takes the shape, and none with a dimension more."""
    kind = type(node).__name__
    if kind in PARAMETERS:
        sizes = [np.shape(getattr(node, name, ())) for name in PARAMETERS[kind]]
        return shape in sizes
    weight = np.shape(getattr(node, "weight", ()))
    if kind in ("Linear", "Affine"):
        return len(weight) == 2 and shape == weight[1:]
    if kind in ("Conv1d", "Conv2d"):
        return len(shape) == len(weight) - 1
    return kind in ("SumPool2d", "AvgPool2d") and len(shape) == 3


def _plan_node(
    name: str, node: Any, shape: Shape, contract: ExecutionContract, sources: tuple[Source, ...]
) -> PlanNode:
    kind = type(node).__name__
    try:
        if kind in PARAMETERS:
            params = {key: getattr(node, key, None) for key in PARAMETERS[kind]}
            neuron = make_neuron(kind, params, shape, contract)
            return PlanNode(name, kind, shape, neuron, sources)
        operation, output_shape = MAKERS[kind](node, shape, contract)
    except InvalidModel as error:
        field = f"nodes.{name}.{error.field}"
        raise InvalidModel(field, error.problem, error.nearest) from None
    return PlanNode(name, kind, output_shape, operation, sources)


def _input_shape(name: str, node: Any, sources: list[str], plan: dict[str, PlanNode]) -> Shape:
    """Return what the node's sources deliver, else what the node itself declares."""
    for source in sources:
        if source in plan:
            return plan[source].shape
    declared = _declared_shape(node)
    if declared is None:
        raise InvalidModel(f"nodes.{name}", "its input shape cannot be inferred")
    return declared


def _declared_shape(node: Any) -> Shape | None:
    declared = (node.input_type or {}).get("input")
    return None if declared is None else tuple(int(extent) for extent in np.atleast_1d(declared))


def _check_shapes(plan: dict[str, PlanNode]) -> None:
    """Check that every source delivers what its target takes."""
    for node in plan.values():
        sizes = {source.node: plan[source.node].shape for source in node.sources}
        expected = _expected_size(node)
        for source, shape in sizes.items():
            if math.prod(shape) != expected:
                raise InvalidModel(
                    f"edges[{source} -> {node.name}]",
                    f"delivers shape {list(shape)}, {math.prod(shape)} values, "
                    f"but {node.name} takes {expected}",
                )


def _expected_size(node: PlanNode) -> int:
    if isinstance(node.operation, Weights):
        return node.operation.connection.n_pre
    return node.size
