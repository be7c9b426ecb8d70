"""The numbers that a compiled program reads beside weights: parameters of neurons, and choices."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators import compiled_layout as lay
from simulators.compiled_layout import padded
from simulators.neurons import Neuron

UNIFORM = 16
"""Elements that hold a value which all neurons share."""


@dataclass(slots=True)
class Coefficients:
    """Collects parameters, each rounded once to the contract's float type."""

    dtype: np.dtype[np.floating]
    parts: list[NDArray[np.floating]] = field(default_factory=list)
    end: int = 0

    def full(self, values: NDArray[Any]) -> int:
        """Return where one value for every element lies."""
        part = np.zeros(padded(values.size), self.dtype)
        part[: values.size] = values
        return self._add(part)

    def shared(self, value: float) -> int:
        """Return where a value lies that all elements share."""
        return self._add(np.full(UNIFORM, value, self.dtype))

    def stepped(self, values: NDArray[Any]) -> tuple[int, int]:
        """Return where values lie, and 0 if all are the same, else 1."""
        if values.tobytes() == np.full_like(values, values[:1]).tobytes():
            return self.shared(values[0]), 0
        return self.full(values), 1

    def _add(self, part: NDArray[np.floating]) -> int:
        at = self.end
        self.parts.append(part)
        self.end += part.size
        return at


def leaks_of(neuron: Neuron) -> int:
    """Return how a membrane leaks."""
    if neuron.leak is None:
        return lay.KEEPS
    return lay.ADDS_INPUT if neuron.direct and neuron.synapse is None else lay.DECAYS


def coefficients_of(neuron: Neuron, *, decays: bool) -> dict[int, NDArray[np.float64]]:
    """Return column → the coefficients that the contract's form of arithmetic uses."""
    found = {lay.LEAK_3: neuron.gain}
    leak, synapse, spiking = neuron.leak, neuron.synapse, neuron.spiking
    if leak is not None:
        one, two, three = (leak.keep, leak.drive, leak.rest) if decays else (
            leak.rate, leak.v_leak, neuron.gain
        )  # fmt: skip
        found = {lay.LEAK_1: one, lay.LEAK_2: two, lay.LEAK_3: three}
    if synapse is not None:
        one, two = (synapse.keep, synapse.drive) if decays else (synapse.rate, synapse.w_in)
        found |= {lay.SYNAPSE_1: one, lay.SYNAPSE_2: two}
    if spiking is not None:
        found |= {lay.THETA: spiking.v_threshold, lay.V_RESET: spiking.v_reset}
    return found


def rules_of(contract: ExecutionContract) -> NDArray[np.int64]:
    """Return the contract's choices as the kernel takes them."""
    timings = ("same_step", "next_step_before_input", "next_step_after_input")
    rules = np.zeros(lay.RULES, np.int64)
    rules[lay.DECAY_FORM] = contract.arithmetic_form == "decay"
    rules[lay.ADD_FIRST] = contract.synapse_order == "add_then_decay"
    rules[lay.TIMING] = timings.index(contract.reset_timing)
    rules[lay.SUBTRACT] = contract.reset == "subtract_threshold"
    rules[lay.AT_THRESHOLD] = contract.spike_condition == ">="
    rules[lay.SEVERAL] = contract.spikes_per_step == "floor"
    rules[lay.BOUNDED] = contract.v_min is not None
    return rules


def loop_of(op: NDArray[np.int64], rules: NDArray[np.int64]) -> lay.Loop:
    """Return which loop steps a `NEURON`: one of constants where rules and all its columns fit."""
    shared = not op[lay.COEFFICIENT + 1 : lay.COLUMNS : 2].any()
    spikes = op[lay.SPIKING] and op[lay.FIRES] and op[lay.OUT] < 0
    plain = op[lay.LEAKS] == lay.DECAYS and not op[lay.DIRECT]
    if tuple(rules) != lay.PLAIN or not (shared and spikes and plain):
        return lay.Loop.ANY
    if op[lay.CURRENT] < 0:
        return lay.Loop.LIF
    return lay.Loop.CUBA if op[lay.TAKES] else lay.Loop.ANY
