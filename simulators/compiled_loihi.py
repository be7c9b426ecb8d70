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

FIRST, SIZE, INTERVAL, OFFSET, SPIKES_AT, V_AT, I_AT = range(7)
"""Columns of the table of populations: the first neuron, neurons, the periodic reset (0 for none),
and where the records [batch, steps, neurons] of a quantity begin, −1 for none."""

INPUT_REACHED, CURRENT_LEFT, MEMBRANE_CLIPPED, SPIKED = range(4)
"""Columns of the counters of a population."""

_STATE_LIMIT = 2**23
_INPUT_LIMIT = 2**15
_REACHED, _LEFT, _CLIPPED = np.uint8(1), np.uint8(2), np.uint8(4)


@compiled
def step_samples(
    connections: Any, populations: Any, keep_u: Any, keep_v: Any, bias: Any, threshold: Any,
    weights: Any, starts: Any, places: Any, fan_out: Any,
    rows: Any, active: Any, payload: Any, room: int, batch: int, steps: int,
    u: Any, v: Any, lines: Any, begun: Any, records: Any, counters: Any, events: Any,
) -> None:  # fmt: skip
    """Step every sample of a batch.

    Args:
        connections: int64 [connections, 9].
        populations: int64 [populations, 7].
        keep_u: uint32 [neurons], 4095 − du; keep_v: 4096 − dv.
        bias: int32 [neurons]; threshold: int32 [neurons], aligned with v.
        weights: int16, shifted left already.
        starts: int64, where each presynaptic neuron's sparse weights begin.
        places: int32, delay · n_post + postsynaptic neuron, beside sparse weights.
        fan_out: int64, synapses of each presynaptic neuron.
        rows: int64 [inputs, batch · steps + 1], where each row's active lines begin.
        active: int32, active lines; behind them, from `room` on, a place for every neuron.
        payload: int32, beside `active`, 1 for neurons.
        batch: samples.
        steps: time steps.
        u: int32 [batch, neurons]; v likewise, and lines [batch, registers], changed in place.
        begun: int64 [batch], steps since the network's start.
        records: int32, written.
        counters: int64 [batch, populations, 4], added to.
        events: int64 [batch], added to.
    """
    neurons, inputs, count = keep_u.size, rows.shape[0], populations.shape[0]
    arriving, flags = np.zeros(neurons, np.int32), np.zeros(neurons, np.uint8)
    sums = np.zeros(lines.shape[1], np.int32)
    begins, ends = np.zeros(inputs + count, np.int64), np.zeros(inputs + count, np.int64)
    for sample in range(batch):
        currents, membranes, registers = u[sample], v[sample], lines[sample]
        for step in range(steps):
            row = sample * steps + step
            for source in range(inputs):
                begins[source], ends[source] = rows[source, row], rows[source, row + 1]
            _collect(connections, registers, arriving, step)
            for p in range(count):
                interval = populations[p, INTERVAL]
                if interval and (begun[sample] + step + 1) % interval == populations[p, OFFSET]:
                    _reset(currents, membranes, populations[p, FIRST], populations[p, SIZE])
            if _update_currents(arriving, currents, keep_u, flags):
                _count(populations, flags, _REACHED, counters, sample, INPUT_REACHED)
                _count(populations, flags, _LEFT, counters, sample, CURRENT_LEFT)
            if _update_membranes(currents, membranes, keep_v, bias, flags):
                _count(populations, flags, _CLIPPED, counters, sample, MEMBRANE_CLIPPED)
            _fire(membranes, threshold, flags)
            for p in range(count):
                first, size = populations[p, FIRST], populations[p, SIZE]
                begins[inputs + p] = room + first
                ends[inputs + p] = _list(flags, first, size, active, room + first)
                counters[sample, p, SPIKED] += ends[inputs + p] - begins[inputs + p]
                _record(populations, p, row, flags, currents, membranes, records)
            for c in range(connections.shape[0]):
                source = connections[c, SOURCE]
                if begins[source] < ends[source]:
                    events[sample] += _deliver(
                        connections, c, active, payload, begins[source], ends[source], step,
                        weights, starts, places, fan_out, registers, sums,
                    )  # fmt: skip


