"""The figures of `speed` in `hw_configs`: what a run takes, fitted to runs of many sizes.

A run takes a constant, something for every node and step, for every neuron and step, and for every
synaptic event. The four are found by least squares that are never negative, with every run as
important as any other. `check` estimates from them, with a guess of the activity.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks import loihi
from benchmarks.networks import cuba, fusion, mlp
from simulators.compiled import CompiledEngine
from simulators.loihi_compiled import CompiledLoihiEngine
from simulators.neurons import Neuron

_RUNS = 9
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One size of run: what `check` counts, synaptic events, and the seconds that it took."""

    name: str
    nodes: int
    neurons: int
    steps: int
    synaptic_events: int
    seconds: float

    def terms(self) -> list[float]:
        """Return what the four figures are multiplied with, in the units of `Speed`."""
        return [
            1.0,
            self.steps * self.nodes * 1e-6,
            self.steps * self.neurons * 1e-9,
            self.synaptic_events * 1e-9,
        ]


NAMES = ("s_per_run", "us_per_node_step", "ns_per_neuron_update", "ns_per_synaptic_event")


def fitted(runs: list[Run]) -> dict[str, float]:
    """Return the figures of `speed` that fit runs best, as shares of what each took."""
    seconds = np.array([run.seconds for run in runs])
    terms = np.array([run.terms() for run in runs]) / seconds[:, None]
    # Columns of one size, so that what is left out does not depend on units.
    scale = np.linalg.norm(terms, axis=0)
    figures: NDArray[np.float64] = nnls(terms / scale, np.ones(len(runs)))[0] / scale
    return {
        name: float(f"{figure:.{_DIGITS}g}") for name, figure in zip(NAMES, figures, strict=True)
    }


def estimate_s(figures: dict[str, float], run: Run) -> float:
    """Return how long a run takes by these figures."""
    return sum(figures[name] * term for name, term in zip(NAMES, run.terms(), strict=True))


def report(target: str) -> str:
    """Measure a target; return its `speed` in YAML, and how far off it is for each run."""
    runs = list(TARGETS[target]())
    figures = fitted(runs)
    lines = [
        f"# {run.name}: {run.seconds * 1e3:.4g} ms, estimated {estimate_s(figures, run) * 1e3:.4g}"
        for run in runs
    ]
    return "\n".join([yaml.safe_dump({"speed": figures}, sort_keys=False).strip(), *lines])


def _cpu() -> Iterator[Run]:
    for network in (fusion(), mlp(), cuba(4000)):
        engine = CompiledEngine(network.plan)
        nodes = len(network.plan.nodes)
        neurons = sum(n.size for n in network.plan.nodes if isinstance(n.operation, Neuron))
        rasters, state = network.inputs(1), network.state(1)
        for steps in (10, 100, 1000):
            inputs = {k: x[:, np.arange(steps) % network.steps] for k, x in rasters.items()}
            silent = {k: np.zeros_like(x) for k, x in inputs.items()}
            for name, given in (("", inputs), (", silent", silent)):
                seconds, events = _least(engine, given, state)
                yield Run(
                    f"{network.name}{name}, {steps} steps", nodes, neurons, steps, events, seconds
                )


def _loihi_emulator() -> Iterator[Run]:
    for called, network in (("fusion", loihi.fusion()), ("wide", loihi.wide())):
        engine = CompiledLoihiEngine(network)
        neurons = sum(one.size for one in network.populations)
        nodes = len(network.inputs) + len(network.populations) + 2 * len(network.connections) + 1
        rasters = {one.name: loihi.inputs()[one.name] for one in network.inputs}
        for steps in (10, 100, 1000):
            inputs = {k: x[:, np.arange(steps) % x.shape[1]] for k, x in rasters.items()}
            silent = {k: np.zeros_like(x) for k, x in inputs.items()}
            for name, given in (("", inputs), (", silent", silent)):
                seconds, events = _least(engine, given, None)
                yield Run(f"{called}{name}, {steps} steps", nodes, neurons, steps, events, seconds)


def _least(engine: Any, inputs: Any, state: Any) -> tuple[float, int]:
    """Return the least seconds of several runs, and the synaptic events of one."""
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        trace = engine.run(inputs, state)
        times.append(time.perf_counter() - started)
    return min(times), int(trace.counts.synaptic_events.sum())


TARGETS = MappingProxyType({"cpu": _cpu, "loihi-emulator": _loihi_emulator})
"""Target → its runs."""
