"""Loihi's integers in Numba: the steps of `simulators.loihi`, spike by spike.

Registers are int32, which wrap by themselves as Lava's do; weights are int16, because 8 bits and an
exponent of up to 7 fit. A shift to the right needs sums that have not wrapped: whoever calls
`step_samples` has made sure that none can.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import compiled, inlined

SOURCE, TARGET, N_POST, SLOTS, LINE, WEIGHT, START, FAN_OUT, RIGHT = range(9)
"""Columns of the table of connections: the source (inputs, then populations), the first target
neuron, postsynaptic neurons, slots; where its registers begin, [slots, n_post] in a ring; where its
weights, rows (−1 for dense rows of n_post weights) and fan-outs do; the shift to the right."""

FIRST, SIZE, INTERVAL, OFFSET, SPIKES, V, I = range(7)
"""Columns of the table of populations: the first neuron, neurons, the periodic reset (0 for none),
and where the records [batch, steps, neurons] of a quantity begin, −1 for none."""

INPUT_REACHED, CURRENT_LEFT, MEMBRANE_CLIPPED, SPIKED = range(4)
"""Columns of the counters of a population."""

_STATE_LIMIT = 2**23
_INPUT_LIMIT = 2**15


@compiled
def step_samples(
    connections: Any, populations: Any, keep_u: Any, keep_v: Any, bias: Any, threshold: Any,
    weights: Any, starts: Any, places: Any, fan_out: Any,
    rows: Any, active: Any, payload: Any, batch: int, steps: int,
    u: Any, v: Any, lines: Any, begun: Any, records: Any, counters: Any, events: Any,
) -> None:  # fmt: skip
    """Step every sample of a batch.

    Args:
        connections: int64 [connections, 9].
        populations: int64 [populations, 7].
        keep_u: int64 [neurons], 4095 − du; keep_v: 4096 − dv.
        bias: int64 [neurons]; threshold: int64 [neurons], aligned with v.
        weights: int16, shifted left already.
        starts: int64, where each presynaptic neuron's sparse weights begin.
        places: int32, delay · n_post + postsynaptic neuron, beside sparse weights.
        fan_out: int64, synapses of each presynaptic neuron.
        rows: int64 [inputs, batch · steps + 1], where each row's active lines begin.
        active: int32, active lines; payload: int32, their payloads.
        batch: samples.
        steps: time steps.
        u: int32 [batch, neurons]; v likewise, and lines [batch, registers], changed in place.
        begun: int64 [batch], steps since the network's start.
        records: int32, written.
        counters: int64 [batch, populations, 4], added to.
        events: int64 [batch], added to.
    """
    neurons = keep_u.size
    arriving, fired = np.zeros(neurons, np.int32), np.zeros(neurons, np.uint8)
    spikes, ones = np.zeros(neurons, np.int32), np.ones(neurons, np.int32)
    ends = np.zeros(populations.shape[0], np.int64)
    sums = np.zeros(lines.shape[1], np.int32)
    inputs = rows.shape[0]
    for sample in range(batch):
        for step in range(steps):
            _collect(connections, lines[sample], arriving, step)
            for p in range(populations.shape[0]):
                first, size = populations[p, FIRST], populations[p, SIZE]
                interval = populations[p, INTERVAL]
                if interval and (begun[sample] + step + 1) % interval == populations[p, OFFSET]:
                    u[sample, first : first + size] = 0
                    v[sample, first : first + size] = 0
                _update(
                    first, first + size, arriving, u[sample], v[sample], keep_u, keep_v, bias,
                    threshold, fired, counters[sample, p],
                )  # fmt: skip
                ends[p] = _list(fired, first, first + size, spikes)
                counters[sample, p, SPIKED] += ends[p] - first
                at = sample * steps + step
                _record(populations[p], at, fired, u[sample], v[sample], records)
            for c in range(connections.shape[0]):
                source = connections[c, SOURCE]
                if source < inputs:
                    row = sample * steps + step
                    begin, end = rows[source, row], rows[source, row + 1]
                    events[sample] += _deliver(
                        connections[c], active, payload, begin, end, step, weights, starts, places,
                        fan_out, lines[sample], sums,
                    )  # fmt: skip
                else:
                    begin = populations[source - inputs, FIRST]
                    events[sample] += _deliver(
                        connections[c], spikes, ones, begin, ends[source - inputs], step, weights,
                        starts, places, fan_out, lines[sample], sums,
                    )  # fmt: skip


@inlined
def _collect(connections: Any, lines: Any, arriving: Any, step: int) -> None:
    """Add the registers that are due to their neurons' input, and empty them."""
    arriving[:] = 0
    for c in range(connections.shape[0]):
        first, n_post = connections[c, TARGET], connections[c, N_POST]
        due = connections[c, LINE] + step % connections[c, SLOTS] * n_post
        for n in range(n_post):
            arriving[first + n] += lines[due + n]
            lines[due + n] = 0


