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
    CLEARS,
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
from simulators.compiled_vectors import bits, floor, lanes, load, select, splat, store


@inlined
def _held(op: Any, column: int, coefficients: Any) -> Any:
    """Return a coefficient as `_at` takes it: its first lanes, its place, whether lanes differ."""
    at = op[column]
    return load(coefficients, at), at, op[column + 1]


@inlined
def _at(held: Any, coefficients: Any, n: int) -> Any:
    """Return the coefficients of the lanes from neuron n on."""
    return load(coefficients, held[1] + n) if held[2] else held[0]


@inlined
def _current(rules: Any, direct: int, one: Any, two: Any, i: Any, x: Any) -> Any:
    if rules[ADD_FIRST]:
        if rules[DECAY_FORM]:
            return one * (i + two * x)
        i = i + (x if direct else one * (two * x))
        return i - one * i
    if rules[DECAY_FORM]:
        return one * i + two * x
    if direct:
        return (i - one * i) + x
    return i + one * (two * x - i)


@inlined
def _membrane(rules: Any, leaks: int, one: Any, two: Any, three: Any, v: Any, x: Any) -> Any:
    if leaks == KEEPS:
        return v + three * x
    if rules[DECAY_FORM]:
        return one * v + two * x + three
    if leaks == ADDS_INPUT:
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
    chosen = (rules[0], rules[1], rules[2], rules[3], rules[4], rules[5], rules[6])
    plain = (0, 0, SAME_STEP, 0, 0, 0, 0)
    if chosen == plain:
        # Constants, so that nothing of the other choices is left in this loop.
        end = _step(op, plain, v_min, coefficients, memory, list_at, active)
    else:
        end = _step(op, chosen, v_min, coefficients, memory, list_at, active)
    if op[OUT] >= 0:
        clear_padding(memory, op[OUT], op[SIZE])
    if op[SPIKING]:
        _note_spikes(op, rules, memory, end, list_at, count, holds, active, value, counters)


@inlined
def _step(
    op: Any, rules: Any, v_min: Any, coefficients: Any, memory: Any, list_at: Any, active: Any
) -> int:
    """Step all neurons; list what spikes, and return where the list ends."""
    size, x_at, i_at = op[SIZE], op[X], op[CURRENT]
    takes, direct, fires, spiking, clears = (
        *(op[TAKES], op[DIRECT], op[FIRES], op[SPIKING], op[CLEARS]),
    )
    synapse = _held(op, SYNAPSE_1, coefficients), _held(op, SYNAPSE_2, coefficients)
    leak = (
        _held(op, LEAK_1, coefficients),
        _held(op, LEAK_2, coefficients),
        _held(op, LEAK_3, coefficients),
    )
    reset = _held(op, THETA, coefficients), _held(op, V_RESET, coefficients)
    places = op[MEMBRANE], op[OUT], op[LEAKS], spiking
    end = list_at[op[LIST]]
    zero = splat(memory, 0)
    for base in range(0, size, WORD):
        word = np.uint64(0)
        for j in range(0, WORD, lanes(memory)):
            n = base + j
            x = load(memory, x_at + n)
            if clears:
                store(memory, x_at + n, zero)
            if i_at >= 0:
                i = load(memory, i_at + n)
                if takes:
                    one, two = _at(synapse[0], coefficients, n), _at(synapse[1], coefficients, n)
                    i = _current(rules, direct, one, two, i, x)
                    store(memory, i_at + n, i)
                x = i
            if fires:
                word |= _advance(
                    places, rules, v_min, leak, reset, coefficients, memory, n, x
                ) << np.uint64(j)
        if spiking:
            end = note_active(_within(word, size - base), base, active, end)
    return end


@inlined
def _advance(
    places: Any, rules: Any, v_min: Any, leak: Any, reset: Any, coefficients: Any, memory: Any,
    n: int, x: Any,
) -> Any:  # fmt: skip
    """Step the membranes of the lanes from neuron n on; return which spike, as bits."""
    membrane, out, leaks, spiking = places
    one, two, three = (
        _at(leak[0], coefficients, n), _at(leak[1], coefficients, n), _at(leak[2], coefficients, n)
    )  # fmt: skip
    zero, unit = splat(memory, 0), splat(memory, 1)
    v = load(memory, membrane + n)
    if not spiking:
        v = _bounded(rules, v_min, memory, _membrane(rules, leaks, one, two, three, v, x))
        store(memory, membrane + n, v)
        store(memory, out + n, v)
        return np.uint64(0)
    timing = rules[TIMING]
    theta, v_reset = _at(reset[0], coefficients, n), _at(reset[1], coefficients, n)
    due = zero
    if timing != SAME_STEP:
        due = _spikes(rules, v, theta, zero, unit)
    if timing == BEFORE_INPUT:
        v = _reset(rules, v, due, theta, v_reset, zero)
    v = _membrane(rules, leaks, one, two, three, v, x)
    if timing == AFTER_INPUT:
        v = _reset(rules, v, due, theta, v_reset, zero)
    spikes = _spikes(rules, v, theta, zero, unit)
    if timing == SAME_STEP:
        v = _reset(rules, v, spikes, theta, v_reset, zero)
    store(memory, membrane + n, _bounded(rules, v_min, memory, v))
    if out >= 0:
        store(memory, out + n, spikes)
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
