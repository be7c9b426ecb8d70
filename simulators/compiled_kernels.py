"""One step of every operation of a compiled program, in Numba.

Each function follows the stepper or the propagator of the reference engine term by term.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from simulators.compiled_layout import (
    ANY,
    BIAS,
    DEPTH,
    FACTOR,
    FAN_OUT,
    FINITE,
    FIRST,
    FORM,
    LIST,
    ONES,
    OUT,
    PART_AT,
    PART_COLUMNS,
    PART_DEPTH,
    PARTS,
    RING,
    ROW_SUMS,
    SCALING,
    SIZE,
    STEPS,
    STRIDE,
    WEIGHT,
    WORD,
    X_LIST,
    Form,
    X,
)
from simulators.compiled_rows import make_row_sum
from simulators.compiled_vectors import (
    behind,
    lanes,
    load,
    lowest_bit,
    nonzero_word,
    store,
)


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function as machine code; without fast-math, and free of Python's lock."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Return a function as machine code that becomes part of its callers."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


_ROWS, _SYNAPSES = int(Form.ROWS), int(Form.SYNAPSES)

_sum_128, _sum_64, _sum_32, _sum_16 = (
    make_row_sum(width, weighted=False) for width in (128, 64, 32, 16)
)
_weigh_128, _weigh_32, _weigh_16 = (make_row_sum(width, weighted=True) for width in (128, 32, 16))


@inlined
def note_active(word: Any, base: int, active: Any, at: int) -> int:
    """Append the set bits of a word to a list and return its new end."""
    while word != np.uint64(0):
        active[at] = base + lowest_bit(word)
        at += 1
        word &= word - np.uint64(1)
    return at


@inlined
def what_it_holds(activity: Any) -> int:
    """Return the least that a list with this activity holds."""
    if activity == 1:
        return ONES
    return FINITE if np.isfinite(activity) else ANY


@inlined
def clear_padding(memory: Any, at: int, size: int) -> None:
    """Set the padding behind a place to zero."""
    for n in range(size, (size + WORD - 1) // WORD * WORD):
        memory[at + n] = 0


@inlined
def spread(
    op: Any, memory: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any
) -> None:
    """Write an Input's list as activity."""
    at, source = op[OUT], op[X_LIST]
    for n in range(op[SIZE]):
        memory[at + n] = 0
    begin = list_at[source]
    ones = holds[source] == ONES
    for n in range(begin, begin + count[source]):
        memory[at + active[n]] = 1 if ones else value[n]


@inlined
def gather(op: Any, memory: Any, parts: Any, step: int) -> None:
    """Add what a node's sources deliver, in their order."""
    at, width = op[OUT], (op[SIZE] + WORD - 1) // WORD * WORD
    first = _arriving(parts, op[FIRST], step, width)
    for j in range(0, width, lanes(memory)):
        store(memory, at + j, load(memory, first + j))
    for p in range(op[FIRST] + 1, op[FIRST] + op[PARTS]):
        part = _arriving(parts, p, step, width)
        for j in range(0, width, lanes(memory)):
            store(memory, at + j, load(memory, at + j) + load(memory, part + j))


@inlined
def _arriving(parts: Any, number: int, step: int, width: int) -> int:
    part = behind(parts, number * PART_COLUMNS)
    depth = part[PART_DEPTH]
    slot = step % depth * width if depth > 0 else 0
    return int(part[PART_AT] + slot)


@inlined
def push(op: Any, memory: Any, step: int) -> None:
    """Put a source's output of this step into a delay line, over the oldest one."""
    width = (op[SIZE] + WORD - 1) // WORD * WORD
    at, slot = op[OUT], op[RING] + step % op[DEPTH] * width
    for j in range(0, width, lanes(memory)):
        store(memory, slot + j, load(memory, at + j))


@inlined
def delay(op: Any, memory: Any, delays: Any, step: int) -> None:
    """Delay every element by steps of its own."""
    width = (op[SIZE] + WORD - 1) // WORD * WORD
    at, x, ring, depth = op[OUT], op[X], op[RING], op[DEPTH]
    for n in range(op[SIZE]):
        late = delays[op[STEPS] + n]
        source = x if late == 0 else ring + (step - late) % depth * width
        memory[at + n] = memory[source + n]
    if depth > 0:
        slot = ring + step % depth * width
        for n in range(op[SIZE]):
            memory[slot + n] = memory[x + n]


@inlined
def scan(
    op: Any, memory: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any
) -> None:
    """List the active elements of a place."""
    x, target = op[X], op[LIST]
    begin = list_at[target]
    end = begin
    for base in range(0, op[SIZE], WORD):
        end = note_active(nonzero_word(memory, x + base), base, active, end)
    count[target] = end - begin
    holds[target] = ONES
    for n in range(begin, end):
        value[n] = memory[x + active[n]]
        holds[target] = max(holds[target], what_it_holds(value[n]))