# Unsigned indices are never counted from the end, so loops over them become vectors; so do they
# only over a few arrays. Slices would be counted by reference in every step.


@inlined
def _collect(connections: Any, lines: Any, arriving: Any, step: int) -> None:
    """Add the registers that are due to their neurons' input, and empty them."""
    arriving[:] = 0
    for c in range(connections.shape[0]):
        n_post = connections[c, N_POST]
        first = np.uint64(connections[c, TARGET])
        due = np.uint64(connections[c, LINE] + step % connections[c, SLOTS] * n_post)
        for n in range(np.uint64(n_post)):
            arriving[first + n] += lines[due + n]
        for n in range(np.uint64(n_post)):
            lines[due + n] = 0


@inlined
def _reset(u: Any, v: Any, first: int, size: int) -> None:
    for n in range(first, first + size):
        u[n] = v[n] = 0


@inlined
def _count(
    populations: Any, flags: Any, flag: int, counters: Any, sample: int, counter: int
) -> None:
    """Count a flag in every population."""
    for p in range(populations.shape[0]):
        first = populations[p, FIRST]
        for n in range(first, first + populations[p, SIZE]):
            counters[sample, p, counter] += (flags[n] & flag) != 0


@inlined
def _decayed(value: Any, keep: Any) -> Any:
    """Return value · keep / 4096, toward zero, in 32 bits.

    |value| = 4096·high + low, and high · keep is whole, so only low · keep is cut.
    """
    size = np.uint32(value) if value >= 0 else np.uint32(np.uint32(0) - np.uint32(value))
    high, low = size >> np.uint32(12), size & np.uint32(4095)
    left = np.uint32(np.uint32(high * keep) + (np.uint32(low * keep) >> np.uint32(12)))
    return np.int32(left) if value >= 0 else np.int32(np.uint32(0) - left)


@inlined
def _update_currents(arriving: Any, u: Any, keep: Any, flags: Any) -> Any:
    """Let u decay, take its input and wrap; int32 wraps by itself as Lava's does.

    Returns all flags together: input that reached its limit, current that left its range.
    """
    turn, together = np.int32(2 * _STATE_LIMIT), np.uint8(0)
    for n in range(arriving.size):
        a = arriving[n]
        reached = (a >= _INPUT_LIMIT) | (a <= -_INPUT_LIMIT)
        new = np.int32(_decayed(u[n], keep[n]) + np.int32(a << np.int32(6)))
        above, below = new > _STATE_LIMIT, new <= -_STATE_LIMIT
        flag = np.uint8(np.uint8(reached) * _REACHED | np.uint8(above | below) * _LEFT)
        u[n] = np.int32(new - turn) if above else np.int32(new + turn) if below else new
        flags[n] = flag
        together |= flag
    return together


@inlined
def _update_membranes(u: Any, v: Any, keep: Any, bias: Any, flags: Any) -> Any:
    """Let v decay, take u and bias, and clip it; return whether any was clipped."""
    low, high, together = np.int32(1 - _STATE_LIMIT), np.int32(_STATE_LIMIT - 1), np.uint8(0)
    for n in range(u.size):
        raised = np.int32(np.int32(_decayed(v[n], keep[n]) + u[n]) + bias[n])
        kept = low if raised < low else high if raised > high else raised
        flag = np.uint8(np.uint8(kept != raised) * _CLIPPED)
        v[n] = kept
        flags[n] = flag
        together |= flag
    return together


@inlined
def _fire(v: Any, threshold: Any, fired: Any) -> None:
    """Note which neurons spike, and reset them."""
    for n in range(v.size):
        spike = v[n] > threshold[n]
        fired[n] = spike
        v[n] = np.int32(0) if spike else v[n]


@inlined
def _list(fired: Any, first: int, size: int, active: Any, at: int) -> int:
    """List from `at` on which neurons of a population spiked; return where they end."""
    for n in range(size):
        if fired[first + n]:
            active[at] = n
            at += 1
    return at


@inlined
def _record(populations: Any, p: int, row: int, fired: Any, u: Any, v: Any, records: Any) -> None:
    first, size = populations[p, FIRST], populations[p, SIZE]
    for n in range(size):
        if populations[p, SPIKES_AT] >= 0:
            records[populations[p, SPIKES_AT] + row * size + n] = fired[first + n]
        if populations[p, V_AT] >= 0:
            records[populations[p, V_AT] + row * size + n] = v[first + n]
        if populations[p, I_AT] >= 0:
            records[populations[p, I_AT] + row * size + n] = u[first + n]


