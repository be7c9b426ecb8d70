"""A network of Loihi's integers laid out in the flat arrays of its kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_loihi import FIRST, INTERVAL, OFFSET, SIZE
from simulators.loihi_arithmetic import ALIGNMENT_BITS, DECAY_UNITY, Ints, bias_of
from simulators.loihi_connections import Connection, Conv
from simulators.loihi_network import LifPopulation, LoihiNetwork
from simulators.loihi_synapses import CONV_BITS, stored_synapses

_DENSE_SHARE = 4
"""Rows are kept whole where at least one weight in so many is not 0: wide sums then beat lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Wired:
    """One connection in the kernel's arrays.

    Attributes:
        weights: int16, dense rows or sparse weights, shifted left already.
        starts: int64 [n_pre + 1], or empty for dense rows.
        places: int32, beside sparse weights, else empty.
        fan_out: int64 [n_pre].
        reach: most that a register can receive in a step, from spikes of payload 1, shifted left.
        limit: what `reach` times the payload has to stay below, so that no sum wraps.
        slots: registers of a neuron.
        n_post: postsynaptic neurons.
        right: shift to the right.
    """

    weights: NDArray[np.int16]
    starts: Ints
    places: NDArray[np.int32]
    fan_out: Ints
    reach: int
    limit: int
    slots: int
    n_post: int
    right: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A network in the kernel's arrays; see `compiled_loihi.step_samples`.

    Attributes:
        lines: connection → where its registers begin, slots and postsynaptic neurons.
        registers: registers in all.
        reach: connection → (source, reach, limit), as in `Wired`.
    """

    connections: NDArray[np.int64]
    populations: NDArray[np.int64]
    keep_u: NDArray[np.uint32]
    keep_v: NDArray[np.uint32]
    bias: NDArray[np.int32]
    threshold: NDArray[np.int32]
    weights: NDArray[np.int16]
    starts: Ints
    places: NDArray[np.int32]
    fan_out: Ints
    lines: Mapping[str, tuple[int, int, int]]
    registers: int
    reach: tuple[tuple[str, int, int], ...]


def lay_out(network: LoihiNetwork) -> Layout:
    """Return the network in the kernel's arrays."""
    wired = [_wired(one) for one in network.connections]
    sources = [one.name for one in network.inputs] + [one.name for one in network.populations]
    firsts = np.concatenate(([0], np.cumsum([one.size for one in network.populations])))
    first_of = dict(zip([one.name for one in network.populations], firsts.tolist(), strict=False))
    registers = _starts([one.slots * one.n_post for one in wired])
    weights, starts = (
        _starts([w.weights.size for w in wired]),
        _starts([w.starts.size for w in wired]),
    )
    fan_outs = _starts([one.fan_out.size for one in wired])
    table, lines = [], {}
    for number, (connection, one) in enumerate(zip(network.connections, wired, strict=True)):
        table.append(
            (
                sources.index(connection.source), first_of[connection.target], one.n_post,
                one.slots, registers[number], weights[number],
                starts[number] if one.starts.size else -1, fan_outs[number], one.right,
            )
        )  # fmt: skip
        lines[connection.name] = (registers[number], one.slots, one.n_post)
    return Layout(
        np.array(table, np.int64).reshape(-1, 9),
        _population_table(network.populations, firsts),
        _joined([DECAY_UNITY - 1 - one.du for one in network.populations]).astype(np.uint32),
        _joined([DECAY_UNITY - one.dv for one in network.populations]).astype(np.uint32),
        _joined([bias_of(p.bias_mant, p.bias_exp) for p in network.populations]).astype(np.int32),
        _joined([one.vth << ALIGNMENT_BITS for one in network.populations]).astype(np.int32),
        np.concatenate([np.zeros(0, np.int16), *(one.weights for one in wired)]),
        _joined([one.starts + at for one, at in zip(wired, weights, strict=False)]),
        np.concatenate([np.zeros(0, np.int32), *(_beside(one) for one in wired)]),
        _joined([one.fan_out for one in wired]),
        lines,
        registers[-1],
        tuple(
            (connection.source, one.reach, one.limit)
            for connection, one in zip(network.connections, wired, strict=True)
        ),
    )


def _wired(connection: Connection) -> Wired:
    n_post, n_pre = connection.sizes
    pre, post, weight, delay = stored_synapses(connection)
    exponent = 0 if isinstance(connection, Conv) else connection.weight_exp
    delays = None if isinstance(connection, Conv) else connection.delays
    slots = 1 if delays is None else 1 + int(delays.max(initial=0))
    weight = weight << max(exponent, 0)
    order = np.lexsort((post, delay, pre))
    pre, post, weight, delay = pre[order], post[order], weight[order], delay[order]
    dense = slots == 1 and weight.size * _DENSE_SHARE >= n_pre * n_post
    stored = weight.astype(np.int16)
    if dense:
        rows = np.zeros((n_pre, n_post), np.int16)
        rows[pre, post] = stored
        stored = rows.ravel()
    fan_out = np.bincount(pre, minlength=n_pre)
    sums = np.bincount(post, np.abs(weight), minlength=n_post)
    none = np.zeros(0, np.int64)
    return Wired(
        weights=stored,
        starts=none if dense else np.concatenate(([0], np.cumsum(fan_out))),
        places=(none if dense else delay * n_post + post).astype(np.int32),
        fan_out=fan_out,
        reach=int(sums.max(initial=0)),
        limit=2 ** (CONV_BITS - 1 if isinstance(connection, Conv) else 31),
        slots=slots,
        n_post=n_post,
        right=max(-exponent, 0),
    )


def _beside(one: Wired) -> NDArray[np.int32]:
    """Return places beside all weights, which dense rows do not need."""
    return one.places if one.starts.size else np.zeros(one.weights.size, np.int32)


def _population_table(populations: Sequence[LifPopulation], firsts: Ints) -> NDArray[np.int64]:
    table = np.full((len(populations), 7), -1, np.int64)
    for row, one, first in zip(table, populations, firsts, strict=False):
        row[FIRST], row[SIZE] = first, one.size
        row[INTERVAL] = 0 if one.reset is None else one.reset.interval
        row[OFFSET] = 0 if one.reset is None else one.reset.offset
    return table


def _starts(sizes: Sequence[int]) -> list[int]:
    """Return where each part begins, and where the last ends."""
    return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]


def _joined(parts: Sequence[NDArray[np.integer]]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])
