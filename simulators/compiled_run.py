"""The compiled kernel: every sample of a batch, step by step, operation by operation."""

from typing import Any

import numpy as np

from simulators.compiled_kernels import (
    clear,
    compiled,
    delay,
    gather,
    inlined,
    push,
    push_list,
    scale,
    scan,
    spread,
    spread_list,
)
from simulators.compiled_layout import (
    COLUMNS,
    KIND,
    LIST,
    RECORD_COLUMNS,
    RECORD_COUNTS,
    RECORD_FROM,
    RECORD_LIST,
    RECORD_SIZE,
    RECORD_TO,
    RING_AT,
    RING_COLUMNS,
    RING_DEPTH,
    RING_LIST,
    RING_WIDTH,
    SIZE,
    Kind,
    X,
)
from simulators.compiled_neurons import neuron, threshold
from simulators.compiled_sums import weights
from simulators.compiled_vectors import behind, pointer_to

_SPREAD, _GATHER, _SCAN, _WEIGHTS, _SCALE, _THRESHOLD, _DELAY, _NEURON, _PUSH = (
    int(kind)
    for kind in (
        *(Kind.SPREAD, Kind.GATHER, Kind.SCAN, Kind.WEIGHTS, Kind.SCALE),
        *(Kind.THRESHOLD, Kind.DELAY, Kind.NEURON, Kind.PUSH),
    )
)


@compiled
def run(
    operations: Any, parts: Any, rings: Any, rules: Any, v_min: Any, coefficients: Any,
    rows: Any, integers: Any, start: Any, near: Any, post: Any, weight: Any, fan_out: Any,
    delays: Any,
    records: Any, first: int, last: int, steps: int,
    given: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any,
    memory: Any, state: Any, floats: Any, counts: Any, counters: Any, events: Any,
) -> None:  # fmt: skip
    """Step the samples from `first` up to `last`.

    Args:
        operations ... delays: fields of the `Program`.
        records: int64 [records, RECORD_COLUMNS], what to keep of every step.
        first: first sample.
        last: sample behind the last one.
        steps: time steps.
        given: int64 [inputs, batch · steps + 1], where each step's active lines lie in `active`.
        list_at: int64, where in `active` the list of every node lies; the inputs' come first.
        count: int64 beside `list_at`, how many elements are listed.
        holds: int64 beside `list_at`, what their activity is; that of the inputs is given.
        active: int32, the inputs' active lines, then room for the nodes' lists.
        value: the activity beside `active`.
        memory: room for one sample.
        state: [batch, state], before the first step; after the last one on return.
        floats: records of floats, [record][batch, steps, size] one after the other; zeros where
            they come from a list.
        counts: int32, records of spikes likewise.
        counters: int64 [batch, counters], spikes.
        events: int64 [batch], synaptic events.
    """
    inputs, nodes = given.shape[0], operations.shape[0]
    kept, lines, width = records.shape[0], rings.shape[0], state.shape[1]
    spiking = counters.shape[1]
    _run(
        *(pointer_to(operations), nodes, pointer_to(parts), pointer_to(rings), lines),
        *(pointer_to(rules), v_min, pointer_to(coefficients), pointer_to(rows)),
        *(pointer_to(integers), pointer_to(start), pointer_to(near), pointer_to(post)),
        *(pointer_to(weight), pointer_to(fan_out), pointer_to(delays)),
        *(pointer_to(records), kept, first, last, steps),
        *(pointer_to(given), inputs, given.shape[1]),
        *(pointer_to(list_at), pointer_to(count), pointer_to(holds)),
        *(pointer_to(active), pointer_to(value)),
        *(pointer_to(memory), pointer_to(state), width, pointer_to(floats), pointer_to(counts)),
        *(pointer_to(counters), spiking, pointer_to(events)),
    )


