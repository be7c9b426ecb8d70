"""NEST: `iaf_psc_exp`, integrated exactly; the command line says how late synapses are, in ms.

With synapses that are later than a step, NEST exchanges spikes as much more rarely.
"""

import math
import sys
import time

import nest
import numpy as np
from protocol import Population, Problem, Spikes, serve

DELAY_MS = float(sys.argv[3])


class NestPeer:
    """One population that feeds itself; NEST has one kernel, so each run builds anew."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._cells = self._recorder = None
        nest.set_verbosity("M_ERROR")

    def _build(self) -> None:
        problem = self._problem
        (population,), (loop,) = problem.populations, problem.projections
        nest.ResetKernel()
        nest.local_num_threads = 1
        nest.resolution = problem.dt_s * 1e3
        self._cells = nest.Create("iaf_psc_exp", population.size, _parameters(population, problem))
        self._cells.V_m = problem.initial[population.name]
        first = self._cells[0].global_id
        # In arrays a delay is given for every synapse.
        nest.Connect(
            loop.pre + first,
            loop.post + first,
            "one_to_one",
            {"weight": loop.weight, "delay": np.full(loop.pre.size, DELAY_MS)},
        )
        self._recorder = nest.Create("spike_recorder")
        nest.Connect(self._cells, self._recorder)

    def run(self) -> float:
        """Build, then run; return the seconds of the latter."""
        self._build()
        nest.Prepare()
        started = time.perf_counter()
        nest.Run(self._problem.steps * self._problem.dt_s * 1e3)
        seconds = time.perf_counter() - started
        nest.Cleanup()
        return seconds

    def spikes(self) -> Spikes:
        """Return the last run's spikes; NEST stamps them with the end of their step."""
        events = self._recorder.events
        neurons = np.asarray(events["senders"], np.int64) - self._cells[0].global_id
        steps = np.rint(np.asarray(events["times"]) / (self._problem.dt_s * 1e3)).astype(np.int64)
        rows = np.column_stack((np.zeros_like(steps), steps - 1, neurons))
        return {self._problem.populations[0].name: rows}


def _parameters(one: Population, problem: Problem) -> dict[str, float]:
    """Return NEST's parameters, in ms and mV; with C_m = τ_m a current of 1 pA means 1 mV."""
    if one.synapse_rate is None or not math.isclose(one.synapse_rate * one.synapse_gain, 1):
        sys.exit(f"{one.name}: a spike must add its weight to the current")
    dt_ms = problem.dt_s * 1e3
    tau_syn = dt_ms / one.synapse_rate
    return {
        "tau_m": dt_ms / one.rate,
        "C_m": dt_ms / one.rate,
        "tau_syn_ex": tau_syn,
        "tau_syn_in": tau_syn,
        "E_L": one.bias,
        "V_th": one.threshold,
        "V_reset": 0.0,
        "t_ref": 0.0,
    }


serve(NestPeer, f"NEST {nest.__version__}, delay {DELAY_MS} ms")
