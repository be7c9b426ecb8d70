"""The networks that engines are measured on, the same at every call.

`fusion` is three sensors that meet in a recurrent population, `mlp` a plain classifier; both have
int8-valued weights and thresholds at which about 5 % of their neurons spike in a step. `cuba-4k`
and `cuba-40k` are the network of Vogels and Abbott (2005) as far as NIR can say it: one synaptic
time constant, no refractory period.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from fusion.contract import make_contract
from simulators.compiled import CompiledEngine
from simulators.connectivity import Connection
from simulators.draft import Source
from simulators.neurons import make_neuron
from simulators.operations import Passing, Weights
from simulators.plan import Plan, PlanNode, make_plan
from simulators.trace import State

ACTIVITY = 0.05
"""Share of the neurons of a tuned population that spike in a step."""

FUSION_LINES = MappingProxyType({"audio": 700, "camera": 2048, "imu": 24})
"""Sensor of `fusion` → its lines."""

FUSION_RATES = MappingProxyType({"audio": 0.05, "camera": 0.01, "imu": 0.1})
"""Sensor of `fusion` → share of its lines that are active in a step."""

_TAU_S = 0.02


@dataclass(frozen=True, slots=True)
class Network:
    """A network to measure.

    Attributes:
        name: what the command line calls it.
        plan: the network, ready for an engine.
        steps: time steps of a run.
        rates: Input node → share of its lines that are active in a step.
        graph: the network in NIR; None where its weight matrix would not fit into memory.
    """

    name: str
    plan: Plan
    steps: int
    rates: Mapping[str, float]
    graph: nir.NIRGraph | None

    def inputs(self, batch: int, seed: int = 1) -> dict[str, NDArray[np.uint8]]:
        """Return Input node → spikes [batch, steps, lines] of 0 and 1."""
        rng = np.random.default_rng(seed)
        return {
            node.name: (rng.random((batch, self.steps, node.size)) < self.rates[node.name]).astype(
                np.uint8
            )
            for node in self.plan.of_kind("Input")
        }

    def state(self, batch: int) -> State | None:
        """Return where a run starts: at random membranes for `cuba`, else at the plan's."""
        if not self.name.startswith("cuba"):
            return None
        rng = np.random.default_rng(2)
        size = next(node.size for node in self.plan.nodes if node.name == "cuba")
        v = np.tile(rng.uniform(0.0, 10.0, size), (batch, 1))
        zeros = np.zeros_like(v)
        return {"cuba.v": v, "cuba.i": zeros, "cuba->w.line": zeros[:, None].copy()}


def _weights(rng: np.random.Generator, post: int, pre: int) -> nir.Linear:
    return nir.Linear(np.clip(np.rint(rng.normal(4.0, 40.0, (post, pre))), -127, 127))


def _lif(size: int) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(tau=one * _TAU_S, r=one, v_leak=one * 0, v_threshold=one, v_reset=one * 0)


def _tuned(name: str, graph: nir.NIRGraph, rates: Mapping[str, float]) -> Network:
    """Set thresholds, in the order of the plan, so that `ACTIVITY` of the neurons spike."""
    contract = make_contract("nir", 1e-3, {"arithmetic": "float32"})
    order = [node.name for node in make_plan(graph, contract).nodes if node.spikes]
    for population in order:
        low, high = 0.0, 1000.0
        for _ in range(14):
            theta = (low + high) / 2
            graph.nodes[population].v_threshold = np.full_like(
                graph.nodes[population].v_threshold, theta
            )
            network = Network(name, make_plan(graph, contract), 100, rates, graph)
            trace = CompiledEngine(network.plan).run(network.inputs(2, seed=0))
            size = graph.nodes[population].v_threshold.size
            spiking = trace.counts.spikes[population].sum() / (2 * 100 * size)
            low, high = (theta, high) if spiking > ACTIVITY else (low, theta)
    return network


def fusion() -> Network:
    """Microphone, event camera and motion sensor, 128 LIF each, 256 recurrent LIF, 10 LIF."""
    rng = np.random.default_rng(11)
    nodes: dict[str, Any] = {"joint": _lif(256), "recurrent": _weights(rng, 256, 256)}
    edges = [("joint", "recurrent"), ("recurrent", "joint")]
    for sensor, size in FUSION_LINES.items():
        nodes |= {
            sensor: nir.Input(np.array([size])),
            f"{sensor}_in": _weights(rng, 128, size),
            f"{sensor}_lif": _lif(128),
            f"{sensor}_out": _weights(rng, 256, 128),
        }
        chain = [sensor, f"{sensor}_in", f"{sensor}_lif", f"{sensor}_out", "joint"]
        edges += pairwise(chain)
    nodes |= {
        "w": _weights(rng, 10, 256),
        "classes": _lif(10),
        "output": nir.Output(np.array([10])),
    }
    edges += [("joint", "w"), ("w", "classes"), ("classes", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    return _tuned("fusion", graph, FUSION_RATES)


def mlp() -> Network:
    """784-512-512-10 LIF."""
    rng = np.random.default_rng(12)
    sizes = (784, 512, 512, 10)
    nodes: dict[str, Any] = {"input": nir.Input(np.array([784]))}
    for layer, (pre, post) in enumerate(pairwise(sizes)):
        nodes |= {f"w{layer}": _weights(rng, post, pre), f"lif{layer}": _lif(post)}
    nodes["output"] = nir.Output(np.array([10]))
    edges = list(pairwise(nodes))
    return _tuned("mlp", nir.NIRGraph(nodes, edges, type_check=False), {"input": 0.05})


def cuba(neurons: int) -> Network:
    """The network of Vogels and Abbott for 1 s at 0.1 ms, with 80 synapses a neuron.

    Voltages are in mV above the reset at −60 mV; a fifth of the neurons inhibits.
    """
    rng = np.random.default_rng(13)
    contract = make_contract("nir", 1e-4)
    pre, post = _random_pairs(rng, neurons, round(80 * neurons))
    weight = np.where(pre < neurons * 4 // 5, 1.62, -9.0)
    connection = Connection.from_triplets(pre, post, weight, neurons, neurons)
    tau_syn = 5e-3
    params = {
        "tau_mem": 0.02, "tau_syn": tau_syn, "r": 1.0, "v_leak": 11.0, "w_in": tau_syn / 1e-4,
        "v_threshold": 10.0, "v_reset": 0.0,
    }  # fmt: skip
    neuron = make_neuron("CubaLIF", params, (neurons,), contract)
    # NIR asks for an Input and an Output; here they lead past the network.
    plan = Plan(
        (
            PlanNode("input", "Input", (1,), Passing(), ()),
            PlanNode("output", "Output", (1,), Passing(), (Source("input", 0),)),
            PlanNode("w", "Linear", (neurons,), Weights(connection, None), (Source("cuba", 1),)),
            PlanNode("cuba", "CubaLIF", (neurons,), neuron, (Source("w", 0),)),
        ),
        contract,
    )
    return Network(f"cuba-{neurons // 1000}k", plan, 10_000, {"input": 0.0}, None)


def _random_pairs(
    rng: np.random.Generator, neurons: int, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return distinct (presynaptic, postsynaptic) pairs."""
    pairs = np.unique(rng.integers(0, neurons**2, number, dtype=np.int64))
    return pairs // neurons, pairs % neurons


NETWORKS: Mapping[str, Callable[[], Network]] = MappingProxyType(
    {
        "fusion": fusion,
        "mlp": mlp,
        "cuba-4k": partial(cuba, 4_000),
        "cuba-40k": partial(cuba, 40_000),
    }
)
"""Name → network."""