@compiled
def weights(
    op: Any, memory: Any, coefficients: Any, rows: Any, integers: Any, start: Any, post: Any,
    weight: Any, fan_out: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any,
) -> int:  # fmt: skip
    """Sum the weights of the active inputs; return how many synapses that took."""
    source = op[X_LIST]
    begin, number = list_at[source], count[source]
    if op[FORM] == _SYNAPSES:
        _sum_synapses(op, memory, start, post, weight, holds[source], active, value, begin, number)
    elif holds[source] == ANY:
        _sum_what_is_there(op, memory, rows, integers, coefficients, active, value, begin, number)
    elif op[FORM] == _ROWS:
        _sum_rows(op, memory, rows, holds[source], active, value, begin, number)
    else:
        _sum_integers(
            op, memory, integers, coefficients, holds[source], active, value, begin, number
        )
    if op[BIAS] >= 0:
        at, bias = op[OUT], op[BIAS]
        for j in range(0, op[SIZE], lanes(memory)):
            store(memory, at + j, load(memory, at + j) + load(coefficients, bias + j))
    events = 0
    for n in range(begin, begin + number):
        events += fan_out[op[FAN_OUT] + active[n]]
    return events


@inlined
def _sum_rows(
    op: Any, memory: Any, rows: Any, holds: int, active: Any, value: Any, begin: int, number: int
) -> None:
    at, first, stride = op[OUT], op[WEIGHT], op[STRIDE]
    column = 0
    if holds == ONES:
        while column + 128 <= stride:
            _sum_128(memory, at + column, rows, first + column, stride,
                     active, value, begin, number, 1)  # fmt: skip
            column += 128
        if column + 64 <= stride:
            _sum_64(memory, at + column, rows, first + column, stride,
                    active, value, begin, number, 1)  # fmt: skip
            column += 64
        while column < stride:
            _sum_16(memory, at + column, rows, first + column, stride,
                    active, value, begin, number, 1)  # fmt: skip
            column += 16
        return
    while column + 128 <= stride:
        _weigh_128(memory, at + column, rows, first + column, stride,
                   active, value, begin, number, 1)  # fmt: skip
        column += 128
    while column < stride:
        _weigh_16(memory, at + column, rows, first + column, stride,
                  active, value, begin, number, 1)  # fmt: skip
        column += 16


@inlined
def _sum_integers(
    op: Any, memory: Any, integers: Any, coefficients: Any, holds: int,
    active: Any, value: Any, begin: int, number: int,
) -> None:  # fmt: skip
    at, first, stride = op[OUT], op[WEIGHT], op[STRIDE]
    scale = coefficients[op[SCALING]]
    if holds != ONES:
        for column in range(0, stride, 32):
            _weigh_32(memory, at + column, integers, first + column, stride,
                      active, value, begin, number, scale)  # fmt: skip
        return
    for n in range(stride):
        memory[at + n] = 0
    end = begin + number
    while begin < end:
        some = min(end - begin, op[ROW_SUMS])
        column = 0
        while column + 128 <= stride:
            _sum_128(memory, at + column, integers, first + column, stride,
                     active, value, begin, some, scale)  # fmt: skip
            column += 128
        while column < stride:
            _sum_32(memory, at + column, integers, first + column, stride,
                    active, value, begin, some, scale)  # fmt: skip
            column += 32
        begin += some


@compiled
def _sum_synapses(
    op: Any, memory: Any, start: Any, post: Any, weight: Any, holds: int,
    active: Any, value: Any, begin: int, number: int,
) -> None:  # fmt: skip
    at = op[OUT]
    for n in range(op[SIZE]):
        memory[at + n] = 0
    for n in range(begin, begin + number):
        pre = op[WEIGHT] + active[n]
        if holds == ONES:
            for s in range(start[pre], start[pre + 1]):
                memory[at + post[s]] += weight[s]
        else:
            for s in range(start[pre], start[pre + 1]):
                memory[at + post[s]] += weight[s] * value[n]


@compiled
def _sum_what_is_there(
    op: Any, memory: Any, rows: Any, integers: Any, coefficients: Any,
    active: Any, value: Any, begin: int, number: int,
) -> None:  # fmt: skip
    """Sum without the zeros of absent synapses, which times infinity would be NaN."""
    at, stride = op[OUT], op[STRIDE]
    for n in range(op[SIZE]):
        memory[at + n] = 0
    for n in range(begin, begin + number):
        first = op[WEIGHT] + active[n] * stride
        for j in range(op[SIZE]):
            if op[FORM] == _ROWS:
                w = rows[first + j]
            else:
                # An integer of so few bits times a power of two is exact in any float.
                w = coefficients[op[SCALING]] * integers[first + j]
            if w != 0:
                memory[at + j] += w * value[n]


@inlined
def scale(op: Any, memory: Any, coefficients: Any) -> None:
    """Multiply by a factor of each element's own."""
    at, x, factor = op[OUT], op[X], op[FACTOR]
    for j in range(0, op[SIZE], lanes(memory)):
        store(memory, at + j, load(coefficients, factor + j) * load(memory, x + j))
    clear_padding(memory, at, op[SIZE])
