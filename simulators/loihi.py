"""The readable engine of Loihi's integers: one step after the other, in NumPy.

Held to lava-nc 0.10.0 bit for bit, every spike, u and v. Order within a step, as in Lava: every
population reads what its synapses wrote in the step before, updates u, then v, spikes where
v > 64·vth, and sets v (never u) to 0 there; then every connection reads the spikes of this step.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from simulators.loihi_arithmetic import (
    ALIGNMENT_BITS,
    Ints,
    bias_of,
    next_current,
    next_membrane,
    wrapped,
)
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.loihi_synapses import Synapses
from simulators.trace import Counts, Raster, State, Trace, checked_rasters, checked_state

INPUT_LIMIT = 2**15
"""Synaptic input that a chip's 16-bit register might wrap; Lava does not."""

Held = dict[str, NDArray[Any]]


class LoihiEngine:
    """Steps a network of integers, with a batch of independent samples.

    Args:
        network: the network.
    """

    def __init__(self, network: LoihiNetwork) -> None:
        self.network = network
        self._synapses = {one.name: Synapses(one) for one in network.connections}
        self._bias = {one.name: bias_of(one.bias_mant, one.bias_exp) for one in network.populations}
        self._incoming = {
            population.name: [c.name for c in network.connections if c.target == population.name]
            for population in network.populations
        }

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs.

        Args:
            inputs: input → [batch, steps, *shape], spikes per step: 0 or 1, or up to what the
                message bits of its connections hold.
            state: state to go on from, as an earlier run of this network gave it: `POPULATION.v`,
                `POPULATION.i` (u), `CONNECTION.line` (registers, the next to be read first), and
                `step` where a population is reset periodically; None starts anew.
            record: populations to record, or `all`; `i` is u.

        Raises:
            InvalidInput: naming the input, state or record that does not fit.
        """
        drive, held, kept = self._begin(inputs, state, record)
        for step in range(next(iter(drive.values())).shape[1]):
            now = {name: values[:, step] for name, values in drive.items()}
            for population in self.network.populations:
                now[population.name] = self._fire(population, held, kept)
            for connection in self.network.connections:
                self._deliver(connection.name, now[connection.source], held, kept)
            if "step" in held:
                held["step"] = held["step"] + 1
            kept.take(step, now, held)
        return kept.trace(held)

    def _begin(
        self,
        inputs: Mapping[str, Raster],
        state: State | None,
        record: Collection[str],
    ) -> tuple[dict[str, Ints], Held, "Kept"]:
        """Return the checked inputs, the state before the first step, and what keeps the steps."""
        drive = self._drive(inputs)
        batch, steps = next(iter(drive.values())).shape[:2]
        fresh = self._fresh(batch)
        held: Held = dict(fresh if state is None else checked_state(state, fresh))
        kept = Kept(self.network, self._recorded(record), batch, steps)
        kept.note_clipped_weights({name: one.clipped for name, one in self._synapses.items()})
        return drive, held, kept

    def _fire(self, population: LifPopulation, held: Held, kept: "Kept") -> Ints:
        """Update a population from its registers and return its spikes [batch, neurons]."""
        name = population.name
        u, v = held[f"{name}.i"].astype(np.int64), held[f"{name}.v"].astype(np.int64)
        if population.reset is not None:
            due = (held["step"] + 1) % population.reset.interval == population.reset.offset
            u, v = np.where(due[:, None], 0, u), np.where(due[:, None], 0, v)
        arriving = np.zeros_like(u)
        for connection in self._incoming[name]:
            arriving = wrapped(arriving + held[f"{connection}.line"][:, 0], 32)
        u, left = next_current(u, arriving, population.du)
        v, clipped = next_membrane(v, u, self._bias[name], population.dv)
        spikes = v > population.vth << ALIGNMENT_BITS
        held[f"{name}.i"] = u.astype(np.int32)
        held[f"{name}.v"] = np.where(spikes, 0, v).astype(np.int32)
        kept.note(f"{name}.input", np.abs(arriving) >= INPUT_LIMIT)
        kept.note(f"{name}.i", left)
        kept.note(f"{name}.v", clipped)
        return spikes.astype(np.int64)

    def _deliver(self, name: str, spikes: Ints, held: Held, kept: "Kept") -> None:
        """Move a connection's registers on by a step and add what these spikes send."""
        synapses = self._synapses[name]
        line = held[f"{name}.line"].astype(np.int64)
        later = np.concatenate((line[:, 1:], np.zeros_like(line[:, :1])), axis=1)
        written, left = synapses.sums(spikes)
        held[f"{name}.line"] = wrapped(later + written, 32).astype(np.int32)
        kept.overflows[f"{name}.sum"] += left
        kept.synaptic_events += synapses.events(spikes)

    def _fresh(self, batch: int) -> dict[str, NDArray[Any]]:
        fresh: dict[str, NDArray[Any]] = {}
        for one in self.network.populations:
            fresh[f"{one.name}.i"] = np.tile(one.u, (batch, 1))
            fresh[f"{one.name}.v"] = np.tile(one.v, (batch, 1))
        for connection in self.network.connections:
            shape = (batch, self._synapses[connection.name].slots, connection.sizes[0])
            fresh[f"{connection.name}.line"] = np.zeros(shape, np.int32)
        if any(one.reset is not None for one in self.network.populations):
            fresh["step"] = np.zeros(batch, np.int64)
        return fresh

    def _drive(self, inputs: Mapping[str, Raster]) -> dict[str, Ints]:
        shapes = {one.name: one.shape for one in self.network.inputs}
        drive = {}
        for name, values in checked_rasters(shapes, inputs, np.dtype(np.float64)).items():
            limit = self.network.payload_limit(name)
            wrong = (values != np.floor(values)) | (values < 0) | (values > limit)
            if wrong.any():
                place = np.argwhere(wrong)[0].tolist()
                raise InvalidInput(
                    f"inputs.{name}{place}", f"is {values[tuple(place)]:g}",
                    f"a whole number of spikes from 0 to {limit}",
                )  # fmt: skip
            drive[name] = values.astype(np.int64)
        return drive

    def _recorded(self, record: Collection[str]) -> list[LifPopulation]:
        known = {one.name: one for one in self.network.populations}
        for name in record:
            if name != "all" and name not in known:
                raise InvalidInput("record", f"{name!r} records nothing", ", ".join(known))
        return [known[name] for name in (known if "all" in record else dict.fromkeys(record))]


