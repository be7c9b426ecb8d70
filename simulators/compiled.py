"""The compiled engine: the reference engine's steps and bits, in machine code."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_inputs import Given, given_inputs
from simulators.compiled_layout import RECORD_COLUMNS, aligned_copy, padded
from simulators.compiled_loading import load_kernels
from simulators.compiled_lowering import Lowered, lower
from simulators.compiled_run import run
from simulators.neurons import Neuron
from simulators.plan import Plan
from simulators.trace import (
    Counts,
    FloatArray,
    Raster,
    State,
    Trace,
    checked_record,
    checked_state,
    input_shapes,
)


class CompiledEngine:
    """Steps a plan in compiled code, with a batch of independent samples.

    Safe to use from several threads, which run at the same time. The first engine of a process
    loads the kernels unless `load_kernels` was called before.

    Args:
        plan: the graph in execution order.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._dtype = np.dtype(plan.contract.arithmetic)
        load_kernels()
        self._lowered = lower(plan)
        self._input_shapes = input_shapes(plan)
        self._kept = _Places(plan, self._lowered)
        self._neurons = sum(n.size for n in plan.nodes if isinstance(n.operation, Neuron))

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs; see `ReferenceEngine.run`."""
        program = self._lowered.program
        given = given_inputs(self._input_shapes, inputs, self._dtype, program.list_size)
        held = self._begin(given.batch, state)
        kept = _Kept(self._kept, record, given)
        counters = np.zeros((given.batch, program.counters), np.int64)
        events = np.zeros(given.batch, np.int64)
        list_at = program.list_at + given.end
        holds = np.zeros(list_at.size, np.int64)
        holds[: given.holds.size] = given.holds
        run(
            *(program.operations, program.parts, program.rings, program.rules, program.v_min),
            *(program.coefficients, program.rows, program.integers),
            *(program.start, program.near, program.post, program.weight, program.fan_out),
            program.delays,
            *(kept.records, 0, given.batch, given.steps),
            *(given.rows, list_at, np.zeros_like(holds), holds, given.active, given.value),
            *(aligned_copy(program.initial), held, kept.floats, kept.counts, counters, events),
        )
        spikes = {name: counters[:, n] for name, n in self._lowered.counters.items()}
        counts = Counts(events, self._neurons * given.steps, spikes)
        return Trace(kept.outputs, kept.recorded, self._state(held), counts)

    def _begin(self, batch: int, state: State | None) -> FloatArray:
        """Return the state [batch, width] as the kernel takes it."""
        initial = self._lowered.program.initial[: self._lowered.program.state_width]
        held = np.tile(initial, (batch, 1))
        if state is not None:
            fields = self._state(held)
            for key, values in checked_state(state, fields).items():
                self._view(held, key)[...] = values
        return held

    def _state(self, held: FloatArray) -> dict[str, FloatArray]:
        return {key: self._view(held, key).copy() for key in self._lowered.fields}

    def _view(self, held: FloatArray, key: str) -> FloatArray:
        entry = self._lowered.fields[key]
        values = held[:, entry.at : entry.at + entry.width]
        if entry.depth is None:
            return values[:, : entry.size]
        width = padded(entry.size)
        return values.reshape(len(held), entry.depth, width)[:, :, : entry.size]


class _Places:
    """Where what a run can keep lies: the outputs, and what can be recorded."""

    def __init__(self, plan: Plan, lowered: Lowered) -> None:
        self.plan = plan
        self.dtype = lowered.program.initial.dtype
        self.shapes = {node.name: node.shape for node in plan.nodes}
        self.outputs = {node.name: lowered.outputs[node.name] for node in plan.of_kind("Output")}
        self._lowered = lowered

    def recorded(self, record: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return `NODE.quantity` → place and list of what is to be recorded."""
        if not record:
            return {}
        lowered = self._lowered
        return {
            f"{name}.{what}": lowered.outputs[name]
            if what == "spikes"
            else (lowered.fields[f"{name}.{what}"].at, -1)
            for name, what, _ in checked_record(self.plan, record)
        }


class _Kept:
    """What a run keeps of every step: the activity of Output nodes, and what is recorded."""

    def __init__(self, places: _Places, record: Collection[str], given: Given) -> None:
        self._lead = given.batch, given.steps
        self._rows: list[tuple[int, int, int, bool, int]] = []
        self._ends = {False: 0, True: 0}
        shapes = places.shapes
        outputs = {name: self._keep(*place, shapes[name]) for name, place in places.outputs.items()}
        recorded = {
            key: self._keep(*place, shapes[key.rsplit(".", 1)[0]], counts=key.endswith(".spikes"))
            for key, place in places.recorded(record).items()
        }
        self.records = np.array(self._rows, np.int64).reshape(-1, RECORD_COLUMNS)
        # What comes from a list is written where it is not zero only.
        self.floats = np.zeros(self._ends[False], places.dtype)
        self.counts = np.zeros(self._ends[True], np.int32)
        self.outputs = {name: self._view(*kept) for name, kept in outputs.items()}
        self.recorded = {key: self._view(*kept) for key, kept in recorded.items()}

    def _keep(
        self, begin: int, listed: int, shape: tuple[int, ...], *, counts: bool = False
    ) -> tuple[int, bool, tuple[int, ...]]:
        """Record a place of the memory, or a list; return where the record goes."""
        to, size = self._ends[counts], math.prod(shape)
        self._rows.append((begin, size, to, counts, listed))
        self._ends[counts] += math.prod(self._lead) * size
        return to, counts, shape

    def _view(self, at: int, counts: bool, shape: tuple[int, ...]) -> NDArray[Any]:
        pool: NDArray[Any] = self.counts if counts else self.floats
        whole = (*self._lead, *shape)
        return pool[at : at + math.prod(whole)].reshape(whole)
