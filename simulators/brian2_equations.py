"""A neuron's step as code for Brian2."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators.neurons import Neuron

Values = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class NeuronCode:
    """A population's step: `take` what arrives into the synaptic current, then `fire`.

    Where the membrane reads the old current, `fire` comes first, and `take` when all have fired.

    Attributes:
        take: moves the variable `current` on; empty without a synaptic current.
        fire: moves `v` on and leaves the node's output in `activity`.
        values: variable → its value before the first step, in the contract's float type.
    """

    take: str
    fire: str
    values: Values


def neuron_code(neuron: Neuron, contract: ExecutionContract, x: str) -> NeuronCode:
    """Return a population's step.

    The code changes a variable by `+=`, or in a temporary one, because Brian2 would put the terms
    of `v = v + a` into another order. A temporary variable also rounds what C computes in double.

    Args:
        neuron: coefficients in the contract's float type.
        contract: says in which order and form the equations are computed.
        x: expression of the input.
    """
    take: list[str] = []
    drive = f"({x})"
    state: Values = {"v": neuron.initial_v}
    if neuron.synapse is not None:
        state["current"] = np.zeros_like(neuron.initial_v)
        take, drive = _current(neuron, contract, drive), "current"
    fire = _membrane(neuron, contract, drive)
    if neuron.spiking is not None:
        fire = _with_spikes(fire, contract)
    if contract.v_min is not None:
        fire += ["bounded = where(v < v_min, v_min, v)", "v = bounded"]
    if neuron.spiking is None:
        fire.append("activity = v")
    used = re.findall(r"\w+", " ".join(take + fire))
    values = {
        name: value for name, value in _coefficients(neuron, contract).items() if name in used
    }
    return NeuronCode("\n".join(take), "\n".join(fire), state | values)


def _coefficients(neuron: Neuron, contract: ExecutionContract) -> Values:
    values: Values = {"gain": neuron.gain}
    if (synapse := neuron.synapse) is not None:
        values |= {"syn_rate": synapse.rate, "w_in": synapse.w_in}
        values |= {"syn_keep": synapse.keep, "syn_drive": synapse.drive}
    if (leak := neuron.leak) is not None:
        values |= {"mem_rate": leak.rate, "v_leak": leak.v_leak}
        values |= {"mem_keep": leak.keep, "mem_drive": leak.drive, "mem_rest": leak.rest}
    if (spiking := neuron.spiking) is not None:
        values |= {"theta": spiking.v_threshold, "v_reset": spiking.v_reset}
    if contract.v_min is not None:
        values["v_min"] = np.full_like(neuron.gain, contract.v_min)
    return values


def _current(neuron: Neuron, contract: ExecutionContract, drive: str) -> list[str]:
    decay_first = contract.synapse_order == "decay_then_add"
    if contract.arithmetic_form == "decay":
        if decay_first:
            return [f"current = syn_keep*current + syn_drive*{drive}"]
        return [f"current += syn_drive*{drive}", "current *= syn_keep"]
    if decay_first and not neuron.direct:
        return [f"current += syn_rate*(w_in*{drive} - current)"]
    add = f"current += {drive}" if neuron.direct else f"current += syn_rate*(w_in*{drive})"
    decay = "current -= syn_rate*current"
    return [decay, add] if decay_first else [add, decay]


def _membrane(neuron: Neuron, contract: ExecutionContract, drive: str) -> list[str]:
    if neuron.leak is None:
        return [f"v += gain*{drive}"]
    if contract.arithmetic_form == "decay":
        return [f"v = mem_keep*v + mem_drive*{drive} + mem_rest"]
    if neuron.direct and neuron.synapse is None:
        return ["v += mem_rate*(v_leak - v)", f"v += {drive}"]
    return [f"v += mem_rate*((v_leak - v) + gain*{drive})"]


def _with_spikes(membrane: list[str], contract: ExecutionContract) -> list[str]:
    """Return the membrane's code with the spike test, and with the reset where it is due."""
    test = [f"crossed = v {contract.spike_condition} theta"]
    spikes, taken = "activity = int(crossed)", "theta"
    if contract.spikes_per_step == "floor":
        test += ["ratio = quotient(v, theta)", "multiple = whole(ratio)"]
        spikes, taken = "activity = where(crossed, multiple, 0)", "multiple*theta"
    reset = ["after = where(crossed, v_reset, v)", "v = after"]
    if contract.reset == "subtract_threshold":
        reset = [f"taken = {taken}", "after = where(crossed, v - taken, v)", "v = after"]
    match contract.reset_timing:
        case "same_step":
            return [*membrane, *test, spikes, *reset]
        case "next_step_before_input":
            return [*test, *reset, *membrane, *test, spikes]
        case "next_step_after_input":
            return [*test, *membrane, *reset, *test, spikes]
