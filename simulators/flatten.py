"""Nested NIR graphs made flat: node `inner` of subgraph `outer` becomes `outer.inner`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import nir

from fusion.errors import InvalidModel
from simulators.order import Edge, check_ends

_MOST_EDGES = 100_000


def flatten(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Return the graph without subgraphs; a graph that has none is returned as it is.

    The Input and Output nodes of a subgraph become edges. An edge may name one of them as
    `outer.input`; an edge to `outer` alone means the only one, or, where there are several, the one
    that is named like the edge's other end.

    Raises:
        InvalidModel: naming the edge that fits no Input or Output of a subgraph, or the node whose
            new name another one has.
    """
    if not any(isinstance(node, nir.NIRGraph) for node in graph.nodes.values()):
        return graph
    flat = _Flat({}, [], set(), {})
    flat.take(graph, "")
    return nir.NIRGraph(flat.nodes, _without(flat), type_check=False)


@dataclass
class _Flat:
    """A graph under construction; `passages` are the Input and Output nodes of subgraphs."""

    nodes: dict[str, Any]
    edges: list[Edge]
    passages: set[str]
    subgraphs: dict[str, nir.NIRGraph]

    def take(self, graph: nir.NIRGraph, prefix: str) -> None:
        for key, node in graph.nodes.items():
            name = f"{prefix}{key}"
            if isinstance(node, nir.NIRGraph):
                self.subgraphs[name] = node
                self.take(node, f"{name}.")
                continue
            if name in self.nodes:
                raise InvalidModel(f"nodes.{name}", "another node has this name after flattening")
            if prefix and isinstance(node, nir.Input | nir.Output):
                self.passages.add(name)
            self.nodes[name] = node
        for source, target in graph.edges:
            start, end = f"{prefix}{source}", f"{prefix}{target}"
            field = f"edges[{start} -> {end}]"
            leaving = self._port(start, target, nir.Output, field)
            self.edges.append((leaving, self._port(end, source, nir.Input, field)))

    def _port(self, name: str, other: str, kind: type, field: str) -> str:
        """Return the node that an edge's end means."""
        if name not in self.subgraphs:
            return name
        ports = [key for key, n in self.subgraphs[name].nodes.items() if isinstance(n, kind)]
        if len(ports) > 1 and other in ports:
            return f"{name}.{other}"
        if len(ports) != 1:
            raise InvalidModel(
                field,
                f"the subgraph {name!r} has {len(ports)} {kind.__name__} nodes",
                " or ".join(f"{name}.{port}" for port in ports[:20])
                or f"exactly one {kind.__name__}",
            )
        return f"{name}.{ports[0]}"


def _without(flat: _Flat) -> list[Edge]:
    """Take the passages out of the nodes and return the edges that lead through them."""
    check_ends(flat.nodes, flat.edges)
    edges = dict.fromkeys(_unique(flat.edges))
    for passage in sorted(flat.passages):
        before = [source for source, target in edges if target == passage]
        after = [target for source, target in edges if source == passage]
        if len(edges) + len(before) * len(after) > _MOST_EDGES:
            raise InvalidModel(
                f"nodes.{passage}",
                f"{len(before)} edges into it and {len(after)} out of it are too many",
                f"at most {_MOST_EDGES} edges once subgraphs are flattened",
            )
        through = [(source, target) for source in before for target in after]
        edges = {edge: None for edge in edges if passage not in edge}
        edges |= dict.fromkeys(_unique([*edges, *through])[len(edges) :])
        del flat.nodes[passage]
        if not before and after:
            raise InvalidModel(f"nodes.{passage}", "nothing leads to this input of a subgraph")
    return list(edges)


def _unique(edges: Iterable[Edge]) -> list[Edge]:
    seen: dict[Edge, None] = {}
    for edge in edges:
        if edge in seen:
            raise InvalidModel(
                f"edges[{edge[0]} -> {edge[1]}]",
                "two ways lead from the one to the other once subgraphs are flattened",
                "a Scale on one of them",
            )
        seen[edge] = None
    return list(seen)
