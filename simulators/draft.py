"""Nodes of a graph before they take memory: checked, in execution order, with shapes and sizes."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import nir
import numpy as np

from fusion.contract import ExecutionContract
from fusion.errors import InvalidModel
from simulators import order
from simulators.flatten import flatten
from simulators.neurons import PARAMETERS, make_neuron
from simulators.operations import MAKERS, STATELESS, WEIGHTED, Made, Shape

KINDS = frozenset([*MAKERS, *PARAMETERS])
"""NIR types that a plan knows."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a node's input comes from, and how many steps later it arrives."""

    node: str
    delay_steps: int


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What one node takes when it is run.

    Attributes:
        node: its name.
        kind: its NIR type.
        values: elements of its output, in every step.
        neurons: the same for a node of neurons, else 0.
        synapses: weights that are not 0.
        delay_values: values held back by its own delay and by the delays on the edges into it.
    """

    node: str
    kind: str
    values: int
    neurons: int
    synapses: int
    delay_values: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A node before its operation is built; it takes `takes` values in a step."""

    name: str
    kind: str
    takes: int
    made: Made
    sources: tuple[Source, ...]

    @property
    def size(self) -> int:
        """Number of elements of its output."""
        return math.prod(self.made.shape)


def measure(graph: nir.NIRGraph, contract: ExecutionContract) -> tuple[NodeSize, ...]:
    """Return what every node of a graph takes, nested or not, without taking it.

    Raises:
        InvalidModel: naming the first node or edge that cannot be used, whatever its parameters.
    """
    drafts = make_drafts(graph, contract)
    sizes = {draft.name: draft.size for draft in drafts}
    return tuple(
        NodeSize(
            draft.name,
            draft.kind,
            draft.size,
            draft.size if draft.kind in PARAMETERS else 0,
            draft.made.synapses,
            draft.size * draft.made.delay_steps
            + sum(sizes[source.node] * source.delay_steps for source in draft.sources),
        )
        for draft in drafts
    )


def make_drafts(graph: nir.NIRGraph, contract: ExecutionContract) -> tuple[Draft, ...]:
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
    arriving: dict[str, list[Source]] = {name: [] for name in kinds}
    for source, target in sorted(edges):
        arriving[target].append(Source(source, delays[source, target]))
    drafts: dict[str, Draft] = {}
    for name in order.execution_order(kinds, edges, closing):
        sources = tuple(arriving[name])
        shape = _input_shape(name, graph.nodes[name], sources, drafts)
        made = _made(name, graph.nodes[name], shape, contract)
        drafts[name] = Draft(name, kinds[name], math.prod(shape), made, sources)
    _check_shapes(drafts)
    return tuple(drafts.values())


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


def _checked_edges(graph: nir.NIRGraph, kinds: dict[str, str]) -> list[order.Edge]:
    for name, kind in kinds.items():
        if kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise InvalidModel(f"nodes.{name}", f"{kind} is not supported", known)
    edges = [(str(source), str(target)) for source, target in graph.edges]
    order.check_ends(kinds, edges)
    if len(set(edges)) < len(edges):
        source, target = Counter(edges).most_common(1)[0][0]
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


def _made(name: str, node: Any, shape: Shape, contract: ExecutionContract) -> Made:
    kind = type(node).__name__
    if kind in PARAMETERS:
        params = {key: getattr(node, key, None) for key in PARAMETERS[kind]}
        return Made(shape, partial(make_neuron, kind, params, shape, contract))
    with named(name):
        return MAKERS[kind](node, shape, contract)


@contextmanager
def named(node: str) -> Iterator[None]:
    """Put a node's name before the parameter that an error names."""
    try:
        yield
    except InvalidModel as error:
        field = f"nodes.{node}.{error.field}"
        raise InvalidModel(field, error.problem, error.nearest) from None


def _input_shape(
    name: str, node: Any, sources: tuple[Source, ...], drafts: Mapping[str, Draft]
) -> Shape:
    """Return what the node's sources deliver, else what the node itself declares."""
    for source in sources:
        if source.node in drafts:
            return drafts[source.node].made.shape
    declared = _declared_shape(node)
    if declared is None:
        raise InvalidModel(f"nodes.{name}", "its input shape cannot be inferred")
    return declared


def _declared_shape(node: Any) -> Shape | None:
    declared = (node.input_type or {}).get("input")
    return None if declared is None else tuple(int(extent) for extent in np.atleast_1d(declared))


def _check_shapes(drafts: Mapping[str, Draft]) -> None:
    """Check that every source delivers what its target takes."""
    for draft in drafts.values():
        for source in draft.sources:
            shape = drafts[source.node].made.shape
            if math.prod(shape) != draft.takes:
                raise InvalidModel(
                    f"edges[{source.node} -> {draft.name}]",
                    f"delivers shape {list(shape)}, {math.prod(shape)} values, "
                    f"but {draft.name} takes {draft.takes}",
                )
