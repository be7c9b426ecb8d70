"""One step of a population of neurons, in Numba: every choice of the contract, lane by lane.

The choices are the same for all neurons, so their branches cost next to nothing beside the vectors.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import (
    clear_padding,
    compiled,
    inlined,
    note_active,
    what_it_holds,
    within,
)
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
    DECAYS,
    DIRECT,
    FACTOR,
    FIRES,
    KEEPS,
    LEAK_1,
    LEAK_2,
    LEAK_3,
    LEAKS,
    LIST,
    LOOP,
    MEMBRANE,
    ONES,
    OUT,
    PLAIN,
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
    Loop,
    X,
)
from simulators.compiled_vectors import bits, floor, lanes, load, select, splat, store

_LIF, _CUBA = int(Loop.LIF), int(Loop.CUBA)


@inlined
def _held(op: Any, column: int, coefficients: Any) -> Any:
    """Return a coefficient as `_at` takes it: the first lanes, and where those of others lie."""
    at = op[column]
    return load(coefficients, at), at, op[column + 1]


@inlined
def _at(held: Any, shared: int, coefficients: Any, n: int) -> Any:
    """Return the coefficients of the lanes from neuron n on."""
    return held[0] if shared else load(coefficients, held[1] + n * held[2])


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


@inlined
def neuron(
    op: Any, rules: Any, v_min: Any, coefficients: Any, memory: Any, list_at: Any, count: Any,
    holds: Any, active: Any, value: Any, counters: Any,
) -> None:  # fmt: skip
    """Move the synaptic current on, then the membrane; list and count the spikes."""
    if op[LOOP] == _LIF:
        end = _step(op, PLAIN, (1, 0, 0, 0, 1, 1, -1, DECAYS), v_min, coefficients, memory,
                    list_at, active)  # fmt: skip
    elif op[LOOP] == _CUBA:
        end = _step(op, PLAIN, (1, 1, 1, 0, 1, 1, -1, DECAYS), v_min, coefficients, memory,
                    list_at, active)  # fmt: skip
    else:
        chosen = rules[0], rules[1], rules[2], rules[3], rules[4], rules[5], rules[6]
        kind = (
            *(0, int(op[CURRENT] >= 0), op[TAKES], op[DIRECT], op[FIRES]),
            *(op[SPIKING], op[OUT], op[LEAKS]),
        )
        end = _step(op, chosen, kind, v_min, coefficients, memory, list_at, active)
    if op[OUT] >= 0:
        clear_padding(memory, op[OUT], op[SIZE])
    if op[SPIKING]:
        _note_spikes(op, rules, memory, end, list_at, count, holds, active, value, counters)


@inlined
def _step(
    op: Any, rules: Any, kind: Any, v_min: Any, coefficients: Any, memory: Any, list_at: Any,
    active: Any,
) -> Any:  # fmt: skip
    """Step all neurons; list what spikes, and return where the list ends.

    `rules` are the contract's choices. `kind` is whether all neurons share their coefficients, then
    has current, TAKES, DIRECT, FIRES, SPIKING, OUT and LEAKS. What of these is constant costs
    nothing.
    """
    size, x_at, i_at, clears = op[SIZE], op[X], op[CURRENT], op[CLEARS]
    shared, has_current, takes, direct, fires, spiking, out, leaks = kind
    synapse = _held(op, SYNAPSE_1, coefficients), _held(op, SYNAPSE_2, coefficients)
    leak = (
        _held(op, LEAK_1, coefficients),
        _held(op, LEAK_2, coefficients),
        _held(op, LEAK_3, coefficients),
    )
    reset = _held(op, THETA, coefficients), _held(op, V_RESET, coefficients)
    places = op[MEMBRANE], out, leaks, spiking, shared
    end = list_at[op[LIST]]
    zero = splat(memory, 0)
    for base in range(0, size, WORD):
        word = np.uint64(0)
        for j in range(0, WORD, lanes(memory)):
            n = base + j
            x = load(memory, x_at + n)
            if clears:
                store(memory, x_at + n, zero)
            if has_current:
                i = load(memory, i_at + n)
                if takes:
                    one = _at(synapse[0], shared, coefficients, n)
                    two = _at(synapse[1], shared, coefficients, n)
                    i = _current(rules, direct, one, two, i, x)
                    store(memory, i_at + n, i)
                x = i
            if fires:
                word |= _advance(
                    places, rules, v_min, leak, reset, coefficients, memory, n, x
                ) << np.uint64(j)
        if spiking:
            end = note_active(within(word, size - base), base, active, end)
    return end


@inlined
def _advance(
    places: Any, rules: Any, v_min: Any, leak: Any, reset: Any, coefficients: Any, memory: Any,
    n: int, x: Any,
) -> Any:  # fmt: skip
    """Step the membranes of the lanes from neuron n on; return which spike, as bits."""
    membrane, out, leaks, spiking, shared = places
    one = _at(leak[0], shared, coefficients, n)
    two = _at(leak[1], shared, coefficients, n)
    three = _at(leak[2], shared, coefficients, n)
    zero, unit = splat(memory, 0), splat(memory, 1)
    v = load(memory, membrane + n)
    if not spiking:
        v = _bounded(rules, v_min, memory, _membrane(rules, leaks, one, two, three, v, x))
        store(memory, membrane + n, v)
        store(memory, out + n, v)
        return np.uint64(0)
    timing = rules[TIMING]
    theta = _at(reset[0], shared, coefficients, n)
    v_reset = _at(reset[1], shared, coefficients, n)
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
        end = note_active(within(word, op[SIZE] - base), base, active, end)
    clear_padding(memory, op[OUT], op[SIZE])
    count[target] = end - list_at[target]
    holds[target] = ONES
    counters[op[COUNTER]] += count[target]
