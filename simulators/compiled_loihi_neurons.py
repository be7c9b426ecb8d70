"""One step of a population of Loihi's neurons in Numba, lane by lane.

Equations are those of `simulators.loihi_arithmetic`. Lanes are int32, which wrap by themselves as
Lava's do.
"""

from typing import Any

import numpy as np

from simulators.compiled_kernels import inlined, note_active
from simulators.compiled_layout import WORD
from simulators.compiled_vectors import bits, count_bits, lanes, load, select, splat, store

INPUT_REACHED, CURRENT_LEFT, MEMBRANE_CLIPPED, SPIKED = range(4)
"""Columns of the counters of a population: what left its range, then spikes."""

KEEP_U, KEEP_V, BIAS, THRESHOLD = range(4)
"""Rows of the parameters of neurons: 4095 − du, 4096 − dv, the bias, vth aligned with v."""

PARAMETERS = 4

_ALIGNMENT_BITS = 6
_STATE_LIMIT = 2**23
_INPUT_LIMIT = 2**15


@inlined
def step_neurons(
    first: int, size: int, keeps: int, u: Any, v: Any, arriving: Any, parameters: Any, width: int,
    active: Any, at: int, counters: Any,
) -> Any:  # fmt: skip
    """Step the neurons from `first` on: u, v, spikes; leave zeros where their input was.

    Args:
        first: first neuron, at the beginning of a word.
        size: neurons.
        keeps: whether any of them keeps current from the step before.
        u: int32, the currents of all neurons; v, their membranes, and arriving, their input,
            likewise; all places up to the end of a word are stepped.
        parameters: int32 [PARAMETERS, width].
        width: places of neurons.
        active: int32, where the neurons that spike are listed, from `at` on.
        counters: int64 [4], added to.

    Returns:
        Where the list ends.
    """
    zero, end = splat(u, 0), at
    for base in range(0, size, WORD):
        word = np.uint64(0)
        for j in range(0, WORD, lanes(u)):
            n = first + base + j
            a = load(arriving, n)
            store(arriving, n, zero)
            i = a << splat(u, _ALIGNMENT_BITS)
            if keeps:
                i = i + _decayed(u, load(u, n), load(parameters, KEEP_U * width + n))
            i, left = _turned(u, i)
            store(u, n, i)
            keep = load(parameters, KEEP_V * width + n)
            raised = _decayed(v, load(v, n), keep) + i + load(parameters, BIAS * width + n)
            kept, clipped = _clipped(v, raised)
            spikes = kept > load(parameters, THRESHOLD * width + n)
            store(v, n, select(spikes, zero, kept))
            word |= bits(spikes) << np.uint64(j)
            reached = _reached(arriving, a)
            if bits(reached | left | clipped):
                counters[INPUT_REACHED] += count_bits(bits(reached))
                counters[CURRENT_LEFT] += count_bits(bits(left))
                counters[MEMBRANE_CLIPPED] += count_bits(bits(clipped))
        end = note_active(word, base, active, end)
    counters[SPIKED] += end - at
    return end


@inlined
def _decayed(of: Any, value: Any, keep: Any) -> Any:
    """Return value · keep / 4096, toward zero, in 32 bits.

    value = 4096·high + low with low ≥ 0, and high · keep is whole, so only low · keep is cut: down,
    or up where the value is negative.
    """
    cut, most = splat(of, 12), splat(of, 4095)
    low = (value & most) * keep
    low = select(value < splat(of, 0), low + most, low)
    return (value >> cut) * keep + (low >> cut)


@inlined
def _turned(of: Any, u: Any) -> Any:
    """Return u, wrapped once where it left its range, and where it did."""
    turn, limit = splat(of, 2 * _STATE_LIMIT), splat(of, _STATE_LIMIT)
    above, below = u > limit, u <= splat(of, -_STATE_LIMIT)
    return select(above, u - turn, select(below, u + turn, u)), above | below


@inlined
def _clipped(of: Any, v: Any) -> Any:
    """Return v in its range, and where it was not."""
    low, high = splat(of, 1 - _STATE_LIMIT), splat(of, _STATE_LIMIT - 1)
    kept = select(v < low, low, select(v > high, high, v))
    return kept, kept != v


@inlined
def _reached(of: Any, arriving: Any) -> Any:
    """Return where the input might wrap in a chip's register."""
    return (arriving >= splat(of, _INPUT_LIMIT)) | (arriving <= splat(of, -_INPUT_LIMIT))
