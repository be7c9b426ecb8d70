"""Small graphs written out by hand, and one line to run them in the reference engine."""

from itertools import pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract, make_contract
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine
from simulators.trace import Trace


def graph(nodes: dict[str, Any], *edges: str) -> nir.NIRGraph:
    """Return a graph; an edge is written `source -> target`, a chain with more arrows."""
    pairs = []
    for edge in edges:
        pairs += list(pairwise(edge.split(" -> ")))
    return nir.NIRGraph(nodes, pairs, type_check=False)


def chain(*middle: Any, size: int = 1, out: int | None = None) -> nir.NIRGraph:
    """Return in -> n0 -> n1 -> … -> out."""
    nodes = {f"n{n}": node for n, node in enumerate(middle)}
    ends = {"in": nir.Input(np.array([size])), "out": nir.Output(np.array([out or size]))}
    return graph(nodes | ends, " -> ".join(["in", *nodes, "out"]))


def contract(**choices: Any) -> ExecutionContract:
    """Return the profile `nir` with a step of 1 ms and these choices."""
    return make_contract("nir", 1e-3, choices)


def run(
    network: nir.NIRGraph, inputs: Any, under: ExecutionContract | None = None, **options: Any
) -> Trace:
    """Run a graph over inputs, a dict or [steps] for the only neuron of the node `in`."""
    if not isinstance(inputs, dict):
        inputs = {"in": np.asarray(inputs, float).reshape(1, -1, 1)}
    engine = ReferenceEngine(make_plan(network, under or contract()))
    return engine.run(inputs, **{"record": ["all"], **options})


def values(recorded: NDArray[Any]) -> list[float]:
    """Return the record of the only neuron of the only sample, step by step."""
    assert recorded.shape[0] == 1
    assert recorded[0, 0].size == 1
    return [float(value) for value in recorded.ravel()]


def filled(kind: str, size: int = 1, **params: float) -> Any:
    """Return a NIR node whose parameters are the same for every neuron."""
    return getattr(nir, kind)(**{name: np.full(size, value) for name, value in params.items()})
