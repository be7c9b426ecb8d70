"""How the time of the compiled engine grows: with neurons, synapses, samples and steps.

Each series changes one size and takes the least of several runs. What is wanted is time linear in
synaptic events: an exponent of 1 or less, less where what a run costs in any case still counts.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.networks import Network, cuba, fusion
from benchmarks.timing import seconds
from fusion.contract import make_contract
from simulators.compiled import CompiledEngine
from simulators.plan import make_plan

_RUNS = 7
_HALVES_BATCH, _HALVES_RUNS = 32, 40


@dataclass(frozen=True, slots=True)
class Point:
    """One size of a series: synaptic events of a run, and the seconds that it took."""

    size: int
    synaptic_events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GrowthFigures:
    """What was measured.

    Attributes:
        series: what grows → its points.
        exponents: what grows → e of time ∝ synaptic events ** e.
        two_processes: samples a second of two processes, of those of one.
    """

    series: dict[str, list[Point]]
    exponents: dict[str, float]
    two_processes: float


def measure() -> GrowthFigures:
    """Measure every series, then one process against two; takes about a minute."""
    series = {name: list(points()) for name, points in SERIES.items()}
    exponents = {name: exponent(points) for name, points in series.items()}
    return GrowthFigures(series, exponents, _two_processes())


def exponent(points: list[Point]) -> float:
    """Return the slope of log time over log synaptic events, by least squares."""
    events, seconds = (np.log([getattr(p, f) for p in points]) for f in Point.__slots__[1:])
    return float(np.polyfit(events, seconds, 1)[0])


def _point(size: int, network: Network, batch: int, steps: int) -> Point:
    engine = CompiledEngine(network.plan)
    inputs = {name: raster[:, :steps] for name, raster in network.inputs(batch).items()}
    state = network.state(batch)
    events = int(engine.run(inputs, state).counts.synaptic_events.sum())
    return Point(
        size, events, min(seconds(partial(engine.run, inputs, state)) for _ in range(_RUNS))
    )


def _neurons() -> Iterator[Point]:
    for neurons in (1000, 2000, 4000, 8000, 16000):
        yield _point(neurons, cuba(neurons), 1, 1000)


def _synapses() -> Iterator[Point]:
    for lines in (512, 1024, 2048, 4096, 8192):
        yield _point(lines * 512, _layer(lines, 512), 1, 200)


def _batch() -> Iterator[Point]:
    network = fusion()
    for batch in (1, 2, 4, 8, 16, 32):
        yield _point(batch, network, batch, network.steps)


def _steps() -> Iterator[Point]:
    network = _layer(784, 512)
    for steps in (50, 100, 200, 400, 800):
        yield _point(steps, network, 1, steps)


SERIES: MappingProxyType[str, Callable[[], Iterator[Point]]] = MappingProxyType(
    {"neurons": _neurons, "synapses": _synapses, "samples": _batch, "steps": _steps}
)
"""What grows → the points of its series."""


def _layer(lines: int, neurons: int) -> Network:
    """Return lines of which 5 % are active, into LIF neurons, with weights that are no integers."""
    one = np.ones(neurons)
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([lines])),
        "w": nir.Linear(np.random.default_rng(lines).normal(0, 1, (neurons, lines))),
        "lif": nir.LIF(tau=one * 0.02, r=one, v_leak=one * 0, v_threshold=one * lines**0.5 / 4),
        "output": nir.Output(np.array([neurons])),
    }
    graph = nir.NIRGraph(nodes, list(pairwise(nodes)), type_check=False)
    plan = make_plan(graph, make_contract("nir", 1e-3, {"arithmetic": "float32"}))
    return Network("layer", plan, 800, {"input": 0.05}, graph)


def _two_processes() -> float:
    """Return how many times as many samples two processes step in a second as one does."""
    alone = max(_rates(1)[0] for _ in range(3))
    together = max(sum(_rates(2)) for _ in range(3))
    return together / alone


def _rates(processes: int) -> list[float]:
    """Return the samples a second of each of several processes that run at once."""
    command = [sys.executable, "-c", "from benchmarks.growth import answer_rate; answer_rate()"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()  # it is ready
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    return [float(one.communicate()[0]) for one in started]


def answer_rate() -> None:
    """Get ready, wait for a line, then print how many samples of a batch a second takes."""
    network = fusion()
    engine, inputs = CompiledEngine(network.plan), network.inputs(_HALVES_BATCH)
    engine.run(inputs)
    print("ready", flush=True)
    sys.stdin.readline()
    taken_s = sum(seconds(partial(engine.run, inputs)) for _ in range(_HALVES_RUNS))
    print(_HALVES_BATCH * _HALVES_RUNS / taken_s)


def report(figures: GrowthFigures, *, as_json: bool) -> None:
    """Print the figures, for people or as one line of JSON."""
    if as_json:
        print(json.dumps(asdict(figures)))
        return
    table = Table("grows", "from", "to", "events, times", "time, times", "exponent")
    for name, points in figures.series.items():
        first, last = points[0], points[-1]
        table.add_row(
            name, f"{first.size:,}", f"{last.size:,}",
            f"{last.synaptic_events / first.synaptic_events:.3g}",
            f"{last.seconds / first.seconds:.3g}", f"{figures.exponents[name]:.2f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        f"two processes step {figures.two_processes:.2f} times as many samples a second as one"
    )
