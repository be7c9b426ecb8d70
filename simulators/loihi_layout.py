"""A network of Loihi's integers laid out in the flat arrays of its kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_layout import padded
from simulators.compiled_loihi import (
    CONNECTION_COLUMNS,
    FIRST,
    INTERVAL,
    KEEPS,
    LINE,
    OFFSET,
    POPULATION_COLUMNS,
    SIZE,
    SLOTS,
    SOURCE,
    TARGET,
    WIDTH,
)
from simulators.compiled_loihi_neurons import BIAS, KEEP_U, KEEP_V, PARAMETERS, THRESHOLD
from simulators.compiled_memory import StateField
from simulators.loihi_arithmetic import ALIGNMENT_BITS, DECAY_UNITY, bias_of
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.loihi_wiring import Wiring


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A network in the kernel's arrays; see `compiled_loihi.step_samples`.

    Attributes:
        pools: dense rows, sparse weights, their starts and places, fan-outs.
        fields: state key → its place in the memory of a sample.
        initial: int32, u and v of a sample before the first step.
        width: the memory of a sample.
        room: what the kernel needs behind that of all samples.
        neurons: places of neurons.
        payload_limits: source → largest payload with which no sum can wrap.
    """

    connections: NDArray[np.int64]
    populations: NDArray[np.int64]
    parameters: NDArray[np.int32]
    pools: tuple[NDArray[Any], ...]
    fields: Mapping[str, StateField]
    initial: NDArray[np.int32]
    width: int
    room: int
    neurons: int
    payload_limits: Mapping[str, int]


def lay_out(network: LoihiNetwork) -> Layout:
    """Return the network in the kernel's arrays."""
    firsts, neurons = _places([padded(one.size) for one in network.populations])
    first_of = dict(zip([one.name for one in network.populations], firsts, strict=True))
    sources = [one.name for one in network.inputs] + [one.name for one in network.populations]
    table = np.zeros((len(network.connections), CONNECTION_COLUMNS), np.int64)
    wiring = Wiring()
    limits: dict[str, int] = {}
    for row, connection in zip(table, network.connections, strict=True):
        source = connection.source
        row[SOURCE], row[TARGET] = sources.index(source), first_of[connection.target]
        limit = wiring.add(connection, row)
        limits[source] = min(limit, limits.get(source, limit))
    rings = table[:, SLOTS] * table[:, WIDTH]
    table[:, LINE], registers = _places(rings.tolist())
    return Layout(
        connections=table,
        populations=_population_table(network.populations, firsts),
        parameters=_parameters(network.populations, firsts, neurons),
        pools=wiring.pools(),
        fields=_fields(network, firsts, neurons, table),
        initial=_initial(network.populations, firsts, neurons),
        width=2 * neurons + registers,
        room=neurons + int(rings.max(initial=0)),
        neurons=neurons,
        payload_limits=limits,
    )


def _population_table(
    populations: Sequence[LifPopulation], firsts: Sequence[int]
) -> NDArray[np.int64]:
    table = np.full((len(populations), POPULATION_COLUMNS), -1, np.int64)
    for row, one, first in zip(table, populations, firsts, strict=True):
        row[FIRST], row[SIZE] = first, one.size
        row[KEEPS] = np.any(one.du < DECAY_UNITY - 1)
        row[INTERVAL] = 0 if one.reset is None else one.reset.interval
        row[OFFSET] = 0 if one.reset is None else one.reset.offset
    return table


def _parameters(
    populations: Sequence[LifPopulation], firsts: Sequence[int], neurons: int
) -> NDArray[np.int32]:
    parameters = np.zeros((PARAMETERS, neurons), np.int32)  # of padding, which so never spikes
    for one, first in zip(populations, firsts, strict=True):
        own = parameters[:, first : first + one.size]
        own[KEEP_U] = DECAY_UNITY - 1 - one.du
        own[KEEP_V] = DECAY_UNITY - one.dv
        own[BIAS] = bias_of(one.bias_mant, one.bias_exp)
        own[THRESHOLD] = one.vth << ALIGNMENT_BITS
    return parameters


def _initial(
    populations: Sequence[LifPopulation], firsts: Sequence[int], neurons: int
) -> NDArray[np.int32]:
    """Return u, then v, before the first step."""
    initial = np.zeros((2, neurons), np.int32)
    for one, first in zip(populations, firsts, strict=True):
        initial[:, first : first + one.size] = one.u, one.v
    return initial.ravel()


def _fields(
    network: LoihiNetwork, firsts: Sequence[int], neurons: int, connections: NDArray[np.int64]
) -> dict[str, StateField]:
    fields = {}
    for one, first in zip(network.populations, firsts, strict=True):
        fields[f"{one.name}.i"] = StateField(first, one.size, None)
        fields[f"{one.name}.v"] = StateField(neurons + first, one.size, None)
    for connection, row in zip(network.connections, connections.tolist(), strict=True):
        at, n_post = 2 * neurons + row[LINE], connection.sizes[0]
        fields[f"{connection.name}.line"] = StateField(at, n_post, row[SLOTS])
    return fields


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Return where each part begins, and where the last ends."""
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    return [0, *ends][: len(sizes)], [0, *ends][-1]
