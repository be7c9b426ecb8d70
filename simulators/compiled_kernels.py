"""One step of every operation of a compiled program, in Numba.

Each function follows the stepper or the propagator of the reference engine term by term.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from simulators.compiled_layout import (
    ADDS,
    ANY,
    DEPTH,
    FACTOR,
    FINITE,
    FIRST,
    LIST,
    ONES,
    OUT,
    PART_AT,
    PART_COLUMNS,
    PART_DEPTH,
    PARTS,
    RING,
    SIZE,
    STEPS,
    WORD,
    X_LIST,
    X,
)
from simulators.compiled_vectors import (
    behind,
    count_bits,
    lanes,
    load,
    lowest_bit,
    nonzero_word,
    splat,
    store,
)

AT_ONCE = 5
"""Entries that `note_active` writes at a time; a list has room for as many behind its last one."""


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function as machine code; without fast-math, and free of Python's lock."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Return a function as machine code that becomes part of its callers."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


@inlined
def note_active(word: Any, base: int, active: Any, at: int) -> Any:
    """Append the set bits of a word to a list and return its new end.

    Always some at a time, even of none: how many bits are set is hard to predict, how often there
    are more than these is not.
    """
    end = at + count_bits(word)
    while True:
        for n in range(AT_ONCE):
            active[at + n] = base + lowest_bit(word)
            word &= word - np.uint64(1)
        at += AT_ONCE
        if at >= end:
            return end


@inlined
def within(word: Any, size: int) -> Any:
    """Return the bits of a word that stand for the first `size` elements."""
    return word if size >= WORD else word & ((np.uint64(1) << np.uint64(size)) - np.uint64(1))


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
def clear(memory: Any, at: int, size: int) -> None:
    """Set a place to zero."""
    zero = splat(memory, 0)
    for n in range(0, size, lanes(memory)):
        store(memory, at + n, zero)


@inlined
def add(memory: Any, to: int, at: int, size: int) -> None:
    """Add what lies at one place to what lies at another."""
    for n in range(0, size, lanes(memory)):
        store(memory, to + n, load(memory, to + n) + load(memory, at + n))


@inlined
def spread_list(
    source: int, to: Any, at: int, list_at: Any, count: Any, holds: Any, active: Any, value: Any
) -> None:
    """Write what a list holds as activity, among zeros that are there already."""
    begin = list_at[source]
    ones = holds[source] == ONES
    for n in range(begin, begin + count[source]):
        to[at + active[n]] = 1 if ones else value[n]


@inlined
def spread(
    op: Any, memory: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any
) -> None:
    """Write a list as activity."""
    clear(memory, op[OUT], op[SIZE])
    spread_list(op[X_LIST], memory, op[OUT], list_at, count, holds, active, value)


@inlined
def gather(op: Any, memory: Any, parts: Any, step: int) -> None:
    """Add what a node's sources deliver, in their order."""
    at, width = op[OUT], (op[SIZE] + WORD - 1) // WORD * WORD
    begin, end = op[FIRST], op[FIRST] + op[PARTS]
    if not op[ADDS]:
        part = _arriving(parts, begin, step, width)
        for j in range(0, width, lanes(memory)):
            store(memory, at + j, load(memory, part + j))
        begin += 1
    for p in range(begin, end):
        add(memory, at, _arriving(parts, p, step, width), width)


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
def push_list(op: Any, list_at: Any, count: Any, holds: Any, active: Any, value: Any) -> None:
    """Copy a list for the next step."""
    source, target = op[X_LIST], op[LIST]
    begin, to = list_at[source], list_at[target]
    count[target], holds[target] = count[source], holds[source]
    for n in range(count[source]):
        active[to + n] = active[begin + n]
    if holds[source] != ONES:
        for n in range(count[source]):
            value[to + n] = value[begin + n]


@inlined
def scan(
    memory: Any, at: int, size: int, target: int,
    list_at: Any, count: Any, holds: Any, active: Any, value: Any,
) -> None:  # fmt: skip
    """List the active elements of a place."""
    begin = list_at[target]
    end = begin
    for base in range(0, size, WORD):
        end = note_active(nonzero_word(memory, at + base), base, active, end)
    count[target] = end - begin
    holds[target] = ONES
    for n in range(begin, end):
        value[n] = memory[at + active[n]]
        holds[target] = max(holds[target], what_it_holds(value[n]))


@inlined
def scale(op: Any, memory: Any, coefficients: Any) -> None:
    """Multiply by a factor of each element's own."""
    at, x, factor = op[OUT], op[X], op[FACTOR]
    for j in range(0, op[SIZE], lanes(memory)):
        store(memory, at + j, load(coefficients, factor + j) * load(memory, x + j))
    clear_padding(memory, at, op[SIZE])
