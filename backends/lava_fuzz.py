"""Random networks of Loihi's integers in our engine and in Lava: every spike, u and v, every step.

The networks come from seeds, so that nobody needs to believe in the ones we chose.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.host import ChildHost
from backends.lava_engine import LavaEngine, lava_host
from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Conv
from simulators.loihi_network import LoihiNetwork
from simulators.loihi_random import random_network
from simulators.trace import Trace

_KEPT_NETWORKS = 100
"""Networks that one child steps without Lava's runtime; with it, a child runs one."""
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value that differs.

    Attributes:
        seed: of the network.
        runtime: whether Lava's runtime ran it.
        population: where.
        quantity: `spikes`, `i` (u) or `v`.
        sample: index in the batch.
        step: step, counted from 0.
        neuron: index in C order.
        ours: our engine's value.
        lava: Lava's.
    """

    seed: int
    runtime: bool
    population: str
    quantity: str
    sample: int
    step: int
    neuron: int
    ours: int
    lava: int

    def __str__(self) -> str:
        how = "--nets 0 --runtime 1" if self.runtime else "--nets 1"
        return (
            f"seed {self.seed}: {self.population}.{self.quantity} of neuron {self.neuron} differs "
            f"first at step {self.step} of sample {self.sample}: ours {self.ours}, "
            f"Lava's {self.lava}; again with: snn-fusion fuzz-loihi --seed {self.seed} {how}"
        )


@dataclass
class Coverage:
    """What the compared networks consisted of.

    Attributes:
        networks: how many agreed.
        bins: values compared, for each of spikes, u and v.
        spikes: spikes among them.
        populations: how many there were.
        spiking: how many of them spiked.
        features: kind of connection or other feature → how often it occurred.
    """

    networks: int = 0
    bins: int = 0
    spikes: int = 0
    populations: int = 0
    spiking: int = 0
    features: Counter[str] = field(default_factory=Counter)

    def add(self, network: LoihiNetwork, trace: Trace) -> None:
        """Count a network and what it did."""
        self.networks += 1
        for population in network.populations:
            spikes = trace.recorded[f"{population.name}.spikes"]
            self.bins += spikes.size
            self.spikes += int(spikes.sum())
            self.populations += 1
            self.spiking += bool(spikes.any())
        self.features.update(_features(network))

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(self.features.items()))
        return (
            f"{self.networks} networks equal in {self.bins} spikes, u and v each, {self.spikes} "
            f"spikes; {self.spiking} of {self.populations} populations spiked; {listed}"
        )


def fuzz(
    python: str, seeds: range, *, runtime: bool, coverage: Coverage
) -> Generator[Difference | None, None, None]:
    """Compare the networks of these seeds one after the other; None for one that agrees.

    Args:
        python: the interpreter of Lava's environment.
        seeds: one network each.
        runtime: run them in Lava's runtime; else in its process models without it, faster.
        coverage: what is added to.

    Raises:
        RunFailed: if Lava breaks off.
    """
    host = lava_host("loihi-lava", python)
    try:
        for count, seed in enumerate(seeds):
            if runtime or count % _KEPT_NETWORKS == 0:
                host.close()
            yield _compared(seed, host, runtime, coverage)
    finally:
        host.close()


def _compared(seed: int, host: ChildHost, runtime: bool, coverage: Coverage) -> Difference | None:
    network, inputs = random_network(seed)
    engine = LavaEngine(network, host, runtime=runtime)
    lava = engine.run(inputs, record=["all"], deadline_s=_DEADLINE_S)
    engine.forget()
    ours = LoihiEngine(network).run(inputs, record=["all"])
    found = [
        (place, key) for key, values in ours.recorded.items()
        if (place := first_difference(values, lava.recorded[key])) is not None
    ]  # fmt: skip
    if not found:
        coverage.add(network, ours)
        return None
    # Where several differ at one step, u differs before v, and v before the spikes of that step.
    (step, sample, neuron), key = min(
        found, key=lambda item: (item[0][0], _ORDER[item[1].rsplit(".", 1)[1]])
    )
    population, quantity = key.rsplit(".", 1)
    flat = {name: trace.recorded[key].reshape(*trace.recorded[key].shape[:2], -1)
            for name, trace in (("ours", ours), ("lava", lava))}  # fmt: skip
    values = {name: int(array[sample, step, neuron]) for name, array in flat.items()}
    return Difference(seed, runtime, population, quantity, sample, step, neuron, **values)


_ORDER = {"i": 0, "v": 1, "spikes": 2}


def first_difference(one: NDArray[Any], other: NDArray[Any]) -> tuple[int, int, int] | None:
    """Return step, sample and neuron of the earliest difference of two [batch, steps, …]."""
    differs = (one != other).reshape(*one.shape[:2], -1)
    if not differs.any():
        return None
    step, sample, neuron = np.argwhere(differs.transpose(1, 0, 2))[0].tolist()
    return step, sample, neuron


def _features(network: LoihiNetwork) -> Iterator[str]:
    order = {one.name: number for number, one in enumerate(network.populations)}
    for connection in network.connections:
        yield type(connection).__name__
        if connection.num_message_bits:
            yield "graded"
        if order.get(connection.source, -1) >= order[connection.target]:
            yield "loops"
        if not isinstance(connection, Conv):
            yield f"sign mode {connection.sign_mode}"
            if connection.delays is not None:
                yield f"delayed {type(connection).__name__}"
    for population in network.populations:
        if population.reset is not None:
            yield "periodic resets"
        if np.unique(population.du).size > 1 or np.unique(population.dv).size > 1:
            yield "decays of every neuron"
