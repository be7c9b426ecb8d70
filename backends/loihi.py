"""What every Loihi target shares: the integers in a model, and what of them a chip cannot hold."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import nir
import numpy as np

from backends.base import Capabilities
from backends.checks import (
    SIZES,
    choice_violations,
    node_type_violations,
    size_violations,
    total_violations,
)
from backends.cores import Wires, place
from backends.quantisation_file import other_contract, quantisation_of
from fusion.contract import CHOICES, ExecutionContract
from fusion.errors import InvalidModel
from fusion.model import FusionModel
from fusion.profiles import PROFILES
from simulators.draft import measure
from simulators.flatten import flatten
from simulators.folding import fold
from simulators.loihi_connections import Conv
from simulators.loihi_fields import INTEGERS, IntArray
from simulators.loihi_file import load
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.loihi_synapses import stored_synapses
from simulators.plan import make_plan
from simulators.quantise_limits import violations_of
from simulators.violation import Violation

_BEFORE_INTEGERS = (
    "time_unit", "integrator", "input_gain", "if_gain", "initial_v", "binning", "delay_rounding",
    "recurrent_delay_at", "exact",
)  # fmt: skip
SUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        name: choices if name in _BEFORE_INTEGERS else (PROFILES["loihi"][name],)
        for name, choices in {**CHOICES, "v_min": (None,)}.items()
    }
)
"""Contract field → what the chip does: the profile's value, and any of what is settled before a
model becomes integers."""

BIAS_MANTISSA = (-(2**12), 2**12 - 1)
BIAS_EXPONENT = (0, 7)


def integers_of(model: FusionModel) -> LoihiNetwork | None:
    """Return the model's integers, or None if it has not been quantised.

    Raises:
        InvalidModel: if they are damaged, or belong to another graph.
    """
    data = model.content.get(INTEGERS)
    if data is None:
        return None
    network = load(data)
    _check_ends("inputs", {one.name: one.shape for one in network.inputs}, model.graph, nir.Input)
    _check_ends(
        "outputs", {one.name: one.shape for one in network.outputs}, model.graph, nir.Output
    )
    return network


def check_loihi(
    model: FusionModel, contract: ExecutionContract, capabilities: Capabilities
) -> list[Violation]:
    """Return every way in which a model exceeds a Loihi target.

    Raises:
        InvalidModel: if its graph or its integers cannot be run anywhere.
    """
    network = integers_of(model)
    if network is None:
        found = check_before_integers(model, contract, capabilities)
        return [*found, unquantised()]
    found = _exceeds(model, contract, capabilities)
    file = quantisation_of(model)
    if file is not None:
        found += other_contract(file, contract)
    elif network.dt_s != contract.dt_s:
        made_for = str(network.dt_s)
        found.append(Violation("contract.dt_s", "choice", str(contract.dt_s), made_for, made_for))
    return [*found, *_registers(network, capabilities), *_sizes(network, capabilities)]


def check_before_integers(
    model: FusionModel, contract: ExecutionContract, capabilities: Capabilities
) -> list[Violation]:
    """Return what stands in the way of a model's integers, as far as no sample is needed to know.

    Raises:
        InvalidModel: if its graph cannot be run anywhere.
    """
    found = _exceeds(model, contract, capabilities)
    if found:  # what the graph becomes under another contract is not known
        return found
    allowed = {name: getattr(capabilities, f"max_{name}") for name in SIZES}
    found = size_violations(measure(model.graph, contract), allowed)
    return found or violations_of(fold(make_plan(model.graph, contract)), contract)


def _exceeds(
    model: FusionModel, contract: ExecutionContract, capabilities: Capabilities
) -> list[Violation]:
    found = node_type_violations(flatten(model.graph), capabilities)
    return [*found, *choice_violations(contract, capabilities, SUPPORTED)]


def cores_of(model: FusionModel, capabilities: Capabilities) -> int | None:
    """Return the cores that a model's integers take; None if it has none or they do not matter."""
    network = integers_of(model)
    if network is None:
        return None
    placement = place(_neurons(network), list(_wires(network).values()), capabilities)
    return None if placement is None else placement.cores


def unquantised() -> Violation:
    """Return the violation of a model without integers."""
    return Violation(
        INTEGERS, "model", "not quantised", "Loihi's integers beside the graph",
        "snn-fusion quantise MODEL --target loihi-emulator --calibrate SENSOR=FILE --out MODEL, "
        "or quantise: true in the request",
    )  # fmt: skip


def _check_ends(
    part: str, mine: Mapping[str, tuple[int, ...]], graph: nir.NIRGraph, kind: Any
) -> None:
    """Check that inputs or outputs are those of the graph."""
    nodes = {name: node for name, node in graph.nodes.items() if isinstance(node, kind)}
    for name in sorted({*mine, *nodes}):
        field = f"{INTEGERS}.{part}.{name}"
        if name not in nodes or name not in mine:
            where = "graph.nir" if name in mine else INTEGERS
            raise InvalidModel(field, f"is missing in {where}", "quantise the model anew")
        shape = tuple(int(n) for n in np.atleast_1d(nodes[name].input_type["input"]))
        if math.prod(shape) != math.prod(mine[name]):
            problem = f"has shape {list(mine[name])}, but {list(shape)} in graph.nir"
            raise InvalidModel(field, problem, "quantise the model anew")


def _registers(network: LoihiNetwork, capabilities: Capabilities) -> Iterator[Violation]:
    """Find numbers that Lava computes with, but a chip's registers do not hold."""
    for population in network.populations:
        yield from _bias(population)
    allowed = capabilities.weight_bits
    for connection in network.connections:
        if allowed is not None and isinstance(connection, Conv):
            bits = _bits_of(connection.weights)
            if bits > allowed:
                used, most = str(bits), str(allowed)
                yield Violation(connection.name, "bits of a weight", used, most, most)


def _bias(population: LifPopulation) -> Iterator[Violation]:
    for limit, values, (low, high) in (
        ("bias_mant", population.bias_mant, BIAS_MANTISSA),
        ("bias_exp", population.bias_exp, BIAS_EXPONENT),
    ):
        outside = values[(values < low) | (values > high)]
        if outside.size:
            worst = int(outside[np.abs(outside).argmax()])
            nearest = str(min(max(worst, low), high))
            yield Violation(population.name, limit, str(worst), f"{low} to {high}", nearest)


def _bits_of(weights: IntArray) -> int:
    """Return the bits that weights need besides a power of two that all share."""
    together = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    shared = (together & -together).bit_length() - 1 if together else 0
    low, high = int(weights.min()) >> shared, int(weights.max()) >> shared
    signed = low < 0 < high
    return (
        max(high.bit_length(), (~low).bit_length()) + 1 if signed else max(high, -low).bit_length()
    )


def _sizes(network: LoihiNetwork, capabilities: Capabilities) -> Iterator[Violation]:
    neurons, wires = _neurons(network), _wires(network)
    synapses = {name: one.pre.size for name, one in wires.items()}
    yield from total_violations(neurons, synapses, capabilities)
    placement = place(neurons, list(wires.values()), capabilities)
    if placement is not None:
        yield from placement.violations


def _neurons(network: LoihiNetwork) -> dict[str, int]:
    return {one.name: one.size for one in network.populations}


def _wires(network: LoihiNetwork) -> dict[str, Wires]:
    return {
        one.name: Wires(one.source, one.target, *stored_synapses(one)[:2])
        for one in network.connections
    }
