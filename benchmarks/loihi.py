"""Loihi's integers against Lava's runtime on the network `fusion`: time, ratio, equal or not.

    python -m benchmarks.loihi [--python LAVA_PYTHON] [--runs 200] [--turns 3]

Three sensors, 128 LIF each, 256 recurrent LIF, 10 LIF, 100 steps, weights of 8 bits, thresholds at
which 5 % of the neurons spike in a step. Lava runs warm: building and compiling are left out, as is
the machine code's. In each turn Lava runs once, then ours so many times; medians of all turns.
"""

import argparse
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from backends.lava_engine import LavaEngine, lava_host
from backends.lava_environment import lava_python
from benchmarks.networks import FUSION_LINES, FUSION_RATES
from benchmarks.timing import seconds
from simulators.compiled_inputs import given_inputs
from simulators.loihi_compiled import CompiledLoihiEngine
from simulators.loihi_connections import Dense
from simulators.loihi_network import InputNode, LifPopulation, LoihiNetwork, OutputNode

STEPS, ACTIVITY = 100, 0.05


def fusion() -> LoihiNetwork:
    """Return the network, its thresholds tuned one population after the other."""
    rng = np.random.default_rng(11)

    def dense(source: str, target: str, n_pre: int, n_post: int) -> Dense:
        weights = 2 * np.clip(np.rint(rng.normal(4, 40, (n_post, n_pre))), -127, 127)
        return Dense(
            name=f"{source}->{target}", source=source, target=target,
            weights=weights.astype(np.int32),
        )  # fmt: skip

    sizes = {**{f"{sensor}_lif": 128 for sensor in FUSION_LINES}, "joint": 256, "classes": 10}
    connections = [
        dense(sensor, f"{sensor}_lif", FUSION_LINES[sensor], 128) for sensor in FUSION_LINES
    ]
    connections += [dense(f"{sensor}_lif", "joint", 128, 256) for sensor in FUSION_LINES]
    connections += [dense("joint", "joint", 256, 256), dense("joint", "classes", 256, 10)]
    network = LoihiNetwork(
        dt_s=1e-3,
        inputs=tuple(InputNode(sensor, (size,)) for sensor, size in FUSION_LINES.items()),
        populations=tuple(_lif(name, size, 1) for name, size in sizes.items()),
        connections=tuple(connections),
        outputs=(OutputNode(name="out", source="classes", shape=(10,)),),
    )
    for name in sizes:
        network = _tuned(network, name)
    return network


def wide() -> LoihiNetwork:
    """Return many neurons in few nodes, to tell what the ones cost from what the others do."""
    return LoihiNetwork(
        dt_s=1e-3,
        inputs=(InputNode("imu", (FUSION_LINES["imu"],)),),
        populations=(_lif("wide", 8192, 1), _lif("classes", 10, 1)),
        connections=(),
        outputs=(OutputNode(name="out", source="classes", shape=(10,)),),
    )


def _lif(name: str, size: int, threshold: int) -> LifPopulation:
    zeros = np.zeros(size, np.int32)
    return LifPopulation(
        name=name, shape=(size,), du=zeros + 4095, dv=zeros + 200, vth=zeros + threshold,
        bias_mant=zeros, bias_exp=zeros, u=zeros, v=zeros,
    )  # fmt: skip


def _tuned(network: LoihiNetwork, name: str) -> LoihiNetwork:
    low, high = 1, 2**17 - 1
    while low < high:
        middle = (low + high) // 2
        populations = tuple(
            _lif(name, one.size, middle) if one.name == name else one for one in network.populations
        )
        network = replace(network, populations=populations)
        size = next(one.size for one in populations if one.name == name)
        spikes = CompiledLoihiEngine(network).run(inputs(seed=0)).counts.spikes[name]
        low, high = (middle + 1, high) if spikes[0] > ACTIVITY * size * STEPS else (low, middle)
    return network


def inputs(seed: int = 1) -> dict[str, NDArray[np.uint8]]:
    """Return sensor → spikes [1, steps, lines]."""
    rng = np.random.default_rng(seed)
    return {
        sensor: (rng.random((1, STEPS, size)) < FUSION_RATES[sensor]).astype(np.uint8)
        for sensor, size in FUSION_LINES.items()
    }


def main() -> None:
    """Print both times, their ratio and whether every spike, u and v is equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter of Lava's environment")
    parser.add_argument("--runs", type=int, default=200, help="runs of ours in a turn")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    network, raster = fusion(), inputs()
    ours = CompiledLoihiEngine(network)
    host = lava_host("loihi-lava", lava_python("loihi-lava", asked.python))
    try:
        lava = LavaEngine(network, host)
        theirs, _ = lava.timed_run(raster, None, ["all"], 600.0)
        lava_s, our_s = [], []
        for _ in range(asked.turns):
            lava_s.append(lava.timed_run(raster, None, (), 600.0)[1])
            our_s += [seconds(lambda: ours.run(raster)) for _ in range(asked.runs)]
    finally:
        host.close()
    recorded = ours.run(raster, record=["all"])
    equal = all(np.array_equal(recorded.recorded[key], x) for key, x in theirs.recorded.items())
    events = int(recorded.counts.synaptic_events[0])
    ours_ms, lava_ms = median(our_s) * 1e3, median(lava_s) * 1e3
    print(
        f"{events} synaptic events: ours {ours_ms:.3f} ms, Lava {lava_ms:.1f} ms, "
        f"ratio {lava_ms / ours_ms:.0f}; every spike, u and v {'equal' if equal else 'NOT EQUAL'}"
    )
    print(_parts(ours, raster, asked.runs))


def _parts(engine: CompiledLoihiEngine, raster: dict[str, NDArray[np.uint8]], runs: int) -> str:
    """Return what of our time is not spent on steps."""
    shapes = {name: values.shape[2:] for name, values in raster.items()}
    none = {name: values[:, :0] for name, values in raster.items()}

    def listing() -> None:
        given_inputs(shapes, raster, np.dtype(np.float64), 0)

    listed_s = median(seconds(listing) for _ in range(runs))
    idle_s = median(seconds(lambda: engine.run(none)) for _ in range(runs))
    return f"of ours: listing inputs {listed_s * 1e3:.3f} ms, a run of no steps {idle_s * 1e3:.3f}"


if __name__ == "__main__":
    main()
