"""One step of a population of neurons, in Numba: every choice of the contract, lane by lane.

The choices are the same for all neurons, so their branches cost next to nothing beside the vectors.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import clear_padding, compiled, inlined, note_active, what_it_holds
from simulators.compiled_layout import (
    ADD_FIRST,
    ADDS_INPUT,
    AFTER_INPUT,
    AT_THRESHOLD,
    BEFORE_INPUT,
    BOUNDED,
    COUNTER,
    CURRENT,
    DECAY_FORM,
    DIRECT,
    FACTOR,
    FIRES,
    KEEPS,
    LEAK_1,
    LEAK_2,
    LEAK_3,
    LEAKS,
    LIST,
    MEMBRANE,
    ONES,
    OUT,
    SAME_STEP,
    SEVERAL,
    SIZE,
    SPIKING,
    SUBTRACT,
    SYNAPSE_1,
    SYNAPSE_2,
    TAKES,
    THETA,
    TIMING,
    V_RESET,
    WORD,
    X,
)
from simulators.compiled_vectors import (
    bits,
    floor,
    lanes,
    load,
    select,
    splat,
    store,
)


@inlined
def _shared(op: Any, column: int, coefficients: Any, j: int) -> Any:
    """Return the coefficients of the lanes from neuron j on."""
    return load(coefficients, op[column] + j * op[column + 1])


@inlined
def _current(op: Any, rules: Any, coefficients: Any, j: int, i: Any, x: Any) -> Any:
    one, two = _shared(op, SYNAPSE_1, coefficients, j), _shared(op, SYNAPSE_2, coefficients, j)
    if rules[ADD_FIRST]:
        if rules[DECAY_FORM]:
            return one * (i + two * x)
        i = i + (x if op[DIRECT] else one * (two * x))
        return i - one * i
    if rules[DECAY_FORM]:
        return one * i + two * x
    if op[DIRECT]:
        return (i - one * i) + x
    return i + one * (two * x - i)


@inlined
def _membrane(op: Any, rules: Any, coefficients: Any, j: int, v: Any, x: Any) -> Any:
    three = _shared(op, LEAK_3, coefficients, j)
    if op[LEAKS] == KEEPS:
        return v + three * x
    one, two = _shared(op, LEAK_1, coefficients, j), _shared(op, LEAK_2, coefficients, j)
    if rules[DECAY_FORM]:
        return one * v + two * x + three
    if op[LEAKS] == ADDS_INPUT:
        return (v + one * (two - v)) + x
    return v + one * ((two - v) + three * x)


@inlined
def _spikes(rules: Any, v: Any, theta: Any, zero: Any, one: Any) -> Any:
    """Return how often each neuron spikes at v."""
    number = floor(v / theta) if rules[SEVERAL] else one
    if rules[AT_THRESHOLD]:
        return select(v >= theta, number, zero)
    return select(v > theta, number, zero)


@inlined
def _reset(rules: Any, v: Any, spikes: Any, theta: Any, v_reset: Any, zero: Any) -> Any:
    after = v - spikes * theta if rules[SUBTRACT] else v_reset
    return select(spikes != zero, after, v)


@compiled
def neuron(
    op: Any, rules: Any, v_min: Any, coefficients: Any, memory: Any, list_at: Any, count: Any,
    holds: Any, active: Any, value: Any, counters: Any,
) -> None:  # fmt: skip
    """Move the synaptic current on, then the membrane; list and count the spikes."""
    target = op[LIST]
    end = list_at[target]
    for base in range(0, op[SIZE], WORD):
        word = np.uint64(0)
        for j in range(0, WORD, lanes(memory)):
            n = base + j
            x = load(memory, op[X] + n)
            if op[CURRENT] >= 0:
                i = load(memory, op[CURRENT] + n)
                if op[TAKES]:
                    i = _current(op, rules, coefficients, n, i, x)
                    store(memory, op[CURRENT] + n, i)
                x = i
            if op[FIRES]:
                word |= _advance(op, rules, v_min, coefficients, memory, n, x) << np.uint64(j)
        if op[SPIKING]:
            end = note_active(_within(word, op[SIZE] - base), base, active, end)
    if op[FIRES]:
        clear_padding(memory, op[OUT], op[SIZE])
        if op[SPIKING]:
            _note_spikes(op, rules, memory, end, list_at, count, holds, active, value, counters)


@inlined
def _advance(
    op: Any, rules: Any, v_min: Any, coefficients: Any, memory: Any, n: int, x: Any
) -> Any:
    """Step the membranes of the lanes from neuron n on; return which spike, as bits."""
    zero, one = splat(memory, 0), splat(memory, 1)
    timing = rules[TIMING]
    v = load(memory, op[MEMBRANE] + n)
    if not op[SPIKING]:
        v = _bounded(rules, v_min, memory, _membrane(op, rules, coefficients, n, v, x))
        store(memory, op[MEMBRANE] + n, v)
        store(memory, op[OUT] + n, v)
        return np.uint64(0)
    theta, v_reset = _shared(op, THETA, coefficients, n), _shared(op, V_RESET, coefficients, n)
    due = zero
    if timing != SAME_STEP:
        due = _spikes(rules, v, theta, zero, one)
    if timing == BEFORE_INPUT:
        v = _reset(rules, v, due, theta, v_reset, zero)
    v = _membrane(op, rules, coefficients, n, v, x)
    if timing == AFTER_INPUT:
        v = _reset(rules, v, due, theta, v_reset, zero)
    spikes = _spikes(rules, v, theta, zero, one)
    if timing == SAME_STEP:
        v = _reset(rules, v, spikes, theta, v_reset, zero)
    store(memory, op[MEMBRANE] + n, _bounded(rules, v_min, memory, v))
    store(memory, op[OUT] + n, spikes)
    return bits(spikes != zero)


@inlined
def _bounded(rules: Any, v_min: Any, memory: Any, v: Any) -> Any:
    if not rules[BOUNDED]:
        return v
    bound = splat(memory, v_min)
    return select(v < bound, bound, v)


@inlined
def _within(word: Any, size: int) -> Any:
    """Return the bits of a word that lie within a population."""
    return word if size >= WORD else word & ((np.uint64(1) << np.uint64(size)) - np.uint64(1))


@inlined
def _note_spikes(
    op: Any, rules: Any, memory: Any, end: int, list_at: Any, count: Any, holds: Any,
    active: Any, value: Any, counters: Any,
) -> None:  # fmt: skip
    target = op[LIST]
    begin = list_at[target]
    count[target] = end - begin
    holds[target] = ONES
    if not rules[SEVERAL]:
        counters[op[COUNTER]] += end - begin
        return
    for n in range(begin, end):
        value[n] = memory[op[OUT] + active[n]]
        counters[op[COUNTER]] += np.int64(value[n])
        holds[target] = max(holds[target], what_it_holds(value[n]))


@compiled
def threshold(
    op: Any, rules: Any, coefficients: Any, memory: Any, list_at: Any, count: Any, holds: Any,
    active: Any, counters: Any,
) -> None:  # fmt: skip
    """Spike where the input crosses the threshold; list and count the spikes."""
    target = op[LIST]
    end = list_at[target]
    zero, one = splat(memory, 0), splat(memory, 1)
    for base in range(0, op[SIZE], WORD):
        word = np.uint64(0)
        for j in range(0, WORD, lanes(memory)):
            n = base + j
            x, theta = load(memory, op[X] + n), load(coefficients, op[FACTOR] + n)
            crossed = x >= theta if rules[AT_THRESHOLD] else x > theta
            store(memory, op[OUT] + n, select(crossed, one, zero))
            word |= bits(crossed) << np.uint64(j)
        end = note_active(_within(word, op[SIZE] - base), base, active, end)
    clear_padding(memory, op[OUT], op[SIZE])
    count[target] = end - list_at[target]
    holds[target] = ONES
    counters[op[COUNTER]] += count[target]
