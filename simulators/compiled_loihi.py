"""Loihi's integers in Numba: the steps of `simulators.loihi`, spike by spike.

Registers are int32, which wrap by themselves as Lava's do. A shift to the right needs sums that
have not wrapped: whoever calls `step_samples` has made sure that none can.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import clear, compiled, inlined
from simulators.compiled_layout import ONES
from simulators.compiled_loihi_neurons import step_neurons
from simulators.compiled_sums import sum_blocks, weigh_blocks
from simulators.compiled_vectors import behind, lanes, load, pointer_to, splat, store

SOURCE, TARGET, WIDTH, SLOTS, LINE, WEIGHT, START, FAN_OUT, RIGHT, SCALE, ROW_BIAS, ROW_SUMS = (
    range(12)
)
"""Columns of the table of connections: the source (inputs, then populations); the place of the
first target neuron; places of a slot, padded; slots; where its registers begin, [slots, width] in a
ring. Where its weights lie, its rows (−1 for dense rows) and its fan-outs; the shift to the right.
Of dense rows, what a byte counts, what it has besides, and how many rows int16 can add up."""

CONNECTION_COLUMNS = 12

FIRST, SIZE, KEEPS, INTERVAL, OFFSET, SPIKES_AT, V_AT, I_AT = range(8)
"""Columns of the table of populations: the place of the first neuron, neurons, whether any keeps
current, the periodic reset (0 for none), and where the records [batch, steps, neurons] of a
quantity begin, −1 for none."""

POPULATION_COLUMNS = 8

COUNTERS = 4
"""Counters of a population; see `compiled_loihi_neurons`."""


@compiled
def step_samples(
    connections: Any, populations: Any, parameters: Any, integers: Any, weights: Any, starts: Any,
    places: Any, fan_out: Any, rows: Any, holds: Any, active: Any, payload: Any, room: int,
    batch: int, steps: int, memory: Any, width: int, begun: Any, records: Any, counters: Any,
    events: Any,
) -> None:  # fmt: skip
    """Step every sample of a batch.

    Args:
        connections: int64 [connections, CONNECTION_COLUMNS].
        populations: int64 [populations, POPULATION_COLUMNS].
        parameters: int32 [PARAMETERS, places of neurons]; see `compiled_loihi_neurons`.
        integers: dense weights, a byte each; see `compiled_rows.interleaved`.
        weights: int16, sparse weights, shifted left already.
        starts: int64, where each presynaptic neuron's sparse weights begin.
        places: int32, delay · width + postsynaptic neuron, beside sparse weights.
        fan_out: int64, synapses of each presynaptic neuron.
        rows: int64 [inputs, batch · steps + 1], where each row's active lines begin.
        holds: int64 [inputs], whether all payloads are 1.
        active: int32, active lines; behind them, from `room` on, a place for every neuron.
        payload: int32, beside `active`, of inputs whose payloads are not all 1.
        room: where the inputs' lists end.
        batch: samples.
        steps: time steps.
        memory: int32, [batch, width], changed in place: u, v and registers; then room for the
            input of all neurons, and for the registers of a connection.
        width: state of a sample.
        begun: int64 [batch], steps since the network's start.
        records: int32, written where something is recorded; spikes among zeros.
        counters: int64 [batch, populations, COUNTERS], added to.
        events: int64 [batch], written.
    """
    lists = np.zeros((rows.shape[0] + populations.shape[0], 2), np.int64)
    _step_samples(
        *(pointer_to(connections), connections.shape[0], pointer_to(populations)),
        *(populations.shape[0], pointer_to(parameters), parameters.shape[1]),
        *(pointer_to(integers), pointer_to(weights), pointer_to(starts), pointer_to(places)),
        *(pointer_to(fan_out), pointer_to(rows), rows.shape[0], rows.shape[1], pointer_to(holds)),
        *(pointer_to(active), pointer_to(payload), room, batch, steps, pointer_to(memory), width),
        *(pointer_to(begun), pointer_to(records), pointer_to(counters), pointer_to(events)),
        pointer_to(lists),
    )
    lists[0, 0] = 0  # the pointer does not keep it alive


@compiled
def _step_samples(
    connections: Any, links: int, populations: Any, count: int, parameters: Any, neurons: int,
    integers: Any, weights: Any, starts: Any, places: Any, fan_out: Any, rows: Any, inputs: int,
    rows_width: int, holds: Any, active: Any, payload: Any, room: int, batch: int, steps: int,
    memory: Any, width: int, begun: Any, records: Any, counters: Any, events: Any, lists: Any,
) -> None:  # fmt: skip
    arriving = behind(memory, batch * width)
    sums = behind(arriving, neurons)
    for sample in range(batch):
        u = behind(memory, sample * width)
        v, lines = behind(u, neurons), behind(u, 2 * neurons)
        counted = behind(counters, sample * count * COUNTERS)
        total = 0
        for step in range(steps):
            row = sample * steps + step
            for source in range(inputs):
                lists[2 * source] = rows[source * rows_width + row]
                lists[2 * source + 1] = rows[source * rows_width + row + 1]
            for c in range(links):
                _collect(behind(connections, c * CONNECTION_COLUMNS), lines, arriving, step)
            for p in range(count):
                one = behind(populations, p * POPULATION_COLUMNS)
                interval, at = one[INTERVAL], room + one[FIRST]
                if interval and (begun[sample] + step + 1) % interval == one[OFFSET]:
                    clear(u, one[FIRST], one[SIZE])
                    clear(v, one[FIRST], one[SIZE])
                end = step_neurons(one[FIRST], one[SIZE], one[KEEPS], u, v, arriving, parameters,
                                   neurons, active, at, behind(counted, p * COUNTERS))  # fmt: skip
                lists[2 * (inputs + p)], lists[2 * (inputs + p) + 1] = at, end
                _record(one, row, active, at, end, u, v, records)
            for c in range(links):
                one = behind(connections, c * CONNECTION_COLUMNS)
                source = one[SOURCE]
                begin, end = lists[2 * source], lists[2 * source + 1]
                if begin < end:
                    ones = source >= inputs or holds[source] == ONES
                    at_once = one[SLOTS] == 1 and step + 1 < steps
                    to = behind(arriving, one[TARGET]) if at_once else behind(lines, one[LINE])
                    total += _deliver(one, to, step, active, payload, ones, begin, end, integers,
                                      weights, starts, places, fan_out, sums)  # fmt: skip
        events[sample] = total


@inlined
def _collect(one: Any, lines: Any, arriving: Any, step: int) -> None:
    """Add the registers of a connection that are due to its neurons' input, and empty them.

    Registers that are due a step later are not written but before the last step: what they would
    hold is added to the input at once.
    """
    if one[SLOTS] == 1 and step > 0:
        return
    to, due = one[TARGET], one[LINE] + step % one[SLOTS] * one[WIDTH]
    for n in range(0, one[WIDTH], lanes(lines)):
        store(arriving, to + n, load(arriving, to + n) + load(lines, due + n))
    clear(lines, due, one[WIDTH])


@inlined
def _record(
    one: Any, row: int, active: Any, begin: int, end: int, u: Any, v: Any, records: Any
) -> None:
    first, size = one[FIRST], one[SIZE]
    if one[SPIKES_AT] >= 0:
        for n in range(begin, end):
            records[one[SPIKES_AT] + row * size + active[n]] = 1
    if one[V_AT] >= 0:
        for n in range(size):
            records[one[V_AT] + row * size + n] = v[first + n]
    if one[I_AT] >= 0:
        for n in range(size):
            records[one[I_AT] + row * size + n] = u[first + n]


@inlined
def _deliver(
    one: Any, to: Any, step: int, active: Any, payload: Any, ones: bool, begin: int, end: int,
    integers: Any, weights: Any, starts: Any, places: Any, fan_out: Any, sums: Any,
) -> Any:  # fmt: skip
    """Add what the active neurons send to the registers; return the synapses that carried it."""
    if one[START] < 0 and not one[RIGHT]:
        return _add_rows(one, to, active, payload, ones, begin, end, integers, fan_out)
    if one[RIGHT]:
        _add_shifted(one, to, step, active, payload, ones, begin, end, integers, weights, starts,
                     places, fan_out, sums)  # fmt: skip
    else:
        turn = (step + 1) % one[SLOTS] * one[WIDTH]
        _add_lists(one, to, turn, active, payload, ones, begin, end, weights, starts, places)
    carried = 0
    for k in range(begin, end):
        carried += fan_out[one[FAN_OUT] + active[k]]
    return carried


@compiled
def _add_shifted(
    one: Any, to: Any, step: int, active: Any, payload: Any, ones: bool, begin: int, end: int,
    integers: Any, weights: Any, starts: Any, places: Any, fan_out: Any, sums: Any,
) -> None:  # fmt: skip
    """Sum for every delay, shift to the right, then add to the registers."""
    width, slots = one[WIDTH], one[SLOTS]
    clear(sums, 0, slots * width)
    if one[START] < 0:
        _add_rows(one, sums, active, payload, ones, begin, end, integers, fan_out)
    else:
        _add_lists(one, sums, 0, active, payload, ones, begin, end, weights, starts, places)
    right = splat(sums, one[RIGHT])
    for delay in range(slots):
        slot = (step + 1 + delay) % slots * width
        for n in range(0, width, lanes(sums)):
            sent = load(sums, delay * width + n) >> right
            store(to, slot + n, load(to, slot + n) + sent)


@inlined
def _add_lists(
    one: Any, to: Any, turn: int, active: Any, payload: Any, ones: bool, begin: int, end: int,
    weights: Any, starts: Any, places: Any,
) -> None:  # fmt: skip
    """Add sparse weights times payloads into a ring that is turned by `turn` registers."""
    size = one[SLOTS] * one[WIDTH]
    for k in range(begin, end):
        start = one[START] + active[k]
        times = np.int32(1) if ones else payload[k]
        for s in range(starts[start], starts[start + 1]):
            place = places[s] + turn
            place -= size * (place >= size)
            to[place] += np.int32(np.int32(weights[s]) * times)


@inlined
def _add_rows(
    one: Any, to: Any, active: Any, payload: Any, ones: bool, begin: int, end: int, integers: Any,
    fan_out: Any,
) -> Any:  # fmt: skip
    """Add dense rows times payloads; return the synapses that carried them."""
    first, stride, number = one[WEIGHT], one[WIDTH], end - begin
    scale, bias, fan = np.int32(one[SCALE]), one[ROW_BIAS], one[FAN_OUT]
    if ones:
        return sum_blocks(to, 0, integers, first, stride, one[ROW_SUMS], active, payload, begin,
                          number, scale, bias, 1, fan_out, fan)  # fmt: skip
    return weigh_blocks(to, 0, integers, first, stride, active, payload, begin, number, scale, bias,
                        1, fan_out, fan)  # fmt: skip
