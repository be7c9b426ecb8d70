"""Networks of Nengo. It has no exporter, so the graph is written beside the model."""

from functools import partial

import nengo
import nir
import numpy as np
from common import SIZES, STEPS, Draw, Made

DT = 1e-3


def _tau(draw: Draw) -> float:
    return float(draw.rng.choice([4e-3, 8e-3, 16e-3] if draw.ties else np.linspace(3e-3, 0.03, 99)))


def _ensemble(size: int, tau: float, bias: np.ndarray, lowest: float) -> nengo.Ensemble:
    neurons = nengo.LIF(
        tau_rc=tau,
        tau_ref=0,
        min_voltage=lowest,
        amplitude=DT,  # an output of 1 for a spike
        initial_state={"voltage": nengo.dists.Choice([0])},
    )
    return nengo.Ensemble(size, 1, neuron_type=neurons, gain=np.ones(size), bias=bias)


def _lif(size: int, tau: float) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(tau=one * tau, r=one, v_leak=one * 0, v_threshold=one)


def _cuba(size: int, tau: float, tau_syn: float, bias: np.ndarray) -> nir.CubaLIF:
    one = np.ones(size)
    return nir.CubaLIF(
        tau_mem=one * tau, tau_syn=one * tau_syn, r=one, v_leak=bias.copy(), v_threshold=one
    )


def network(synapse: bool, loop: bool, lowest: float, draw: Draw) -> Made:
    """Return two layers, with or without a Lowpass in front of each, and a loop on the second."""
    rng, (lines, first, second) = draw.rng, SIZES
    raster = draw.raster(lines).astype(float)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array([lines]))}
    with nengo.Network(seed=0) as model:
        source = nengo.Node(lambda t: raster[round(t / DT) - 1])
        previous, before, probes = source, "input", {}
        for name, size, into in (("one", first, lines), ("two", second, first)):
            bias = draw.rounded(rng.normal(0.6, 0.2, size)).astype(float)
            tau, tau_syn = _tau(draw), _tau(draw)
            population = _ensemble(size, tau, bias, lowest)
            low = nengo.Lowpass(tau_syn) if synapse else None
            weight = draw.weight(size, into).astype(float) * 4
            nengo.Connection(previous, population.neurons, transform=weight, synapse=low)
            affine = nir.Linear(weight) if synapse else nir.Affine(weight, bias)
            neuron = _cuba(size, tau, tau_syn, bias) if synapse else _lif(size, tau)
            nodes |= {f"w_{name}": affine, name: neuron}
            probes[name] = nengo.Probe(population.neurons, synapse=None)
            previous, before = population.neurons, name
        edges = [("input", "w_one"), ("w_one", "one"), ("one", "w_two"), ("w_two", "two")]
        if loop:
            weight = draw.weight(second, second, mean=-0.1).astype(float)
            nengo.Connection(previous, previous, transform=weight, synapse=low if synapse else 0)
            nodes["w_loop"] = nir.Linear(weight)
            edges += [("two", "w_loop"), ("w_loop", "two")]
    nodes["output"] = nir.Output(np.array([second]))
    with nengo.Simulator(model, dt=DT, progress_bar=False) as simulator:
        simulator.run_steps(STEPS)
    spikes = {name: np.rint(simulator.data[probe]) for name, probe in probes.items()}
    return Made(nir.NIRGraph(nodes, [*edges, (before, "output")]), raster, spikes)


CELLS = {
    "LIF": partial(network, False, False, -np.inf),
    "LIF-floor": partial(network, False, False, 0.0),
    "LIF-loop": partial(network, False, True, -np.inf),
    "CubaLIF": partial(network, True, False, -np.inf),
    "CubaLIF-loop": partial(network, True, True, -np.inf),
}
