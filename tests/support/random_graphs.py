"""Random graphs, contracts and inputs from a seed, tuned so that every population spikes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract, make_contract
from simulators.neurons import Neuron
from simulators.operations import MAKERS, Thresholding, Weights
from simulators.plan import Plan, make_plan
from simulators.reference import SUPPORTED, ReferenceEngine

STEPS = 50
SPIKING = ("LIF", "CubaLIF", "IF")
NEURONS = ("LIF", "CubaLIF", "LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")
RATES = (0.01, 0.5)
"""Share of its bins in which every spiking population has to spike."""


@dataclass
class Case:
    """A graph to run: `features` says what it holds, for the coverage of a test."""

    seed: int
    graph: nir.NIRGraph
    contract: ExecutionContract
    inputs: dict[str, NDArray[np.float64]]
    features: set[str] = field(default_factory=set)

    @property
    def plan(self) -> Plan:
        return make_plan(self.graph, self.contract)


def random_case(seed: int, **overrides: Any) -> Case | None:
    """Return a case, or None if its populations could not be brought to spike enough."""
    rng = np.random.default_rng(seed)
    choices = {name: rng.choice(np.array(values, object)) for name, values in SUPPORTED.items()}
    choices["dt_s"] = float(rng.choice([1e-3, 1e-4, 5e-4]))
    contract = make_contract(None, None, {**choices, **overrides})
    builder = _Builder(rng, contract.dt_s)
    graph = builder.build()
    case = Case(seed, graph, contract, _inputs(rng, graph, builder.features), builder.features)
    if not _tune(case, rng):
        return None
    _note_features(case)
    return case


def cases(count: int, first_seed: int, **overrides: Any) -> list[Case]:
    """Return `count` cases; fewer than half of the seeds may fail."""
    found = []
    for seed in range(first_seed, first_seed + 2 * count):
        case = random_case(seed, **overrides)
        if case is not None:
            found.append(case)
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} of {2 * count} random graphs spike enough")


def coverage(chosen: list[Case]) -> Counter[str]:
    """Return how many cases hold each feature."""
    return Counter(feature for case in chosen for feature in case.features)


class _Builder:
    def __init__(self, rng: np.random.Generator, dt_s: float) -> None:
        self.rng = rng
        self.dt_s = dt_s
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
        flat = [name for name in self.neurons if len(self.shapes[name]) == 1]
        for name in populations:
            if rng.random() < 0.5:
                self._loop(name, str(rng.choice(flat)))
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
        return int(self.rng.choice([1, 2, 3, 5, 8, 12, 17]))

    def _entrance(self) -> str:
        rng = self.rng
        kind = rng.choice(["flat", "flat", "flat", "image", "sound"])
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
        bias = rng.normal(0, 0.2, channels) * rng.integers(0, 2)
        kind = nir.Conv1d if rank == 1 else nir.Conv2d
        dilation = int(rng.integers(1, 3))
        node = kind(None, weight, stride, padding, dilation, groups, bias)
        name = self._add("conv", node, self._made_shape(node, shape), source)
        name = self._population(name)
        if rank == 2 and rng.random() < 0.7:
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
        contract = make_contract("nir", self.dt_s)
        return MAKERS[type(node).__name__](node, shape, contract)[1]

    def _weight(self, shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
        rng = self.rng
        density = rng.choice([1.0, 0.5, 0.06])
        weight = rng.normal(0.1, scale, shape) * (rng.random(shape) < density)
        if not np.any(weight):
            weight.flat[0] = scale
        if rng.random() < 0.3:
            # Few distinct values give ties and exact zeros in sums.
            weight = np.round(weight * 4) / 4
        return weight

    def _matrix(self, source: str, size: int, scale: float = 1.0) -> str:
        weight = self._weight((size, int(np.prod(self.shapes[source]))), scale)
        node: Any = nir.Linear(weight)
        if self.rng.random() < 0.5:
            node = nir.Affine(weight, self.rng.normal(0, 0.2, size))
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
            node: Any = nir.Scale(rng.normal(1, 0.5, shape))
            source = self._add("scale", node, shape, source)
        if rng.random() < 0.3:
            delay = rng.integers(0, 4, shape) * self.dt_s
            source = self._add("delay", nir.Delay(delay), shape, source)
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
        rng = self.rng
        params = {"r": rng.uniform(0.5, 2, shape)}
        if kind in ("I", "IF"):
            params["r"] /= self.dt_s * 10
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
        return node

    def _tau(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return self.rng.uniform(2, 20, shape) * self.dt_s

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


def _inputs(
    rng: np.random.Generator, graph: nir.NIRGraph, features: set[str]
) -> dict[str, NDArray[np.float64]]:
    inputs = {}
    batch = int(rng.choice([1, 2, 3, 5]))
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Input):
            shape = (batch, STEPS, *map(int, node.input_type["input"]))
            rate = rng.uniform(0.05, 0.4)
            kind = rng.choice(["spikes", "counts", "graded"])
            features.add(f"input {kind}")
            if kind == "counts":
                inputs[name] = rng.poisson(rate, shape).astype(float)
            else:
                inputs[name] = (rng.random(shape) < rate).astype(float)
            if kind == "graded":
                inputs[name] *= rng.normal(0.5, 1, shape)
    return inputs


def _tune(case: Case, rng: np.random.Generator) -> bool:
    """Set thresholds, population by population, so that each spikes in `RATES` of its bins."""
    spiking = [node.name for node in case.plan.nodes if node.spikes]
    for name in spiking:
        if not _start_threshold(case, name, rng):
            return False
    for _ in range(8):
        rates = _rates(case, spiking)
        if all(RATES[0] <= rate <= RATES[1] for rate in rates.values()):
            return bool(spiking)
        for name, rate in rates.items():
            if not RATES[0] <= rate <= RATES[1]:
                _move_threshold(case.graph.nodes[name], 0.7 if rate < RATES[0] else 1.4)
    return False


def _start_threshold(case: Case, name: str, rng: np.random.Generator) -> bool:
    """Put a threshold at a value that the membrane takes when nothing resets it."""
    node = case.graph.nodes[name]
    field_name = "threshold" if isinstance(node, nir.Threshold) else "v_threshold"
    setattr(node, field_name, np.full_like(getattr(node, field_name), 1e30))
    watched = name
    if isinstance(node, nir.Threshold):
        watched = next(source for source, target in case.graph.edges if target == name)
    trace = ReferenceEngine(case.plan).run(case.inputs, record=[watched])
    v = trace.recorded[f"{watched}.v"].astype(float)
    theta = np.quantile(v, rng.uniform(0.8, 0.97), method="nearest")
    spread = v.std() + 1e-3
    if case.contract.reset == "subtract_threshold" and theta < 0.1 * spread:
        return isinstance(node, nir.Threshold) and spread > 1e-3
    setattr(node, field_name, np.full_like(getattr(node, field_name), theta))
    if not isinstance(node, nir.Threshold):
        node.v_reset = np.full_like(node.v_reset, theta - spread * rng.uniform(0.5, 2))
    return True


def _move_threshold(node: Any, factor: float) -> None:
    if isinstance(node, nir.Threshold):
        node.threshold = node.threshold * factor
    else:
        node.v_threshold = node.v_reset + (node.v_threshold - node.v_reset) * factor


def _rates(case: Case, spiking: list[str]) -> dict[str, float]:
    trace = ReferenceEngine(case.plan).run(case.inputs, record=spiking)
    return {name: float((trace.recorded[f"{name}.spikes"] != 0).mean()) for name in spiking}


def _note_features(case: Case) -> None:
    plan, features = case.plan, case.features
    features.update(node.kind for node in plan.nodes)
    for name, values in SUPPORTED.items():
        if len(values) > 1:
            features.add(f"{name}={getattr(case.contract, name)}")
    for node in plan.nodes:
        operation = node.operation
        if isinstance(operation, Weights):
            connection = operation.connection
            dense = connection.weight.size * 10 >= connection.n_pre * connection.n_post
            features.add("dense weights" if dense else "sparse weights")
            if connection.n_post == 1:
                features.add("one postsynaptic neuron")
        features.update({"loop"} if any(source.delay_steps for source in node.sources) else ())
        features.update({"several sources"} if len(node.sources) > 1 else ())
        if isinstance(operation, Neuron | Thresholding):
            features.add("population")
    for kind in ("Input", "Output"):
        if len(plan.of_kind(kind)) > 1:
            features.add(f"several {kind} nodes")
    if next(iter(case.inputs.values())).shape[0] > 1:
        features.add("batch")
