"""Neuron models of NIR under an execution contract: coefficients, computed once."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.errors import InvalidModel

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Synapse:
    """The synaptic current of a CubaLI or CubaLIF, each [neurons].

    `increment`: i += rate·(w_in·x − i); `decay`: i = keep·i + drive·x, with keep = 1 − rate and
    drive = rate·w_in.
    """

    rate: Array
    w_in: Array
    keep: Array
    drive: Array


@dataclass(frozen=True, slots=True)
class Spiking:
    """When a neuron spikes and where its membrane goes then, each [neurons]."""

    v_threshold: Array
    v_reset: Array


@dataclass(frozen=True, slots=True)
class Neuron:
    """Coefficients of one population, float64, flattened to [neurons].

    A membrane that does not leak (`leak` is None) follows v += gain·x, with dt in the gain where
    the contract says so.

    Attributes:
        gain: [neurons], input gain R.
        leak: the membrane's rate, keep = 1 − rate and v_leak, or None.
        synapse: the synaptic current in front of the membrane, or None.
        spiking: threshold and reset, or None for a population that never spikes.
        initial_v: [neurons], membrane potential before the first step.
        direct: what arrives is added as it is, to the synaptic current if there is one, else to the
            membrane.
    """

    gain: Array
    leak: "Leak | None"
    synapse: Synapse | None
    spiking: Spiking | None
    initial_v: Array
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Leak:
    """A leaky membrane, each [neurons].

    `increment`: v += rate·((v_leak − v) + gain·x); `decay`: v = keep·v + drive·x + rest, with
    keep = 1 − rate, drive = rate·gain and rest = rate·v_leak.
    """

    rate: Array
    v_leak: Array
    keep: Array
    drive: Array
    rest: Array


PARAMETERS = {
    "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak", "w_in"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "w_in", "v_threshold", "v_reset"),
}
"""NIR neuron type → its parameters; each is a scalar or has the population's shape."""

_TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")


def make_neuron(
    kind: str, params: dict[str, Any], shape: tuple[int, ...], contract: ExecutionContract
) -> Neuron:
    """Return the coefficients of a NIR neuron node.

    Args:
        kind: NIR type, a key of `PARAMETERS`.
        params: the node's parameters by name.
        shape: shape of the population.
        contract: the contract to step it under.

    Raises:
        InvalidModel: naming the parameter that is missing, not finite, not positive where it must
            be, or of another shape.
    """
    values = {name: _parameter(name, params.get(name), shape) for name in PARAMETERS[kind]}
    gain = values["r"] if contract.input_gain == "file" else np.ones_like(values["r"])
    direct = contract.input_gain == "direct"
    synapse = _synapse(values, contract) if "tau_syn" in values else None
    if synapse is not None and direct:
        gain = values["r"]
    tau = values.get("tau", values.get("tau_mem"))
    leak = None
    if tau is not None:
        leak = _leak(tau, values["v_leak"], gain, contract, direct and synapse is None)
    elif contract.if_gain == "r_dt" and not direct:
        gain = gain * contract.dt_in_file
    spiking = None
    if "v_threshold" in values:
        spiking = _spiking(values, contract)
    return Neuron(
        gain, leak, synapse, spiking, _initial_v(values, gain.size, contract), direct=direct
    )


def _leak(
    tau: Array, v_leak: Array, gain: Array, contract: ExecutionContract, direct: bool
) -> Leak:
    rate = _rate(tau, contract)
    drive = np.ones_like(rate) if direct else rate * gain
    return Leak(rate, v_leak, 1.0 - rate, drive, rate * v_leak)


def _synapse(values: dict[str, Array], contract: ExecutionContract) -> Synapse:
    rate = _rate(values["tau_syn"], contract)
    w_in = values["w_in"] if contract.input_gain == "file" else np.ones_like(rate)
    drive = np.ones_like(rate) if contract.input_gain == "direct" else rate * w_in
    return Synapse(rate, w_in, 1.0 - rate, drive)


def _spiking(values: dict[str, Array], contract: ExecutionContract) -> Spiking:
    threshold = values["v_threshold"]
    if contract.spikes_per_step == "floor" and np.any(threshold <= 0):
        raise InvalidModel(
            "v_threshold",
            f"holds {threshold[threshold <= 0][0]}",
            "a positive threshold, of which spikes_per_step floor counts the multiples",
        )
    return Spiking(threshold, values["v_reset"])


def cast(neuron: Neuron, dtype: np.dtype[np.floating]) -> Neuron:
    """Return the coefficients rounded once to `dtype`."""

    def rounded(part: Any) -> Any:
        return replace(part, **{name: getattr(part, name).astype(dtype) for name in part.__slots__})

    return replace(
        neuron,
        gain=neuron.gain.astype(dtype),
        initial_v=neuron.initial_v.astype(dtype),
        leak=neuron.leak and rounded(neuron.leak),
        synapse=neuron.synapse and rounded(neuron.synapse),
        spiking=neuron.spiking and rounded(neuron.spiking),
    )


def _rate(tau: Array, contract: ExecutionContract) -> Array:
    """dt/τ under forward Euler, 1 − exp(−dt/τ) under the exponential integrator."""
    ratio = contract.dt_in_file / tau
    return ratio if contract.integrator == "forward_euler" else -np.expm1(-ratio)


def _initial_v(values: dict[str, Array], size: int, contract: ExecutionContract) -> Array:
    if contract.initial_v == "zero":
        return np.zeros(size)
    return values.get(contract.initial_v, np.zeros(size))


def _parameter(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    if value is None and name in ("v_reset", "w_in"):
        value = 0.0 if name == "v_reset" else 1.0
    if value is None:
        raise InvalidModel(name, "is missing")
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or (name in _TIME_CONSTANTS and array.dtype.kind != "f"):
        raise InvalidModel(name, f"must hold floating-point numbers, got {array.dtype}")
    if array.size != 1 and array.shape != shape:
        raise InvalidModel(
            name, f"has shape {list(array.shape)}", f"a scalar or shape {list(shape)}"
        )
    full = np.broadcast_to(array.astype(np.float64).reshape(-1), (math.prod(shape),))
    if not np.all(np.isfinite(full)):
        raise InvalidModel(name, f"holds {full[~np.isfinite(full)][0]}", "finite numbers")
    if name in _TIME_CONSTANTS and np.any(full <= 0):
        raise InvalidModel(name, f"holds {full[full <= 0][0]}", "a positive time constant")
    return full.copy()