class Kept:
    """Collects what a run gives back, step by step."""

    def __init__(
        self, network: LoihiNetwork, recorded: list[LifPopulation], batch: int, steps: int
    ) -> None:
        self.synaptic_events = np.zeros(batch, np.int64)
        self.overflows: dict[str, Ints] = {
            **{f"{one.name}.weights": np.zeros(batch, np.int64) for one in network.connections},
            **{f"{one.name}.sum": np.zeros(batch, np.int64) for one in network.connections},
            **{
                f"{one.name}.{register}": np.zeros(batch, np.int64)
                for one in network.populations
                for register in ("input", "i", "v")
            },
        }
        self._network = network
        self._neurons = sum(one.size for one in network.populations)
        self._steps = steps
        self._spikes = {one.name: np.zeros(batch, np.int64) for one in network.populations}
        self._outputs = {
            one.name: np.zeros((batch, steps, math.prod(one.shape))) for one in network.outputs
        }
        self._recorded = {
            f"{one.name}.{what}": np.zeros((batch, steps, one.size), np.int32)
            for one in recorded
            for what in ("spikes", "v", "i")
        }

    def note(self, register: str, where: NDArray[np.bool_]) -> None:
        """Count the neurons [batch, neurons] whose register left its range."""
        self.overflows[register] += np.count_nonzero(where, axis=1)

    def note_clipped_weights(self, clipped: Mapping[str, int]) -> None:
        """Count every connection's weights that were clipped before the run."""
        for name, number in clipped.items():
            self.overflows[f"{name}.weights"] += number

    def take(self, step: int, now: Mapping[str, Ints], held: Held) -> None:
        """Keep a step: `now` is node → spikes, `held` the state after it."""
        for output in self._network.outputs:
            read = now[output.source] if output.reads == "spikes" else held[f"{output.source}.v"]
            self._outputs[output.name][:, step] = output.offset + output.scale * read
        for name in self._spikes:
            self._spikes[name] += now[name].sum(axis=1)
        for key, values in self._recorded.items():
            name, quantity = key.rsplit(".", 1)
            values[:, step] = now[name] if quantity == "spikes" else held[key]

    def trace(self, held: Held) -> Trace:
        """Return everything, with the state after the last step."""
        shapes = {one.name: one.shape for one in self._network.populations}
        outputs = {
            one.name: self._outputs[one.name].reshape(*self._lead, *one.shape)
            for one in self._network.outputs
        }
        recorded = {
            key: values.reshape(*self._lead, *shapes[key.rsplit(".", 1)[0]])
            for key, values in self._recorded.items()
        }
        counts = Counts(self.synaptic_events, self._neurons * self._steps, self._spikes)
        found = {key: number for key, number in self.overflows.items() if number.any()}
        return Trace(outputs, recorded, held, counts, found)

    @property
    def _lead(self) -> tuple[int, int]:
        return len(self.synaptic_events), self._steps