@compiled
def _run(
    operations: Any, nodes: int, parts: Any, rings: Any, lines: int, rules: Any, v_min: Any,
    coefficients: Any, rows: Any, integers: Any, start: Any, near: Any, post: Any, weight: Any,
    fan_out: Any, delays: Any, records: Any, kept: int,
    first: int, last: int, steps: int, given: Any, inputs: int, given_width: int,
    list_at: Any, count: Any, holds: Any, active: Any, value: Any,
    memory: Any, state: Any, width: int, floats: Any, counts: Any,
    counters: Any, spiking: int, events: Any,
) -> None:  # fmt: skip
    for sample in range(first, last):
        held = behind(state, sample * width)
        spikes = behind(counters, sample * spiking)
        for n in range(width):
            memory[n] = held[n]
        _begin_lists(rings, lines, memory, list_at, count, holds, active, value)
        total = 0
        for step in range(steps):
            row = sample * steps + step
            for n in range(inputs):
                begin = given[n * given_width + row]
                list_at[n] = begin
                count[n] = given[n * given_width + row + 1] - begin
            for number in range(nodes):
                op = behind(operations, number * COLUMNS)
                if op[KIND] == _WEIGHTS:
                    total += weights(op, memory, coefficients, rows, integers, start, near, post,
                                     weight, fan_out, list_at, count, holds, active,
                                     value)  # fmt: skip
                elif op[KIND] == _NEURON:
                    neuron(op, rules, v_min, coefficients, memory, list_at, count, holds,
                           active, value, spikes)  # fmt: skip
                else:
                    _other(op, step, parts, rules, coefficients, delays, memory, list_at, count,
                           holds, active, value, spikes)  # fmt: skip
            if kept > 0:
                _record(records, kept, row, memory, floats, counts,
                        list_at, count, holds, active, value)  # fmt: skip
        if steps > 0:
            _end_lists(rings, lines, memory, list_at, count, holds, active, value)
        _keep_state(rings, lines, steps, memory, held, width)
        events[sample] = total


@compiled
def _other(
    op: Any, step: int, parts: Any, rules: Any, coefficients: Any, delays: Any, memory: Any,
    list_at: Any, count: Any, holds: Any, active: Any, value: Any, spikes: Any,
) -> None:  # fmt: skip
    """Run an operation that is neither weights nor neurons."""
    kind = op[KIND]
    if kind == _GATHER:
        gather(op, memory, parts, step)
    elif kind == _SCAN:
        scan(memory, op[X], op[SIZE], op[LIST], list_at, count, holds, active, value)
    elif kind == _SPREAD:
        spread(op, memory, list_at, count, holds, active, value)
    elif kind == _SCALE:
        scale(op, memory, coefficients)
    elif kind == _THRESHOLD:
        threshold(op, rules, coefficients, memory, list_at, count, holds, active, spikes)
    elif kind == _DELAY:
        delay(op, memory, delays, step)
    elif kind == _PUSH:
        push(op, memory, step)
    else:
        push_list(op, list_at, count, holds, active, value)


@inlined
def _begin_lists(
    rings: Any, lines: int, memory: Any, list_at: Any, count: Any, holds: Any, active: Any,
    value: Any,
) -> None:  # fmt: skip
    """List what lies in the delay lines that lists stand in for."""
    for line in range(lines):
        ring = behind(rings, line * RING_COLUMNS)
        if ring[RING_LIST] >= 0:
            scan(memory, ring[RING_AT], ring[RING_WIDTH], ring[RING_LIST],
                 list_at, count, holds, active, value)  # fmt: skip


@inlined
def _end_lists(
    rings: Any, lines: int, memory: Any, list_at: Any, count: Any, holds: Any, active: Any,
    value: Any,
) -> None:  # fmt: skip
    """Put lists back into the delay lines that they stand in for."""
    for line in range(lines):
        ring = behind(rings, line * RING_COLUMNS)
        if ring[RING_LIST] >= 0:
            clear(memory, ring[RING_AT], ring[RING_WIDTH])
            spread_list(ring[RING_LIST], memory, ring[RING_AT],
                        list_at, count, holds, active, value)  # fmt: skip


@inlined
def _record(
    records: Any, kept: int, row: int, memory: Any, floats: Any, counts: Any,
    list_at: Any, count: Any, holds: Any, active: Any, value: Any,
) -> None:  # fmt: skip
    for number in range(kept):
        record = behind(records, number * RECORD_COLUMNS)
        begin, size = record[RECORD_FROM], record[RECORD_SIZE]
        to, source = record[RECORD_TO] + row * size, record[RECORD_LIST]
        if source >= 0:
            if record[RECORD_COUNTS]:
                spread_list(source, counts, to, list_at, count, holds, active, value)
            else:
                spread_list(source, floats, to, list_at, count, holds, active, value)
        elif record[RECORD_COUNTS]:
            for n in range(size):
                counts[to + n] = np.int32(memory[begin + n])
        else:
            for n in range(size):
                floats[to + n] = memory[begin + n]


@inlined
def _keep_state(rings: Any, lines: int, steps: int, memory: Any, held: Any, width: int) -> None:
    """Write the state back, delay lines with their oldest entry first."""
    for n in range(width):
        held[n] = memory[n]
    for line in range(lines):
        ring = behind(rings, line * RING_COLUMNS)
        at, depth, slot_width = ring[RING_AT], ring[RING_DEPTH], ring[RING_WIDTH]
        for slot in range(depth):
            source = at + (steps + slot) % depth * slot_width
            for n in range(slot_width):
                held[at + slot * slot_width + n] = memory[source + n]
