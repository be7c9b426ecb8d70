"""Brian2: its equations as text, event-driven synapses; argument: numpy, cython or standalone."""

import sys
from typing import Any

import brian2 as b2
import numpy as np
from numpy.typing import NDArray
from protocol import Population, Problem, Projection, Spikes, serve

TARGET = sys.argv[3]
_LIF = "v += rate * (x - v)\nx = 0"
_CUBA = """current += synapse_rate * (synapse_gain * x - current)
x = 0
v += rate * ((bias - v) + current)"""


def _group(population: Population, place: int, problem: Problem) -> Any:
    """Return neurons that are stepped and tested behind the populations in front of them."""
    synapse = population.synapse_rate is not None
    group = b2.NeuronGroup(
        population.size,
        "v : 1\nx : 1\ncurrent : 1" if synapse else "v : 1\nx : 1",
        threshold="v > threshold",
        reset="v = 0",
        namespace={
            "rate": population.rate,
            "threshold": population.threshold,
            "synapse_rate": population.synapse_rate or 0.0,
            "synapse_gain": population.synapse_gain,
            "bias": population.bias,
        },
        order=place,
    )
    group.run_regularly(_CUBA if synapse else _LIF, when="synapses", order=3 * place)
    group.thresholder["spike"].when = "synapses"
    group.thresholder["spike"].order = 3 * place + 1
    if population.name in problem.initial:
        group.v = problem.initial[population.name]
    return group


def _spike_times(raster: NDArray[np.uint8], dt: Any) -> Any:
    steps, lines = np.nonzero(raster)
    return b2.SpikeGeneratorGroup(raster.shape[1], lines, steps * dt, when="start")


class Brian2Peer:
    """The problem as a Brian2 network, without its batch."""

    def __init__(self, problem: Problem) -> None:
        dt = problem.dt_s * b2.second
        b2.defaultclock.dt = dt
        b2.prefs.core.default_float_dtype = np.float64 if problem.initial else np.float32
        if TARGET == "standalone":
            b2.set_device("cpp_standalone", build_on_run=False)
        else:
            b2.prefs.codegen.target = TARGET
        self._dt_s, self._duration = problem.dt_s, problem.steps * dt
        self._seconds = 0.0
        groups = {name: _spike_times(raster[0], dt) for name, raster in problem.inputs.items()}
        for place, one in enumerate(problem.populations, start=1):
            groups[one.name] = _group(one, place, problem)
        places = {one.name: place for place, one in enumerate(problem.populations, start=1)}
        synapses = [_synapses(groups, places, one) for one in problem.projections]
        self._monitors = {
            one.name: b2.SpikeMonitor(groups[one.name]) for one in problem.populations
        }
        self._network = b2.Network(*groups.values(), *synapses, *self._monitors.values())
        if TARGET == "standalone":
            self._network.run(self._duration, namespace={})
            b2.device.build(directory=str(problem.folder / "code"), run=False, with_output=False)
        else:
            self._network.store()

    def run(self) -> float:
        """Run from the start; return what Brian2 says of its loop over the steps."""
        if TARGET == "standalone":
            b2.device.run(with_output=False)
            return float(b2.device._last_run_time)
        self._network.restore()
        self._network.run(
            self._duration, namespace={}, report=self._report, report_period=3600 * b2.second
        )
        return self._seconds

    def _report(self, elapsed: Any, *_: Any) -> None:
        self._seconds = float(elapsed)

    def spikes(self) -> Spikes:
        """Return the last run's spikes."""
        return {
            name: np.column_stack(
                (
                    np.zeros(len(monitor.i), np.int64),
                    np.rint(np.asarray(monitor.t) / self._dt_s).astype(np.int64),
                    np.asarray(monitor.i, np.int64),
                )
            )
            for name, monitor in self._monitors.items()
        }


def _synapses(groups: dict[str, Any], places: dict[str, int], one: Projection) -> Any:
    """Return synapses that act in front of the target's step, or behind all if late."""
    made = b2.Synapses(groups[one.source], groups[one.target], "w : 1", on_pre="x_post += w")
    made.connect(i=one.pre, j=one.post)
    made.w = one.weight
    made.pre.when = "synapses"
    late = 3 * len(places) + 3
    made.pre.order = late if one.delay_steps else 3 * places[one.target] - 1
    return made


serve(Brian2Peer, f"Brian2 {b2.__version__} {TARGET}")
