"""Random graphs, contracts and inputs from a seed, tuned so that every population spikes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from support.graph_builder import GraphBuilder, nested

from fusion.contract import ExecutionContract, make_contract
from simulators.operations import Weights
from simulators.plan import Plan, make_plan
from simulators.reference import SUPPORTED, ReferenceEngine
from simulators.trace import Trace

STEPS = 50
RATES = (0.01, 0.5)
"""Share of its bins in which every spiking population has to spike."""

MOST_SPIKES = 100
"""Most spikes of a neuron in one step: more is a loop that runs away, beyond int32 in the end."""

NUMBERS = frozenset(
    {"time_unit", "integrator", "if_gain", "initial_v", "binning", "delay_rounding", "exact"}
)
"""Contract fields that only decide numbers; the code of an engine depends on the others."""


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


def random_case(seed: int, variant: int = 0, profile: str | None = None) -> Case | None:
    """Return a case, or None if its populations could not be brought to spike enough.

    Cases of one seed have the same structure, and so the same code; their sizes, numbers, inputs
    and those choices that only decide numbers differ. Without a profile, every choice is drawn.
    """
    rng, values = np.random.default_rng(seed), np.random.default_rng([seed, variant])
    dt_s = float(values.choice([1e-3, 1e-4, 5e-4]))
    choices = {} if profile else _choices(rng, values)
    contract = make_contract(profile, dt_s, choices)
    builder = GraphBuilder(rng, values, contract)
    graph = builder.build()
    inputs = _inputs(values, graph, builder.features)
    case = Case(seed, variant, graph, contract, inputs, builder.features)
    if not _tune(case, values):
        return None
    if rng.random() < 0.2:
        case.graph = nested(case.graph, rng)
        case.features.add("nested graph")
    _note_features(case)
    return case


def _choices(rng: np.random.Generator, values: np.random.Generator) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        name: (values if name in NUMBERS else rng).choice(np.array(choices, object))
        for name, choices in SUPPORTED.items()
    }
    if drawn["membrane_reads"] == "new_current":
        drawn["recurrent_delay_steps"] = 1
    drawn["v_min"] = float(values.normal(-0.2, 0.3)) if rng.random() < 0.3 else None
    return drawn


def cases(count: int, first_seed: int, profile: str | None = None) -> list[Case]:
    """Return `count` cases of different structure."""
    seeds = range(first_seed, first_seed + 2 * count)
    return _first(count, (random_case(seed, profile=profile) for seed in seeds))


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


def _inputs(
    rng: np.random.Generator, graph: nir.NIRGraph, features: set[str]
) -> dict[str, NDArray[np.float64]]:
    inputs = {}
    batch = int(rng.choice([1, 1, 1, 3]))
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
        trace = ReferenceEngine(case.plan).run(case.inputs, record=spiking)
        rasters = [trace.recorded[f"{name}.spikes"] for name in spiking]
        if any(raster.min() < 0 or raster.max() > MOST_SPIKES for raster in rasters):
            return False
        rates = spike_rates(case, trace)
        wrong = {name: rate for name, rate in rates.items() if not RATES[0] <= rate <= RATES[1]}
        if not wrong:
            return bool(spiking)
        for name, rate in wrong.items():
            if not _move_threshold(case, name, 0.7 if rate < RATES[0] else 1.4):
                return False
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
    # Low enough for several spikes in a step, where those count.
    low = 0.6 if case.contract.spikes_per_step == "floor" else 0.8
    theta = np.quantile(v, rng.uniform(low, 0.97), method="nearest")
    spread = v.std() + 1e-3
    if isinstance(node, nir.Threshold):
        node.threshold = np.full_like(node.threshold, theta)
        return True
    node.v_threshold = np.full_like(node.v_threshold, theta)
    if node.v_reset is not None:
        node.v_reset = np.full_like(node.v_reset, theta - spread * rng.uniform(0.5, 2))
    return not _needs_positive_thresholds(case) or theta > 0.1 * spread


def _move_threshold(case: Case, name: str, factor: float) -> bool:
    """Widen or narrow the way to a threshold; return whether it may lie there."""
    node = case.graph.nodes[name]
    if isinstance(node, nir.Threshold):
        node.threshold = node.threshold * factor
        return True
    start = 0.0 if node.v_reset is None else node.v_reset
    node.v_threshold = start + (node.v_threshold - start) * factor
    return not _needs_positive_thresholds(case) or bool(np.all(node.v_threshold > 0))


def _needs_positive_thresholds(case: Case) -> bool:
    contract = case.contract
    return contract.reset == "subtract_threshold" or contract.spikes_per_step == "floor"


def _note_features(case: Case) -> None:
    plan, features = case.plan, case.features
    features.update(node.kind for node in plan.nodes)
    features.update(f"{name}={getattr(case.contract, name)}" for name in SUPPORTED)
    features.add("v_min" if case.contract.v_min is not None else "no v_min")
    place = {node.name: number for number, node in enumerate(plan.nodes)}
    for node in plan.nodes:
        operation = node.operation
        if isinstance(operation, Weights):
            connection = operation.connection
            dense = connection.weight.size * 10 >= connection.n_pre * connection.n_post
            features.add("dense weights" if dense else "sparse weights")
            if connection.n_post == 1:
                features.add("one postsynaptic neuron")
        for source in node.sources:
            if place[source.node] >= place[node.name]:
                features.add("loop" if source.delay_steps else "loop without delay")
        features.update({"several sources"} if len(node.sources) > 1 else ())
    for kind in ("Input", "Output"):
        if len(plan.of_kind(kind)) > 1:
            features.add(f"several {kind} nodes")
    if next(iter(case.inputs.values())).shape[0] > 1:
        features.add("batch")