@inlined
def _decayed(value: int, keep: int) -> int:
    """Return value · keep / 4096, toward zero."""
    product = value * keep
    return (product + ((product >> 63) & 4095)) >> 12


@inlined
def _update(
    begin: int, end: int, arriving: Any, u: Any, v: Any, keep_u: Any, keep_v: Any, bias: Any,
    threshold: Any, fired: Any, counters: Any,
) -> None:  # fmt: skip
    """Update neurons `begin` to `end`; `fired` says which spiked."""
    reached = left = clipped = 0
    for n in range(begin, end):
        a = np.int64(arriving[n])
        reached += (a >= _INPUT_LIMIT) | (a <= -_INPUT_LIMIT)
        aligned = np.int64(np.int32(a << 6))
        new = np.int64(np.int32(_decayed(np.int64(u[n]), keep_u[n]) + aligned))
        above, below = np.int64(new > _STATE_LIMIT), np.int64(new <= -_STATE_LIMIT)
        left += above | below
        new += (below - above) * 2 * _STATE_LIMIT
        u[n] = np.int32(new)
        raised = np.int64(np.int32(_decayed(np.int64(v[n]), keep_v[n]) + new + bias[n]))
        kept = min(max(raised, 1 - _STATE_LIMIT), _STATE_LIMIT - 1)
        clipped += kept != raised
        spike = kept > threshold[n]
        fired[n] = spike
        v[n] = np.int32(0) if spike else np.int32(kept)
    counters[INPUT_REACHED] += reached
    counters[CURRENT_LEFT] += left
    counters[MEMBRANE_CLIPPED] += clipped


@inlined
def _list(fired: Any, begin: int, end: int, spikes: Any) -> int:
    """List, from `begin` on, the neurons of a population that spiked; return where they end."""
    at = begin
    for n in range(begin, end):
        if fired[n]:
            spikes[at] = n - begin
            at += 1
    return at


@inlined
def _record(population: Any, row: int, fired: Any, u: Any, v: Any, records: Any) -> None:
    first, size = population[FIRST], population[SIZE]
    if population[SPIKES] >= 0:
        at = population[SPIKES] + row * size
        for n in range(size):
            records[at + n] = fired[first + n]
    if population[V] >= 0:
        at = population[V] + row * size
        records[at : at + size] = v[first : first + size]
    if population[I] >= 0:
        at = population[I] + row * size
        records[at : at + size] = u[first : first + size]


@inlined
def _deliver(
    connection: Any, active: Any, payload: Any, begin: int, end: int, step: int, weights: Any,
    starts: Any, places: Any, fan_out: Any, lines: Any, sums: Any,
) -> int:  # fmt: skip
    """Add what the active neurons send to the registers; return the synapses that carried it."""
    if begin == end:
        return 0
    line, n_post, slots = connection[LINE], connection[N_POST], connection[SLOTS]
    right = connection[RIGHT]
    if not right:
        # Without a shift, sums go where they belong at once.
        _add(connection, active, payload, begin, end, step + 1, weights, starts, places, lines)
    else:
        sums[line : line + slots * n_post] = 0
        _add(connection, active, payload, begin, end, 0, weights, starts, places, sums)
        for delay in range(slots):
            ring = line + (step + 1 + delay) % slots * n_post
            for n in range(n_post):
                lines[ring + n] += sums[line + delay * n_post + n] >> right
    carried = 0
    for k in range(begin, end):
        carried += fan_out[connection[FAN_OUT] + active[k]]
    return carried


@inlined
def _add(
    connection: Any, active: Any, payload: Any, begin: int, end: int, turned: int, weights: Any,
    starts: Any, places: Any, into: Any,
) -> None:  # fmt: skip
    """Add weights times payloads into [slots, n_post], a ring turned by `turned` slots."""
    line, n_post, slots = connection[LINE], connection[N_POST], connection[SLOTS]
    weight, start = connection[WEIGHT], connection[START]
    size, turn = slots * n_post, turned % slots * n_post
    for k in range(begin, end):
        times = payload[k]
        if start < 0:
            row = weight + active[k] * n_post
            for n in range(n_post):
                into[line + n] += np.int32(weights[row + n]) * times
        else:
            for s in range(starts[start + active[k]], starts[start + active[k] + 1]):
                place = places[s] + turn
                place -= size * (place >= size)
                into[line + place] += np.int32(weights[s]) * times
