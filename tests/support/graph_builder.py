"""Random graphs that use every node type, with their shapes and the features they hold."""

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators.operations import MAKERS

SPIKING = ("LIF", "CubaLIF", "IF")
NEURONS = ("LIF", "CubaLIF", "LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")
CUBA = (nir.CubaLI, nir.CubaLIF)
SIZES = (1, 2, 3, 5, 8, 12, 17)


class GraphBuilder:
    """Builds one graph; its times are in the unit that the contract says.

    Args:
        rng: draws the structure.
        values: draws the sizes of populations and all numbers; graphs that differ by it alone have
            the same nodes and edges.
        contract: the contract that the graph will run under.
    """

    def __init__(
        self, rng: np.random.Generator, values: np.random.Generator, contract: ExecutionContract
    ) -> None:
        self.rng = rng
        self.values = values
        # One size for another: what has the same size as something else keeps it.
        self.sizes = dict(zip(SIZES, values.permutation(SIZES).tolist(), strict=True))
        self.contract = contract
        self.dt = contract.dt_in_file
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.features: set[str] = set()
        self.neurons: list[str] = []

    def build(self) -> nir.NIRGraph:
        rng = self.rng
        ends = [self._entrance() for _ in range(rng.integers(1, 3))]
        populations: list[str] = []
        for _ in range(rng.integers(1, 4)):
            populations.append(self._layer(ends, populations))
            skipping = populations[:1] if rng.random() < 0.2 else []
            ends = list(dict.fromkeys([populations[-1], *skipping]))
        targets = [name for name in self.neurons if len(self.shapes[name]) == 1]
        if self.contract.recurrent_delay_steps == 0:
            # Only a synaptic current can take what the same step gave.
            targets = [name for name in targets if isinstance(self.nodes[name], CUBA)]
        for name in populations:
            if targets and rng.random() < 0.5:
                self._loop(name, str(rng.choice(targets)))
        self._exits(populations)
        order = rng.permutation(len(self.edges))
        edges = [self.edges[n] for n in order]
        return nir.NIRGraph(dict(self.nodes), edges, type_check=False)

    def _add(self, kind: str, node: Any, shape: tuple[int, ...], *sources: str) -> str:
        # A random prefix, so that orders by name differ from the order of creation.
        name = f"{'abcdefgh'[self.rng.integers(8)]}_{kind}{len(self.nodes)}"
        self.nodes[name] = node
        self.shapes[name] = shape
        for source in sources:
            self.edges.append((source, name))
        return name

    def _size(self) -> int:
        return int(self.sizes[int(self.rng.choice(SIZES))])

    def _entrance(self) -> str:
        rng = self.rng
        kind = rng.choice(["flat", "flat", "image", "sound"])
        if kind == "flat":
            shape: tuple[int, ...] = (self._size() + 2,)
            return self._add("input", nir.Input(np.array(shape)), shape)
        rank = 2 if kind == "image" else 1
        shape = (int(rng.integers(1, 3)), *rng.integers(5, 8, rank).tolist())
        source = self._add("input", nir.Input(np.array(shape)), shape)
        return self._convolved(source, rank)

    def _convolved(self, source: str, rank: int) -> str:
        rng = self.rng
        shape = self.shapes[source]
        groups = int(rng.choice([1, shape[0]]))
        channels = groups * int(rng.integers(1, 3))
        kernel = rng.integers(1, 4, rank).tolist()
        padding = rng.choice(np.array([0, 1, "same", "valid"], object))
        stride = 1 if padding == "same" else int(rng.integers(1, 3))
        weight = self._weight((channels, shape[0] // groups, *kernel), 1.0)
        bias = self.values.normal(0, 0.2, channels) * rng.integers(0, 2)
        kind = nir.Conv1d if rank == 1 else nir.Conv2d
        dilation = int(rng.integers(1, 3))
        node = kind(None, weight, stride, padding, dilation, groups, bias)
        name = self._add("conv", node, self._made_shape(node, shape), source)
        name = self._population(name)
        if rank == 2 and rng.random() < 0.8:
            name = self._pooled(name)
        if rng.random() < 0.7:
            shape = (int(np.prod(self.shapes[name])),)
            declared = None if rng.random() < 0.5 else np.array(self.shapes[name])
            name = self._add("flatten", nir.Flatten({"input": declared}, 0, -1), shape, name)
        return name

    def _pooled(self, source: str) -> str:
        rng = self.rng
        shape = self.shapes[source]
        size = np.minimum(rng.integers(1, 3, 2), shape[1:])
        kind = nir.SumPool2d if rng.random() < 0.5 else nir.AvgPool2d
        pad = np.where(size > 1, rng.integers(0, 2, 2), 0)
        stride = rng.integers(1, 3, 2)
        node = kind(size, stride, pad)
        return self._add("pool", node, self._made_shape(node, shape), source)

    def _made_shape(self, node: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        return MAKERS[type(node).__name__](node, shape, self.contract).shape

    def _weight(self, shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
        rng = self.values
        density = rng.choice([1.0, 0.5, 0.06])
        weight = rng.normal(0.1, scale, shape) * (rng.random(shape) < density)
        if not np.any(weight):
            weight.flat[0] = scale
        if rng.random() < 0.3:
            # Few distinct values give ties and exact zeros in sums.
            weight = np.round(weight * 4) / 4 if np.abs(weight).max() > 0.2 else weight
        return weight

    def _matrix(self, source: str, size: int, scale: float = 1.0) -> str:
        weight = self._weight((size, int(np.prod(self.shapes[source]))), scale)
        node: Any = nir.Linear(weight)
        if self.rng.random() < 0.5:
            node = nir.Affine(weight, self.values.normal(0, 0.2, size))
        return self._add("weights", node, (size,), source)

    def _layer(self, ends: list[str], populations: list[str]) -> str:
        rng = self.rng
        size = self._size()
        sources = [self._between(end) for end in ends]
        if len(sources) > 1 and len({self.shapes[s] for s in sources}) == 1 and rng.random() < 0.5:
            # One weight matrix sees the sum of several sources.
            joined = self._matrix(sources[0], size)
            self.edges += [(source, joined) for source in sources[1:]]
            parts = [joined]
        else:
            parts = [self._matrix(source, size) for source in sources]
        if rng.random() < 0.2:
            parts = [self._matrix(parts[0], size), *parts[1:]]
        return self._population(*parts)

    def _between(self, source: str) -> str:
        """Return the source, or a scale, a delay or both behind it."""
        rng, shape = self.rng, self.shapes[source]
        if rng.random() < 0.25:
            node: Any = nir.Scale(self.values.normal(1, 0.5, shape))
            source = self._add("scale", node, shape, source)
        if rng.random() < 0.3:
            steps = self.values.integers(0, 4, shape).astype(float)
            if self.contract.delay_rounding == "round":
                steps += self.values.uniform(0, 0.4, shape)
            source = self._add("delay", nir.Delay(steps * self.dt), shape, source)
        return source

    def _population(self, *sources: str) -> str:
        rng, shape = self.rng, self.shapes[sources[0]]
        kind = str(rng.choice(NEURONS))
        name = self._add(kind, self._neuron(kind, shape), shape, *sources)
        self.neurons.append(name)
        if kind in ("LI", "CubaLI") and rng.random() < 0.6:
            threshold = np.zeros(shape)
            name = self._add("threshold", nir.Threshold(threshold), shape, name)
        return name

    def _neuron(self, kind: str, shape: tuple[int, ...]) -> Any:
        rng = self.values
        params = {"r": rng.uniform(0.5, 2, shape)}
        if kind in ("I", "IF"):
            params["r"] /= 10 * (self.dt if self.contract.if_gain == "r_dt" else 1)
        else:
            params["v_leak"] = rng.normal(0, 0.1, shape)
            params["tau_mem" if kind.startswith("Cuba") else "tau"] = self._tau(shape)
        if kind.startswith("Cuba"):
            params |= {"tau_syn": self._tau(shape), "w_in": rng.uniform(0.5, 2, shape)}
        if kind in SPIKING:
            params |= {"v_threshold": np.ones(shape), "v_reset": rng.normal(0, 0.1, shape)}
        node = getattr(nir, kind)(**params)
        for name in params:
            if rng.random() < 0.15:
                setattr(node, name, np.array(params[name].flat[0]))
                self.features.add("scalar parameter")
        for name in ("w_in", "v_reset"):
            if name in params and rng.random() < 0.1:
                setattr(node, name, None)
                self.features.add("parameter left out")
        return node

    def _tau(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return self.values.uniform(2, 20, shape) * self.dt

    def _loop(self, source: str, target: str) -> None:
        """Lead a population's output to a neuron node, through weights or as it is."""
        rng = self.rng
        same = self.shapes[source] == self.shapes[target] and (source, target) not in self.edges
        if same and rng.random() < 0.3:
            self.edges.append((source, target))
            return
        name = self._matrix(source, int(np.prod(self.shapes[target])), 0.4)
        if rng.random() < 0.3:
            name = self._between(name)
        self.edges.append((name, target))

    def _exits(self, populations: list[str]) -> None:
        rng = self.rng
        last = populations[-1]
        shape = self.shapes[last]
        out = self._add("output", nir.Output(np.array(shape)), shape, last)
        if rng.random() < 0.4:
            source = self._matrix(last, shape[0])
            self.edges.append((source, out))
        if rng.random() < 0.4:
            other = str(rng.choice(list(self.shapes)[:-1]))
            shape = self.shapes[other]
            self._add("output", nir.Output(np.array(shape)), shape, other)


def nested(graph: nir.NIRGraph, rng: np.random.Generator) -> nir.NIRGraph:
    """Return the graph with some of its nodes in a subgraph that edges enter and leave by name."""
    fixed = nir.Input | nir.Output
    movable = [name for name, node in graph.nodes.items() if not isinstance(node, fixed)]
    number = int(rng.integers(1, len(movable) + 1))
    inside = set(rng.choice(movable, number, replace=False).tolist())
    inner: dict[str, Any] = {name: graph.nodes[name] for name in inside}
    inner_edges, edges = [], []
    for source, target in graph.edges:
        start, end = source, target
        if (source in inside) == (target in inside):
            (inner_edges if source in inside else edges).append((source, target))
            continue
        if target in inside:
            inner[end := f"to_{target}"] = nir.Input({"input": None})
            inner_edges.append((end, target))
            edges.append((source, f"sub.{end}"))
        else:
            inner[start := f"from_{source}"] = nir.Output({"output": None})
            inner_edges.append((source, start))
            edges.append((f"sub.{start}", target))
    subgraph = nir.NIRGraph(inner, list(dict.fromkeys(inner_edges)), type_check=False)
    outer = {name: node for name, node in graph.nodes.items() if name not in inside}
    return nir.NIRGraph(outer | {"sub": subgraph}, edges, type_check=False)
