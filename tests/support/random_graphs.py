"""Random graphs, contracts and inputs from a seed, tuned so that every population spikes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from support.graph_builder import GraphBuilder

from fusion.contract import ExecutionContract, make_contract
from simulators.brian2_choices import SUPPORTED
from simulators.neurons import Neuron
from simulators.operations import Thresholding, Weights
from simulators.plan import Plan, make_plan
from simulators.reference import ReferenceEngine
from simulators.trace import Trace

STEPS = 50
RATES = (0.01, 0.5)
"""Share of its bins in which every spiking population has to spike."""

_IN_THE_CODE = frozenset(
    {"arithmetic", "arithmetic_form", "reset", "spike_condition", "recurrent_delay_at"}
)
"""Contract fields that Brian2's code depends on; the others only decide numbers."""


@dataclass
class Case:
    """A graph to run: `features` says what it holds, for the coverage of a test."""

    seed: int
    variant: int
    graph: nir.NIRGraph
    contract: ExecutionContract
    inputs: dict[str, NDArray[np.float64]]
    features: set[str] = field(default_factory=set)

    @property
    def plan(self) -> Plan:
        return make_plan(self.graph, self.contract)


def random_case(seed: int, variant: int = 0) -> Case | None:
    """Return a case, or None if its populations could not be brought to spike enough.

    Cases of one seed have the same structure, and so the same code; their sizes, numbers, inputs
    and those choices that only decide numbers differ.
    """
    rng, values = np.random.default_rng(seed), np.random.default_rng([seed, variant])
    choices: dict[str, Any] = {
        name: (rng if name in _IN_THE_CODE else values).choice(np.array(allowed, object))
        for name, allowed in SUPPORTED.items()
    }
    choices["dt_s"] = float(values.choice([1e-3, 1e-4, 5e-4]))
    contract = make_contract(None, None, choices)
    builder = GraphBuilder(rng, values, contract)
    graph = builder.build()
    inputs = _inputs(values, graph, builder.features)
    case = Case(seed, variant, graph, contract, inputs, builder.features)
    if not _tune(case, values):
        return None
    _note_features(case)
    return case


def cases(count: int, first_seed: int) -> list[Case]:
    """Return `count` cases of different structure."""
    return _first(count, (random_case(seed) for seed in range(first_seed, first_seed + 2 * count)))


def variants(count: int, seed: int) -> list[Case]:
    """Return `count` cases of the same structure."""
    return _first(count, (random_case(seed, variant) for variant in range(2 * count)))


def _first(count: int, made: Iterable[Case | None]) -> list[Case]:
    """Return the first that spike enough; at least half have to."""
    found = list(islice((case for case in made if case is not None), count))
    assert len(found) == count, f"only {len(found)} of {2 * count} random graphs spike enough"
    return found


def spike_rates(case: Case, trace: Trace) -> dict[str, float]:
    """Return the share of bins with a spike of every spiking population."""
    return {
        node.name: float((trace.recorded[f"{node.name}.spikes"] != 0).mean())
        for node in case.plan.nodes
        if node.spikes
    }


def coverage(chosen: list[Case]) -> Counter[str]:
    """Return how many cases hold each feature."""
    return Counter(feature for case in chosen for feature in case.features)


def _inputs(
    rng: np.random.Generator, graph: nir.NIRGraph, features: set[str]
) -> dict[str, NDArray[np.float64]]:
    inputs = {}
    batch = int(rng.choice([1, 1, 2, 5]))
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
        rates = spike_rates(case, ReferenceEngine(case.plan).run(case.inputs, record=spiking))
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
