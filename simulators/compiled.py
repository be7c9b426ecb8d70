"""The compiled engine: the reference engine's steps and bits, in machine code."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_inputs import given_inputs
from simulators.compiled_layout import RECORD_COLUMNS, aligned_copy
from simulators.compiled_loading import load_kernels
from simulators.compiled_lowering import Lowered, lower
from simulators.compiled_memory import Held
from simulators.compiled_run import run
from simulators.helpers import helpers
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

_REMEMBERED = 16
"""Sizes of runs whose records are remembered."""

WORTH_SHARING = 2**20
"""Neurons times steps times samples from which a second thread saves more than it costs."""


class CompiledEngine:
    """Steps a plan in compiled code, with a batch of independent samples.

    Safe to use from several threads, which run at the same time. The first engine of a process
    loads the kernels unless `load_kernels` was called before.

    Args:
        plan: the graph in execution order.
        threads: how many share the samples of a batch at most, where that pays and cores are free;
            the bits are the same.
    """

    def __init__(self, plan: Plan, threads: int = 1) -> None:
        self.plan = plan
        self._threads = threads
        self._dtype = np.dtype(plan.contract.arithmetic)
        load_kernels()
        self._lowered = lower(plan)
        self._input_shapes = input_shapes(plan)
        self._kept = _Places(plan, self._lowered)
        self._memories: list[FloatArray] = []  # of runs that have ended
        self._neurons = sum(n.size for n in plan.nodes if isinstance(n.operation, Neuron))

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs; see `ReferenceEngine.run`."""
        program = self._lowered.program
        most = self._most_threads(inputs)
        given = given_inputs(self._input_shapes, inputs, self._dtype, most * program.list_size)
        held = self._begin(given.batch, state)
        kept = self._kept.of(record, given.batch, given.steps)
        floats, counts = np.zeros(kept.floats, self._dtype), np.zeros(kept.counts, np.int32)
        counters = np.zeros((given.batch, program.counters), np.int64)
        events = np.zeros(given.batch, np.int64)

        def step(first: int, last: int, number: int) -> None:
            # What a run writes of a sample has rows of its own; this is what stepping needs.
            list_at = program.list_at + (given.end + number * program.list_size)
            listed, holds = np.zeros((2, list_at.size), np.int64)
            holds[: given.holds.size] = given.holds
            try:  # whether there is one may have changed since it was looked at
                memory = self._memories.pop()
            except IndexError:
                memory = aligned_copy(program.initial)
            run(
                *(program.operations, program.parts, program.rings, program.rules, program.v_min),
                *(program.coefficients, program.rows, program.integers),
                *(program.start, program.near, program.post, program.weight, program.fan_out),
                program.delays,
                *(kept.records, first, last, given.steps),
                *(given.rows, list_at, listed, holds, given.active, given.value),
                *(memory, held, floats, counts, counters, events),
            )
            self._memories.append(memory)

        helpers().share(given.batch, most, step)
        spikes = {name: counters[:, n] for name, n in self._lowered.counters.items()}
        work = Counts(events, self._neurons * given.steps, spikes)
        outputs = {name: one.view(floats, counts) for name, one in kept.outputs.items()}
        recorded = {key: one.view(floats, counts) for key, one in kept.recorded.items()}
        return Trace(outputs, recorded, Held(self._lowered.fields, held), work)

    def _most_threads(self, inputs: Mapping[str, Raster]) -> int:
        """Return how many threads a run of these inputs, if they are right, is worth."""
        if self._threads == 1:
            return 1
        lead = next((np.shape(raster)[:2] for raster in inputs.values()), ())
        pays = math.prod(lead) * self._neurons >= WORTH_SHARING
        return self._threads if pays and len(lead) == 2 and lead[0] > 1 else 1

    def _begin(self, batch: int, state: State | None) -> FloatArray:
        """Return the state [batch, width] as the kernel takes it."""
        initial = self._lowered.program.initial[: self._lowered.program.state_width]
        held = np.empty((batch, initial.size), self._dtype)
        held[:] = initial
        if state is not None:
            entries = self._lowered.fields
            for key, values in checked_state(state, Held(entries, held)).items():
                entries[key].view(held)[...] = values
        return held


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run keeps one quantity of every step: from `at` on in the counts, or the floats."""

    at: int
    counts: bool
    shape: tuple[int, ...]

    def view(self, floats: FloatArray, counts: NDArray[np.int32]) -> NDArray[Any]:
        """Return what was kept, [batch, steps, *shape]."""
        pool: NDArray[Any] = counts if self.counts else floats
        return pool[self.at : self.at + math.prod(self.shape)].reshape(self.shape)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What runs of a size keep of every step: the activity of Output nodes, and what is recorded.

    Attributes:
        records: as the kernel takes them.
        floats: how many floats that is.
        counts: how many counts.
        outputs: Output node → its place.
        recorded: `NODE.quantity` → its place.
    """

    records: NDArray[np.int64]
    floats: int
    counts: int
    outputs: Mapping[str, _Place]
    recorded: Mapping[str, _Place]


class _Places:
    """Where what a run can keep lies: the outputs, and what can be recorded."""

    def __init__(self, plan: Plan, lowered: Lowered) -> None:
        self._plan = plan
        self._lowered = lowered
        self._shapes = {node.name: node.shape for node in plan.nodes}
        self._outputs = [node.name for node in plan.of_kind("Output")]
        self._made: dict[tuple[tuple[str, ...], int, int], _Kept] = {}

    def of(self, record: Collection[str], batch: int, steps: int) -> _Kept:
        """Return what a run keeps; raises as `checked_record`."""
        key = tuple(record), batch, steps
        kept = self._made.get(key)
        if kept is None:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            kept = self._made[key] = self._make(record, (batch, steps))
        return kept

    def _make(self, record: Collection[str], lead: tuple[int, int]) -> _Kept:
        rows: list[tuple[int, int, int, bool, int]] = []
        ends = {False: 0, True: 0}

        def keep(name: str, begin: int, listed: int, *, counts: bool) -> _Place:
            shape = self._shapes[name]
            place = _Place(ends[counts], counts, (*lead, *shape))
            rows.append((begin, math.prod(shape), place.at, counts, listed))
            ends[counts] += math.prod(place.shape)
            return place

        lowered = self._lowered
        outputs = {name: keep(name, *lowered.outputs[name], counts=False) for name in self._outputs}
        recorded = {}
        for name, what, _ in checked_record(self._plan, record) if record else ():
            spikes, key = what == "spikes", f"{name}.{what}"
            begin = lowered.outputs[name] if spikes else (lowered.fields[key].at, -1)
            recorded[key] = keep(name, *begin, counts=spikes)
        records = np.array(rows, np.int64).reshape(-1, RECORD_COLUMNS)
        return _Kept(records, ends[False], ends[True], outputs, recorded)
