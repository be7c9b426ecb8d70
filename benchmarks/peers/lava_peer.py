"""Lava's float models, in the processes that the target lava-float makes of a network.

Warm, only stepping counts; fresh, each run also makes, compiles and starts the processes, in an
interpreter that has imported Lava. The command line says which.

A layer spikes a step late for each connection in front of it. A timed run takes the problem's
steps; the spikes come from a longer one, with every layer's moved back.
"""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import nir
import numpy as np
from protocol import Problem, Spikes, serve

from backends.lava_engine import lava_host
from backends.lava_environment import lava_python
from backends.lava_float_engine import LavaFloatEngine
from fusion.contract import make_contract
from simulators.plan import Plan, make_plan

_DEADLINE_S = 600.0
STATE = sys.argv[3]


class LavaPeer:
    """The problem in a child that runs Lava."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._late = _late(problem)
        self._plan = _plan(problem)
        self._host = lava_host("lava-float", lava_python("lava-float"))
        self._engine = LavaFloatEngine(self._plan, self._host)

    def run(self) -> float:
        """Return the seconds of a run, or of making the network and a run."""
        made_s = self._make_anew() if STATE == "fresh" else 0.0
        return made_s + self._engine.timed_run(self._problem.inputs, None, (), _DEADLINE_S)[1]

    def _make_anew(self) -> float:
        started = time.perf_counter()
        self._engine.forget()
        self._engine = LavaFloatEngine(self._plan, self._host)
        return time.perf_counter() - started

    def spikes(self) -> Spikes:
        """Run for longer; return what spiked, each layer moved back by what it is late."""
        steps, tail = self._problem.steps, max(self._late.values())
        inputs = {
            name: np.pad(raster, ((0, 0), (0, tail), (0, 0)))
            for name, raster in self._problem.inputs.items()
        }
        trace = self._engine.timed_run(inputs, None, ["all"], _DEADLINE_S)[0]
        return {
            one.name: np.argwhere(
                trace.recorded[f"{one.name}.spikes"][:, self._late[one.name] :][:, :steps]
            )
            for one in self._problem.populations
        }


def _plan(problem: Problem) -> Plan:
    nodes: dict[str, Any] = {
        name: nir.Input(np.array([raster.shape[2]])) for name, raster in problem.inputs.items()
    }
    for one in problem.populations:
        ones = np.ones(one.size)
        nodes[one.name] = nir.LIF(
            tau=ones * problem.dt_s / one.rate,
            r=ones,
            v_leak=ones * 0,
            v_threshold=ones * one.threshold,
            v_reset=ones * 0,
        )
    edges = []
    for one in problem.projections:
        name = f"{one.source}_to_{one.target}"
        nodes[name] = nir.Linear(one.matrix().astype(float))
        edges += [(one.source, name), (name, one.target)]
    last = problem.populations[-1]
    nodes["output"] = nir.Output(np.array([last.size]))
    edges.append((last.name, "output"))
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    return make_plan(graph, make_contract("lava-float", problem.dt_s))


def _late(problem: Problem) -> dict[str, int]:
    """Return population → steps by which it is late, the same on every way to it."""
    late = dict.fromkeys(problem.inputs, 0)
    for population in problem.populations:
        ways = {
            late[one.source] + 1
            for one in problem.projections
            if one.target == population.name and not one.delay_steps
        }
        if len(ways) > 1:
            raise SystemExit(f"{population.name} is late by {ways} steps at once")
        late[population.name] = ways.pop()
    return late


serve(LavaPeer, f"Lava 0.10.0 float, {STATE}")