@inlined
def _deliver(
    connections: Any, c: int, active: Any, payload: Any, begin: int, end: int, step: int,
    weights: Any, starts: Any, places: Any, fan_out: Any, lines: Any, sums: Any,
) -> int:  # fmt: skip
    """Add what the active neurons send to the registers; return the synapses that carried it."""
    line, n_post, slots = connections[c, LINE], connections[c, N_POST], connections[c, SLOTS]
    if not connections[c, RIGHT]:
        # Without a shift, sums go where they belong at once.
        if connections[c, START] < 0:
            _add_rows(lines, line, n_post, weights, connections[c, WEIGHT], active, payload,
                      begin, end)  # fmt: skip
        else:
            _add_lists(lines, connections, c, (step + 1) % slots * n_post, active, payload, begin,
                       end, weights, starts, places)  # fmt: skip
    else:
        _add_shifted(connections, c, step, active, payload, begin, end, weights, starts, places,
                     lines, sums)  # fmt: skip
    carried = 0
    for k in range(begin, end):
        carried += fan_out[connections[c, FAN_OUT] + active[k]]
    return carried


@inlined
def _add_shifted(
    connections: Any, c: int, step: int, active: Any, payload: Any, begin: int, end: int,
    weights: Any, starts: Any, places: Any, lines: Any, sums: Any,
) -> None:  # fmt: skip
    """Sum for every delay, shift to the right, then add to the registers."""
    line, n_post, slots = connections[c, LINE], connections[c, N_POST], connections[c, SLOTS]
    for n in range(slots * n_post):
        sums[line + n] = 0
    for k in range(begin, end):
        if connections[c, START] < 0:
            row = connections[c, WEIGHT] + active[k] * n_post
            for n in range(n_post):
                sums[line + n] += np.int32(np.int32(weights[row + n]) * payload[k])
        else:
            start = connections[c, START] + active[k]
            for s in range(starts[start], starts[start + 1]):
                sums[line + places[s]] += np.int32(np.int32(weights[s]) * payload[k])
    for delay in range(slots):
        ring = line + (step + 1 + delay) % slots * n_post
        for n in range(n_post):
            lines[ring + n] += sums[line + delay * n_post + n] >> connections[c, RIGHT]


@inlined
def _add_lists(
    lines: Any, connections: Any, c: int, turn: int, active: Any, payload: Any, begin: int,
    end: int, weights: Any, starts: Any, places: Any,
) -> None:  # fmt: skip
    """Add sparse weights times payloads into a ring that is turned by `turn` registers."""
    line, size = connections[c, LINE], connections[c, SLOTS] * connections[c, N_POST]
    for k in range(begin, end):
        start = connections[c, START] + active[k]
        for s in range(starts[start], starts[start + 1]):
            place = places[s] + turn
            place -= size * (place >= size)
            lines[line + place] += np.int32(np.int32(weights[s]) * payload[k])


@inlined
def _add_rows(
    into: Any, line: int, n_post: int, weights: Any, weight: int, active: Any, payload: Any,
    begin: int, end: int,
) -> None:  # fmt: skip
    """Add dense rows, four plain ones at a time: sums are read and written once for them."""
    to, size = np.uint64(line), np.uint64(n_post)
    k = begin
    while k < end:
        one = np.uint64(weight + active[k] * n_post)
        if k + 4 <= end and payload[k] | payload[k + 1] | payload[k + 2] | payload[k + 3] == 1:
            two = np.uint64(weight + active[k + 1] * n_post)
            three = np.uint64(weight + active[k + 2] * n_post)
            four = np.uint64(weight + active[k + 3] * n_post)
            for n in range(size):
                into[to + n] += np.int32(
                    np.int32(weights[one + n]) + np.int32(weights[two + n])
                    + np.int32(weights[three + n]) + np.int32(weights[four + n])
                )  # fmt: skip
            k += 4
        else:
            times = payload[k]
            for n in range(size):
                into[to + n] += np.int32(np.int32(weights[one + n]) * times)
            k += 1
