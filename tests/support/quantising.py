"""Networks for the quantiser, and the way from a graph to integers in one line."""

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from support.small_graphs import graph

from fusion.contract import ExecutionContract, make_contract
from simulators.calibration import Activity, activities
from simulators.folding import fold
from simulators.plan import Plan, make_plan
from simulators.quantise import Quantised, quantise
from simulators.quantise_limits import violations_of
from simulators.violation import Violation

DT_S = 1e-3


def on_loihi(**choices: Any) -> ExecutionContract:
    """Return the profile `loihi` with a step of 1 ms and these choices."""
    return make_contract("loihi", DT_S, choices)


def planned(network: nir.NIRGraph, **choices: Any) -> Plan:
    """Return the plan of a graph on Loihi."""
    return make_plan(network, on_loihi(**choices))


def quantised(
    network: nir.NIRGraph, samples: Any, **choices: Any
) -> tuple[Quantised, list[Activity]]:
    """Return a graph in integers and what the samples make it do in floats."""
    plan = planned(network, **choices)
    folding = fold(plan)
    assert not violations_of(folding, plan.contract)
    known = activities(plan, samples)
    return quantise(plan, folding, known), known


def violations(network: nir.NIRGraph, **choices: Any) -> list[Violation]:
    """Return what of a graph Loihi cannot do."""
    plan = planned(network, **choices)
    return violations_of(fold(plan), plan.contract)


def poisson(
    network: nir.NIRGraph, samples: int = 4, steps: int = 80, rate: float = 0.2, seed: int = 0
) -> list[dict[str, NDArray[np.int64]]]:
    """Return samples of Poisson counts for every Input node."""
    rng = np.random.default_rng(seed)
    shapes = {name: np.atleast_1d(n.input_type["input"]) for name, n in network.inputs.items()}
    return [
        {name: rng.poisson(rate, (steps, *shape)) for name, shape in shapes.items()}
        for _ in range(samples)
    ]


def cuba(size: int | tuple[int, ...], rng: np.random.Generator) -> nir.CubaLIF:
    """Return CubaLIF neurons with parameters of their own, thresholds and resets included."""
    return nir.CubaLIF(
        tau_syn=rng.uniform(0.002, 0.008, size),
        tau_mem=rng.uniform(0.005, 0.03, size),
        r=rng.uniform(0.8, 1.5, size),
        v_leak=rng.normal(0.0, 0.02, size),
        v_threshold=rng.uniform(0.4, 0.6, size),
        v_reset=rng.normal(0.0, 0.03, size),
        w_in=rng.uniform(0.8, 1.2, size),
    )


def lif(size: int | tuple[int, ...], rng: np.random.Generator) -> nir.LIF:
    """Return LIF neurons with parameters of their own."""
    return nir.LIF(
        tau=rng.uniform(0.005, 0.03, size),
        r=rng.uniform(0.8, 1.5, size),
        v_leak=rng.normal(0.0, 0.02, size),
        v_threshold=rng.uniform(0.4, 0.6, size),
        v_reset=rng.normal(0.0, 0.03, size),
    )


def li(size: int) -> nir.LI:
    """Return a leaky readout."""
    return nir.LI(tau=np.full(size, 0.02), r=np.ones(size), v_leak=np.full(size, 0.1))


def recurrent(seed: int = 0) -> nir.NIRGraph:
    """Return Affine → CubaLIF with a loop → CubaLIF → LI."""
    rng = np.random.default_rng(seed)
    nodes = {
        "in": nir.Input(np.array([12])),
        "w": nir.Affine(rng.normal(0.6, 1.5, (20, 12)), rng.normal(0, 0.1, 20)),
        "a": cuba(20, rng),
        "loop": nir.Linear(rng.normal(0, 0.2, (20, 20))),
        "v": nir.Linear(rng.normal(0.6, 1.5, (8, 20))),
        "b": cuba(8, rng),
        "u": nir.Affine(rng.normal(0, 1, (3, 8)), rng.normal(0, 0.2, 3)),
        "li": li(3),
        "out": nir.Output(np.array([3])),
        "spikes": nir.Output(np.array([8])),
    }
    return graph(nodes, "in -> w -> a -> v -> b -> u -> li -> out", "a -> loop -> a", "b -> spikes")


def convolutional(seed: int = 0) -> nir.NIRGraph:
    """Return Conv2d → CubaLIF → SumPool2d → Flatten → Scale → Linear → LIF."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.1, 0.9, (4, 2, 3, 3))
    nodes = {
        "in": nir.Input(np.array([2, 8, 8])),
        "conv": nir.Conv2d((8, 8), weight, 1, "same", 1, 1, rng.normal(0, 0.1, 4)),
        "maps": cuba((4, 8, 8), rng),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 4, 4])}, 0),
        "scale": nir.Scale(rng.uniform(0.5, 1.5, 64)),
        "w": nir.Linear(rng.normal(0.0, 0.9, (10, 64))),
        "b": lif(10, rng),
        "out": nir.Output(np.array([10])),
    }
    return graph(nodes, "in -> conv -> maps -> pool -> flat -> scale -> w -> b -> out")


def delayed(seed: int = 0) -> nir.NIRGraph:
    """Return two Inputs whose lines reach LIF neurons at several delays, one for each line."""
    rng = np.random.default_rng(seed)
    nodes = {
        "ear": nir.Input(np.array([6])),
        "eye": nir.Input(np.array([4])),
        "late": nir.Delay(np.arange(6) * 3e-3),
        "w": nir.Affine(rng.normal(0.5, 1, (9, 6)), rng.normal(0, 0.3, 9)),
        "early": nir.Linear(rng.normal(0, 1, (9, 6))),
        "seen": nir.Linear(rng.normal(0.3, 1, (9, 4))),
        "a": lif(9, rng),
        "out": nir.Output(np.array([9])),
    }
    return graph(nodes, "ear -> late -> w -> a -> out", "ear -> early -> a", "eye -> seen -> a")


def nested(seed: int = 0) -> nir.NIRGraph:
    """Return a subgraph with a hidden population between Linear nodes."""
    rng = np.random.default_rng(seed)
    inner = graph(
        {
            "input": nir.Input(np.array([5])),
            "w": nir.Linear(rng.normal(1, 2, (7, 5))),
            "hidden": cuba(7, rng),
            "output": nir.Output(np.array([7])),
        },
        "input -> w -> hidden -> output",
    )
    nodes = {
        "in": nir.Input(np.array([5])),
        "part": inner,
        "w": nir.Linear(rng.normal(1, 2, (4, 7))),
        "b": lif(4, rng),
        "out": nir.Output(np.array([4])),
    }
    return graph(nodes, "in -> part -> w -> b -> out")


NETWORKS = {
    "recurrent": recurrent,
    "convolutional": convolutional,
    "delayed": delayed,
    "nested": nested,
}
