"""The sums of the weights of active neurons, in Numba, for every form in which they are stored.

Each function follows the propagator of the reference engine term by term.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import add, clear, compiled, inlined
from simulators.compiled_layout import (
    ADDS,
    ANY,
    BIAS,
    CLEAN,
    FAN_EACH,
    FAN_OUT,
    FORM,
    NARROW,
    ONES,
    OUT,
    PLACE,
    ROW_SUMS,
    SCALING,
    SCRATCH,
    SIZE,
    STRIDE,
    WEIGHT,
    X_LIST,
    Form,
)
from simulators.compiled_rows import BIAS_OF_BYTES, BLOCK, make_row_sum
from simulators.compiled_vectors import lanes, load, prefetch, store

_ROWS, _SYNAPSES, _EQUAL = int(Form.ROWS), int(Form.SYNAPSES), int(Form.EQUAL)

_sum_128, _sum_64, _sum_16 = (make_row_sum(width, weighted=False) for width in (128, 64, 16))
_weigh_128, _weigh_64, _weigh_16 = (make_row_sum(width, weighted=True) for width in (128, 64, 16))

_LINE = 16
"""Synapses whose targets fit a cache line."""


@inlined
def weights(
    op: Any, memory: Any, coefficients: Any, rows: Any, integers: Any, start: Any, near: Any,
    post: Any, weight: Any, fan_out: Any, list_at: Any, count: Any, holds: Any, active: Any,
    value: Any,
) -> Any:  # fmt: skip
    """Sum the weights of the active inputs; return how many synapses that took."""
    source, at = op[X_LIST], op[OUT]
    begin, number, held, adds = list_at[source], count[source], holds[source], op[ADDS]
    events = -1
    if op[FORM] >= _SYNAPSES and op[NARROW]:
        _sum_synapses(op, memory, start, near, weight, held, active, value, begin, number)
    elif op[FORM] >= _SYNAPSES:
        _sum_synapses(op, memory, start, post, weight, held, active, value, begin, number)
    elif held == ANY:
        _sum_what_is_there(op, memory, rows, integers, coefficients, active, value, begin, number)
    elif op[FORM] == _ROWS:
        events = _sum_rows(op, memory, rows, held, fan_out, active, value, begin, number, adds)
    elif held == ONES:
        events = _sum_integers(op, memory, integers, coefficients, fan_out, active, value, begin,
                               number, adds)  # fmt: skip
    else:
        events = weigh_blocks(memory, at, integers, op[WEIGHT], op[STRIDE], active, value, begin,
                              number, coefficients[op[SCALING]], BIAS_OF_BYTES, adds, fan_out,
                              op[FAN_OUT])  # fmt: skip
    if op[BIAS] >= 0:
        bias = op[BIAS]
        for j in range(0, op[SIZE], lanes(memory)):
            store(memory, at + j, load(memory, at + j) + load(coefficients, bias + j))
    return _events(op, fan_out, active, begin, number) if events < 0 else events


@inlined
def _events(op: Any, fan_out: Any, active: Any, begin: int, number: int) -> Any:
    """Return how many synapses the active inputs have."""
    if op[FAN_OUT] < 0:
        return int(number * op[FAN_EACH])
    events = 0
    for n in range(begin, begin + number):
        events += fan_out[op[FAN_OUT] + active[n]]
    return events


@inlined
def _sum_rows(
    op: Any, memory: Any, rows: Any, held: int, fan_out: Any,
    active: Any, value: Any, begin: int, number: int, adds: int,
) -> int:  # fmt: skip
    at, first, stride, fan = op[OUT], op[WEIGHT], op[STRIDE], op[FAN_OUT]
    column, events = 0, 0
    if held == ONES:
        while column + 128 <= stride:
            events = _sum_128(memory, at + column, rows, first + column, stride,
                     active, value, begin, number, 1, 0, adds, fan_out, fan)  # fmt: skip
            column += 128
        if column + 64 <= stride:
            events = _sum_64(memory, at + column, rows, first + column, stride,
                    active, value, begin, number, 1, 0, adds, fan_out, fan)  # fmt: skip
            column += 64
        while column < stride:
            events = _sum_16(memory, at + column, rows, first + column, stride,
                    active, value, begin, number, 1, 0, adds, fan_out, fan)  # fmt: skip
            column += 16
        return events
    while column + 128 <= stride:
        events = _weigh_128(memory, at + column, rows, first + column, stride,
                   active, value, begin, number, 1, 0, adds, fan_out, fan)  # fmt: skip
        column += 128
    while column < stride:
        events = _weigh_16(memory, at + column, rows, first + column, stride,
                  active, value, begin, number, 1, 0, adds, fan_out, fan)  # fmt: skip
        column += 16
    return events


@inlined
def _sum_integers(
    op: Any, memory: Any, integers: Any, coefficients: Any, fan_out: Any,
    active: Any, value: Any, begin: int, number: int, adds: int,
) -> int:  # fmt: skip
    """Sum as many rows at a time as int16 can hold; what they add up to is exact in a float."""
    most, fan = op[ROW_SUMS], op[FAN_OUT]
    # A sum in several parts may not be mixed with what the output holds.
    apart = adds and number > most
    to, more = (op[SCRATCH], 0) if apart else (op[OUT], adds)
    events = sum_blocks(memory, to, integers, op[WEIGHT], op[STRIDE], most, active, value, begin,
                        number, coefficients[op[SCALING]], BIAS_OF_BYTES, more, fan_out,
                        fan)  # fmt: skip
    if apart:
        add(memory, op[OUT], to, op[SIZE])
    return int(events)


@inlined
def sum_blocks(
    memory: Any, to: int, integers: Any, first: int, stride: int, most: int, active: Any,
    value: Any, begin: int, number: int, scale: Any, bias: int, adds: int, fan_out: Any, fan: int,
) -> int:  # fmt: skip
    """Sum rows of blocks of integers, `most` rows at a time; else as `make_row_sum` says."""
    end = begin + number
    events, counted = 0, 0
    while True:
        some = min(end - begin, most)
        column = 0
        while column + 128 <= stride:
            counted = _sum_128(memory, to + column, integers, first + column, stride,
                     active, value, begin, some, scale, bias, adds, fan_out, fan)  # fmt: skip
            column += 128
        if column < stride:
            counted = _sum_64(memory, to + column, integers, first + column, stride,
                    active, value, begin, some, scale, bias, adds, fan_out, fan)  # fmt: skip
        events += counted
        begin += some
        adds = 1
        if begin >= end:
            return events


@inlined
def weigh_blocks(
    memory: Any, to: int, integers: Any, first: int, stride: int, active: Any, value: Any,
    begin: int, number: int, scale: Any, bias: int, adds: int, fan_out: Any, fan: int,
) -> int:  # fmt: skip
    """Sum rows of blocks of integers times their activity; else as `make_row_sum` says."""
    events = 0
    for column in range(0, stride, BLOCK):
        events = _weigh_64(memory, to + column, integers, first + column, stride, active, value,
                           begin, number, scale, bias, adds, fan_out, fan)  # fmt: skip
    return events


@compiled
def _sum_synapses(
    op: Any, memory: Any, start: Any, post: Any, weight: Any, held: int,
    active: Any, value: Any, begin: int, number: int,
) -> None:  # fmt: skip
    at, first, place = op[OUT], op[WEIGHT], op[PLACE]
    if not op[CLEAN]:
        clear(memory, at, op[SIZE])
    for n in range(begin, begin + number):
        pre = first + active[n]
        if n + 1 < begin + number:
            _fetch(start, post, first + active[n + 1])
        if op[FORM] == _EQUAL:
            w = weight[place + active[n]]
            if held != ONES:
                w *= value[n]
            for s in range(start[pre], start[pre + 1]):
                memory[at + post[s]] += w
        elif held == ONES:
            for s in range(start[pre], start[pre + 1]):
                memory[at + post[s]] += weight[place + s]
        else:
            for s in range(start[pre], start[pre + 1]):
                memory[at + post[s]] += weight[place + s] * value[n]


@inlined
def _fetch(start: Any, post: Any, row: int) -> None:
    """Ask for the targets of a row of synapses before they are needed."""
    for s in range(start[row], start[row + 1], _LINE):
        prefetch(post, s)


@inlined
def _byte(column: int) -> int:
    """Return where the integer of a column lies in a row; see `interleaved`."""
    half = BLOCK // 2
    return column // BLOCK * BLOCK + 2 * (column % half) + column % BLOCK // half


@compiled
def _sum_what_is_there(
    op: Any, memory: Any, rows: Any, integers: Any, coefficients: Any,
    active: Any, value: Any, begin: int, number: int,
) -> None:  # fmt: skip
    """Sum without the zeros of absent synapses, which times infinity would be NaN."""
    stride = op[STRIDE]
    at = op[SCRATCH] if op[ADDS] else op[OUT]
    clear(memory, at, op[SIZE])
    for n in range(begin, begin + number):
        first = op[WEIGHT] + active[n] * stride
        for j in range(op[SIZE]):
            if op[FORM] == _ROWS:
                w = rows[first + j]
            else:
                # An integer of so few bits times a power of two is exact in any float.
                whole = np.int64(integers[first + _byte(j)]) - BIAS_OF_BYTES
                w = coefficients[op[SCALING]] * whole
            if w != 0:
                memory[at + j] += w * value[n]
    if op[ADDS]:
        add(memory, op[OUT], at, op[SIZE])
