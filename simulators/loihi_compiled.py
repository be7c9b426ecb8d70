"""The engine of Loihi's integers in machine code, with the readable engine's bits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from simulators.compiled_inputs import Given, given_inputs
from simulators.compiled_layout import ONES
from simulators.compiled_loading import load_kernels
from simulators.compiled_loihi import (
    CURRENT_LEFT,
    I_AT,
    INPUT_REACHED,
    MEMBRANE_CLIPPED,
    SPIKED,
    SPIKES_AT,
    V_AT,
    step_samples,
)
from simulators.loihi import LoihiEngine
from simulators.loihi_layout import Layout, lay_out
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.trace import Counts, Raster, State, Trace, checked_state

_QUANTITIES = {"spikes": SPIKES_AT, "v": V_AT, "i": I_AT}
_REGISTERS = {"input": INPUT_REACHED, "i": CURRENT_LEFT, "v": MEMBRANE_CLIPPED}


class CompiledLoihiEngine(LoihiEngine):
    """Steps a network of integers in machine code; safe to use from several threads.

    Runs whose sums might leave their registers go through the readable engine, which counts that.

    Args:
        network: the network.
    """

    def __init__(self, network: LoihiNetwork) -> None:
        super().__init__(network)
        load_kernels()
        self._layout = lay_out(network)
        self._initial = tuple(
            _joined([getattr(one, name)[None] for one in network.populations], 1)
            for name in ("u", "v")
        )
        self._neurons = sum(one.size for one in network.populations)

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs; see `LoihiEngine.run`."""
        shapes = {one.name: one.shape for one in self.network.inputs}
        given = given_inputs(shapes, inputs, np.dtype(np.float64), self._neurons)
        largest = {name: self._checked(name, n, given) for n, name in enumerate(shapes)}
        if any(
            reach * largest.get(source, 1) >= limit for source, reach, limit in self._layout.reach
        ):
            return super().run(inputs, state, record)
        memory = self._fresh_memory(given.batch) if state is None else self._memory(given, state)
        return self._step(given, memory, _Records(self.network, self._recorded(record), given))

    def _checked(self, name: str, number: int, given: Given) -> int:
        """Return the largest payload of an input.

        Raises:
            InvalidInput: naming the first value that no spike can carry.
        """
        rows = given.rows[number]
        values = given.value[rows[0] : rows[-1]]
        if given.holds[number] == ONES:
            values.fill(1)  # lists of spikes leave it out
            return int(values.size > 0)
        limit = self.network.payload_limit(name)
        wrong = (values != np.floor(values)) | (values < 0) | (values > limit)
        if wrong.any():
            at = int(np.argmax(wrong))
            row = int(np.searchsorted(rows, rows[0] + at, "right")) - 1
            place = [*divmod(row, given.steps), int(given.active[rows[0] + at])]
            raise InvalidInput(
                f"inputs.{name}{place}", f"is {values[at]:g}",
                f"a whole number of spikes from 0 to {limit}",
            )  # fmt: skip
        return int(values.max(initial=0))

    def _fresh_memory(self, batch: int) -> "_Memory":
        """Return the memory before the first step."""
        u, v = (np.repeat(one, batch, axis=0) for one in self._initial)
        lines = np.zeros((batch, self._layout.registers), np.int32)
        return _Memory(u, v, lines, np.zeros(batch, np.int64))

    def _memory(self, given: Given, state: State) -> "_Memory":
        """Return a state in the kernel's arrays.

        Raises:
            InvalidInput: naming the key that does not fit.
        """
        held = checked_state(state, self._fresh(given.batch))
        return _Memory(
            _joined([held[f"{one.name}.i"] for one in self.network.populations], given.batch),
            _joined([held[f"{one.name}.v"] for one in self.network.populations], given.batch),
            _joined(
                [
                    held[f"{one.name}.line"].reshape(given.batch, -1)
                    for one in self.network.connections
                ],
                given.batch,
            ),
            held.get("step", np.zeros(given.batch, np.int64)),
        )

    def _step(self, given: Given, memory: "_Memory", records: "_Records") -> Trace:
        layout, network = self._layout, self.network
        given.value[given.end :] = 1
        payload = given.value.astype(np.int32)
        counters = np.zeros((given.batch, len(network.populations), 4), np.int64)
        events = np.zeros(given.batch, np.int64)
        step_samples(
            *(layout.connections, records.places(layout), layout.keep_u, layout.keep_v),
            *(layout.bias, layout.threshold, layout.weights, layout.starts, layout.places),
            *(layout.fan_out, given.rows, given.active, payload, given.end, given.batch),
            *(given.steps, memory.u, memory.v, memory.lines, memory.begun, records.pool),
            *(counters, events),
        )
        spikes = {one.name: counters[:, n, SPIKED] for n, one in enumerate(network.populations)}
        return Trace(
            records.outputs(),
            records.recorded(),
            self._state(memory, given.steps),
            Counts(events, self._neurons * given.steps, spikes),
            self._overflows(counters),
        )

    def _state(self, memory: "_Memory", steps: int) -> dict[str, NDArray[Any]]:
        """Return the state after the last step, the registers to be read next first."""
        state: dict[str, NDArray[Any]] = {}
        at = 0
        for population in self.network.populations:
            end = at + population.size
            state[f"{population.name}.i"] = memory.u[:, at:end]
            state[f"{population.name}.v"] = memory.v[:, at:end]
            at = end
        for name, (begin, slots, n_post) in self._layout.lines.items():
            ring = memory.lines[:, begin : begin + slots * n_post].reshape(-1, slots, n_post)
            turned = steps % slots
            state[f"{name}.line"] = np.roll(ring, -turned, axis=1) if turned else ring
        if any(one.reset is not None for one in self.network.populations):
            state["step"] = memory.begun + steps
        return state

    def _overflows(self, counters: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        found = {
            f"{name}.weights": np.full(len(counters), one.clipped, np.int64)
            for name, one in self._synapses.items()
            if one.clipped
        }
        for number, population in enumerate(self.network.populations):
            for register, column in _REGISTERS.items():
                times = counters[:, number, column]
                if times.any():
                    found[f"{population.name}.{register}"] = times
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What the kernel changes: u and v [batch, neurons], registers, and steps that went before."""

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    lines: NDArray[np.int32]
    begun: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record begins in the pool, and how large a step of it is."""

    at: int
    population: LifPopulation


class _Records:
    """What a run keeps of every step."""

    def __init__(
        self, network: LoihiNetwork, recorded: Collection[LifPopulation], given: Given
    ) -> None:
        self._network = network
        self._lead = given.batch, given.steps
        self._wanted = {f"{one.name}.{what}" for one in recorded for what in _QUANTITIES}
        read = {f"{one.source}.{one.reads}" for one in network.outputs}
        self._places: dict[str, _Place] = {}
        end = 0
        for one in network.populations:
            for what in _QUANTITIES:
                if f"{one.name}.{what}" in self._wanted | read:
                    self._places[f"{one.name}.{what}"] = _Place(end, one)
                    end += given.batch * given.steps * one.size
        self.pool = np.empty(end, np.int32)

    def places(self, layout: Layout) -> NDArray[np.int64]:
        """Return the table of populations with the places of their records."""
        table = layout.populations.copy()
        for row, one in zip(table, self._network.populations, strict=True):
            for what, column in _QUANTITIES.items():
                if f"{one.name}.{what}" in self._places:
                    row[column] = self._places[f"{one.name}.{what}"].at
        return table

    def outputs(self) -> dict[str, NDArray[np.floating]]:
        """Return output → [batch, steps, *shape]."""
        return {
            one.name: (one.offset + one.scale * self._flat(f"{one.source}.{one.reads}")).reshape(
                *self._lead, *one.shape
            )
            for one in self._network.outputs
        }

    def recorded(self) -> dict[str, NDArray[np.int32]]:
        """Return `POPULATION.quantity` → [batch, steps, *shape]."""
        return {
            key: self._flat(key).reshape(*self._lead, *place.population.shape)
            for key, place in self._places.items()
            if key in self._wanted
        }

    def _flat(self, key: str) -> NDArray[np.int32]:
        place = self._places[key]
        size = place.population.size
        length = self._lead[0] * self._lead[1] * size
        return self.pool[place.at : place.at + length].reshape(*self._lead, size)


def _joined(parts: Collection[NDArray[np.int32]], batch: int) -> NDArray[np.int32]:
    return np.concatenate([np.zeros((batch, 0), np.int32), *parts], axis=1)
