"""The engine of Loihi's integers in machine code, with the readable engine's bits."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from simulators.compiled_inputs import Given, given_inputs
from simulators.compiled_layout import ONES, aligned
from simulators.compiled_loading import load_kernels
from simulators.compiled_loihi import COUNTERS, I_AT, SPIKES_AT, V_AT, step_samples
from simulators.compiled_loihi_neurons import (
    CURRENT_LEFT,
    INPUT_REACHED,
    MEMBRANE_CLIPPED,
    SPIKED,
)
from simulators.compiled_memory import Held, StateField
from simulators.loihi import LoihiEngine
from simulators.loihi_layout import Layout, lay_out
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.trace import Counts, Raster, State, Trace, checked_state

_QUANTITIES = {"spikes": SPIKES_AT, "v": V_AT, "i": I_AT}
_REGISTERS = {"input": INPUT_REACHED, "i": CURRENT_LEFT, "v": MEMBRANE_CLIPPED}
_FLOATS = np.dtype(np.float64)

_REMEMBERED = 16
"""Sizes of runs whose records are remembered."""


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
        self._shapes = {one.name: one.shape for one in network.inputs}
        self._neurons = sum(one.size for one in network.populations)
        self._resets = any(one.reset is not None for one in network.populations)
        self._clipped = {
            f"{name}.weights": one.clipped for name, one in self._synapses.items() if one.clipped
        }
        self._kept: dict[tuple[tuple[str, ...], int, int], _Records] = {}

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs; see `LoihiEngine.run`."""
        given = given_inputs(self._shapes, inputs, _FLOATS, self._layout.neurons)
        held = zip(self._shapes, given.holds.tolist(), strict=True)
        graded = {name: n for n, (name, holds) in enumerate(held) if holds != ONES}
        largest = {name: self._checked(name, n, given) for name, n in graded.items()}
        limits = self._layout.payload_limits.items()
        if any(largest.get(source, 1) > limit for source, limit in limits):
            return super().run(inputs, state, record)
        return self._step(given, _payloads(given, graded.values()), state, record)

    def _checked(self, name: str, number: int, given: Given) -> int:
        """Return the largest payload of an input.

        Raises:
            InvalidInput: naming the first value that no spike can carry.
        """
        rows = given.rows[number]
        values = given.value[rows[0] : rows[-1]]
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

    def _step(
        self,
        given: Given,
        payload: NDArray[np.int32],
        state: State | None,
        record: Collection[str],
    ) -> Trace:
        layout, records = self._layout, self._records(record, given)
        memory, held, begun = self._memory(given.batch, state)
        kept = np.zeros(records.size, np.int32)
        counters = np.zeros((given.batch, len(layout.populations), COUNTERS), np.int64)
        events = np.zeros(given.batch, np.int64)
        step_samples(
            *(layout.connections, records.populations, layout.parameters, *layout.pools),
            *(given.rows, given.holds, given.active, payload, given.end),
            *(given.batch, given.steps, memory, layout.width, begun, kept, counters, events),
        )
        spikes = {
            one.name: counters[:, n, SPIKED] for n, one in enumerate(self.network.populations)
        }
        return Trace(
            records.outputs(kept),
            records.recorded(kept),
            _Held(layout.fields, held, given.steps, begun if self._resets else None),
            Counts(events, self._neurons * given.steps, spikes),
            self._overflows(counters),
        )

    def _records(self, record: Collection[str], given: Given) -> "_Records":
        """Return what a run keeps of every step; raises as `LoihiEngine.run`."""
        key = tuple(record), given.batch, given.steps
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _REMEMBERED:
                self._kept.clear()
            kept = _Records(self.network, self._recorded(record), key[1:], self._layout)
            self._kept[key] = kept
        return kept

    def _memory(
        self, batch: int, state: State | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Return the kernel's memory, the state in it [batch, width], and the steps before.

        Raises:
            InvalidInput: naming the key of the state that does not fit.
        """
        layout = self._layout
        memory = aligned(batch * layout.width + layout.room, np.int32)
        held = memory[: batch * layout.width].reshape(batch, layout.width)
        if state is None:
            held[:, : layout.initial.size] = layout.initial
            return memory, held, np.zeros(batch, np.int64)
        checked = checked_state(state, self._fresh(batch))
        for key, place in layout.fields.items():
            place.view(held)[...] = checked[key]
        return memory, held, checked.get("step", np.zeros(batch, np.int64))

    def _overflows(self, counters: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        found = {key: np.full(len(counters), times) for key, times in self._clipped.items()}
        if not counters[:, :, :SPIKED].any():
            return found
        for number, population in enumerate(self.network.populations):
            for register, column in _REGISTERS.items():
                times = counters[:, number, column]
                if times.any():
                    found[f"{population.name}.{register}"] = times
        return found


def _payloads(given: Given, graded: Collection[int]) -> NDArray[np.int32]:
    """Return payloads beside the active lines, of the inputs where not all of them are 1."""
    payload = np.zeros(given.end if graded else 0, np.int32)
    for number in graded:
        begin, end = given.rows[number, 0], given.rows[number, -1]
        payload[begin:end] = given.value[begin:end]
    return payload


class _Held(Held):
    """A run's state, with the registers to be read next first, and steps where they matter.

    Args:
        fields: state key → its place.
        held: [batch, width], as the kernel left it.
        steps: steps of the run.
        begun: int64 [batch], steps before it; None where nothing depends on them.
    """

    def __init__(
        self,
        fields: Mapping[str, StateField],
        held: NDArray[np.int32],
        steps: int,
        begun: NDArray[np.int64] | None,
    ) -> None:
        super().__init__(fields, held)
        self._steps = steps
        self._begun = begun

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key == "step" and self._begun is not None:
            return self._begun + self._steps
        values = super().__getitem__(key)
        return values if values.ndim == 2 else np.roll(values, -self._steps, axis=1)

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        if self._begun is not None:
            yield "step"

    def __len__(self) -> int:
        return super().__len__() + (self._begun is not None)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record begins in the pool, and whose it is."""

    at: int
    population: LifPopulation


class _Records:
    """What runs of a size keep of every step.

    Attributes:
        populations: the kernel's table of populations, with the places of their records.
        size: elements of the pool of records.
    """

    def __init__(
        self,
        network: LoihiNetwork,
        recorded: Collection[LifPopulation],
        lead: tuple[int, int],
        layout: Layout,
    ) -> None:
        self._outputs = network.outputs
        self._lead = lead
        self._wanted = {f"{one.name}.{what}" for one in recorded for what in _QUANTITIES}
        read = {f"{one.source}.{one.reads}" for one in network.outputs}
        self._places: dict[str, _Place] = {}
        self.populations = layout.populations.copy()
        self.size = 0
        for row, one in zip(self.populations, network.populations, strict=True):
            for what, column in _QUANTITIES.items():
                if f"{one.name}.{what}" in self._wanted | read:
                    self._places[f"{one.name}.{what}"] = _Place(self.size, one)
                    row[column] = self.size
                    self.size += lead[0] * lead[1] * one.size

    def outputs(self, pool: NDArray[np.int32]) -> dict[str, NDArray[np.floating]]:
        """Return output → [batch, steps, *shape]."""
        return {
            one.name: one.offset
            + one.scale * self._of(pool, f"{one.source}.{one.reads}", one.shape)
            for one in self._outputs
        }

    def recorded(self, pool: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        """Return `POPULATION.quantity` → [batch, steps, *shape]."""
        return {
            key: self._of(pool, key, place.population.shape)
            for key, place in self._places.items()
            if key in self._wanted
        }

    def _of(self, pool: NDArray[np.int32], key: str, shape: tuple[int, ...]) -> NDArray[np.int32]:
        place = self._places[key]
        length = self._lead[0] * self._lead[1] * place.population.size
        return pool[place.at : place.at + length].reshape(*self._lead, *shape)
