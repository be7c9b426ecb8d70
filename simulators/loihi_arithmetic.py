"""Loihi's integer arithmetic, as lava-nc 0.10.0 computes it, on int64 arrays.

Equations are those of `PyLifModelBitAcc` and `PyDenseModelBitAcc` in lava-nc 0.10.0, which its
authors hold bit-accurate with Loihi. Registers are narrower than the int64 in which everything is
computed here, so every narrowing is written out as a function of this module.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulators.loihi_connections import SignMode

Ints = NDArray[np.int64]

DECAY_UNITY = 2**12
STATE_LIMIT = 2**23
"""u lies in (−2^23, 2^23], v in (−2^23, 2^23)."""
ALIGNMENT_BITS = 6
"""Synaptic input and threshold are shifted left by 6 bits to the alignment of u and v."""


def wrapped(value: ArrayLike, bits: int) -> Ints:
    """Return the value modulo 2^bits as a signed integer of that width."""
    half = 1 << (bits - 1)
    return (np.asarray(value, np.int64) + half & (1 << bits) - 1) - half


def decayed(value: ArrayLike, factor: ArrayLike) -> Ints:
    """Return value · factor / 4096, rounded toward zero; |value| ≤ 2^31, factor 0 to 4096."""
    value = np.asarray(value, np.int64)
    result: Ints = np.sign(value) * (np.abs(value) * np.asarray(factor, np.int64) >> 12)
    return result


def shifted(value: ArrayLike, exponent: int) -> Ints:
    """Return value · 2^exponent in int64; right shifts round down (`PyDenseModelBitAcc`)."""
    value = np.asarray(value, np.int64)
    return value << exponent if exponent > 0 else value >> -exponent


def next_current(u: Ints, arriving: Ints, du: ArrayLike) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the synaptic current after a step, and where it left 24 bits.

    u' = w32(u · (4095 − du) / 4096 + w32(64 · arriving)): a du of 0 still decays, 4095 keeps
    nothing. What leaves (−2^23, 2^23] is wrapped by 2^24 once, so it may lie outside even then.
    """
    aligned = wrapped(arriving << ALIGNMENT_BITS, 32)
    new = wrapped(decayed(u, DECAY_UNITY - (np.asarray(du) + 1)) + aligned, 32)
    above, below = new > STATE_LIMIT, new <= -STATE_LIMIT
    return new - (above * 2 * STATE_LIMIT) + (below * 2 * STATE_LIMIT), above | below


def next_membrane(v: Ints, u: Ints, bias: Ints, dv: ArrayLike) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the membrane after a step, before the spike test, and where it was clipped.

    v' = clip(w32(v · (4096 − dv) / 4096 + u' + bias), ±(2^23 − 1)).
    """
    new = wrapped(decayed(v, DECAY_UNITY - np.asarray(dv)) + u + bias, 32)
    clipped = np.clip(new, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    return clipped, clipped != new


def bias_of(mantissa: ArrayLike, exponent: ArrayLike) -> Ints:
    """Return w16(mantissa) · 2^exponent, rounded down."""
    mantissa, exponent = wrapped(mantissa, 16), np.asarray(exponent, np.int64)
    up, down = mantissa << np.maximum(exponent, 0), mantissa >> np.maximum(-exponent, 0)
    return wrapped(np.where(exponent >= 0, up, down), 32)


def sign_mode_of(weights: ArrayLike) -> SignMode:
    """Return the sign mode that weights take if none is given (`determine_sign_mode`)."""
    weights = np.asarray(weights)
    if np.min(weights, initial=0) >= 0:
        return "excitatory"
    return "inhibitory" if np.max(weights, initial=0) <= 0 else "mixed"


def clipped_weights(weights: ArrayLike, mode: SignMode) -> Ints:
    """Return weights in the range of their mode (`clip_weights`).

    0 to 255 excitatory, −255 to 0 inhibitory, −256 to 255 mixed.
    """
    low, high = {"excitatory": (0, 255), "inhibitory": (-255, 0), "mixed": (-256, 255)}[mode]
    return np.clip(np.asarray(weights, np.int64), low, high)


def stored_weights(weights: ArrayLike, mode: SignMode | None, num_weight_bits: int) -> Ints:
    """Return weights as the synapses hold them: clipped, then cut to their bits.

    The lowest 8 − num_weight_bits bits, one more in mixed mode, become 0 by rounding down
    (`truncate_weights`); inhibitory weights round toward 0, because their magnitude is cut.
    """
    mode = mode or sign_mode_of(weights)
    clipped = clipped_weights(weights, mode)
    sign = -1 if mode == "inhibitory" else 1
    cut = 8 - num_weight_bits + (mode == "mixed")
    return sign * (sign * clipped >> cut << cut)
