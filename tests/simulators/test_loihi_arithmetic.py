"""Loihi's integer arithmetic against the same equations on Python's own integers, one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.loihi_arithmetic import (
    bias_of,
    clipped_weights,
    decayed,
    next_current,
    next_membrane,
    shifted,
    sign_mode_of,
    stored_weights,
    wrapped,
)
from simulators.loihi_connections import SIGN_MODES, SignMode

int32 = st.integers(-(2**31), 2**31 - 1)
decay = st.integers(0, 4095)
weight = st.lists(st.integers(-400, 400), min_size=1, max_size=8)


def wrap(value: int, bits: int) -> int:
    value %= 2**bits
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def toward_zero(value: int, factor: int) -> int:
    magnitude = abs(value) * factor // 4096
    return -magnitude if value < 0 else magnitude


def only(value: np.ndarray) -> int:
    return int(value.reshape(()))


@given(st.integers(-(2**62), 2**62 - 1), st.sampled_from([16, 24, 32]))
def test_wrapping_is_twos_complement(value: int, bits: int) -> None:
    assert only(wrapped(value, bits)) == wrap(value, bits)


@given(int32, st.integers(0, 4096))
def test_decay_rounds_toward_zero(value: int, factor: int) -> None:
    assert only(decayed(value, factor)) == toward_zero(value, factor)


@given(st.integers(-(2**45), 2**45), st.integers(-8, 7))
def test_shifts_to_the_right_round_down(value: int, exponent: int) -> None:
    assert only(shifted(value, exponent)) == int(np.floor(value * 2.0**exponent))


@given(int32, int32, decay)
def test_the_current_decays_takes_its_input_and_wraps_once(u: int, a: int, du: int) -> None:
    new, left = next_current(np.array(u), np.array(a), du)
    before = wrap(toward_zero(u, 4095 - du) + wrap(a * 64, 32), 32)
    expected = before
    if before > 2**23:
        expected -= 2**24
    elif before <= -(2**23):
        expected += 2**24
    assert only(new) == expected
    assert bool(left) == (expected != before)


def test_a_du_of_0_still_decays_and_4095_keeps_nothing() -> None:
    assert only(next_current(np.array(4096), np.array(0), 0)[0]) == 4095
    assert only(next_current(np.array(4096), np.array(3), 4095)[0]) == 3 * 64
    assert only(next_membrane(np.array(4096), np.array(0), np.array(0), 0)[0]) == 4096


def test_a_current_far_beyond_its_register_wraps_only_once() -> None:
    far = 3 * 2**23 // 64
    assert only(next_current(np.array(0), np.array(far), 4095)[0]) == 2**23
    assert only(next_current(np.array(0), np.array(2 * far), 4095)[0]) == 4 * 2**23


@pytest.mark.parametrize(
    ("arriving", "current", "left"),
    [(2**17, 2**23, False), (2**17 + 1, -(2**23) + 64, True), (-(2**17), 2**23, True),
     (-(2**17) + 1, -(2**23) + 64, False)],
)  # fmt: skip
def test_the_edges_of_24_bits(arriving: int, current: int, left: bool) -> None:
    new, was_left = next_current(np.array(0), np.array(arriving), 4095)
    assert (only(new), bool(was_left)) == (current, left)


@given(int32, int32, int32, decay)
def test_the_membrane_is_clipped_to_24_bits(v: int, u: int, bias: int, dv: int) -> None:
    new, clipped = next_membrane(np.array(v), np.array(u), np.array(bias), dv)
    before = wrap(toward_zero(v, 4096 - dv) + u + bias, 32)
    expected = max(-(2**23) + 1, min(2**23 - 1, before))
    assert only(new) == expected
    assert bool(clipped) == (expected != before)


@given(int32, st.integers(-15, 15))
def test_a_bias_is_16_bits_times_a_power_of_two(mantissa: int, exponent: int) -> None:
    assert only(bias_of(mantissa, exponent)) == int(np.floor(wrap(mantissa, 16) * 2.0**exponent))


def test_the_golden_example_of_mixed_weights() -> None:
    """Lava's `clip_weights` and `truncate_weights` (lava-nc 0.10.0) give these."""
    given_weights = [1, -1, 7, -7, 300, -300]
    assert stored_weights(given_weights, "mixed", 8).tolist() == [0, -2, 6, -8, 254, -256]


@given(weight, st.sampled_from(SIGN_MODES), st.integers(1, 8))
def test_weights_are_clipped_and_then_lose_their_low_bits(
    weights: list[int], mode: SignMode, bits: int
) -> None:
    low, high = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}[mode]
    step = 2 ** (8 - bits + (mode == "mixed"))
    for one, clipped, stored in zip(
        weights, clipped_weights(weights, mode), stored_weights(weights, mode, bits), strict=True
    ):
        assert clipped == min(max(one, low), high)
        assert stored % step == 0
        # Magnitudes are cut where there is no sign bit; else the bits are cut, that is downwards.
        assert 0 <= abs(clipped) - abs(stored) < step if mode != "mixed" else (
            0 <= clipped - stored < step
        )  # fmt: skip


@given(weight)
def test_without_a_mode_the_weights_decide(weights: list[int]) -> None:
    mode = sign_mode_of(np.array(weights))
    assert mode == (
        "excitatory" if min(weights) >= 0 else "inhibitory" if max(weights) <= 0 else "mixed"
    )
    assert stored_weights(weights, None, 8).tolist() == stored_weights(weights, mode, 8).tolist()


def test_weights_of_nothing_but_zeros_are_excitatory() -> None:
    assert sign_mode_of(np.zeros((2, 2))) == "excitatory"
    assert sign_mode_of(np.zeros(0)) == "excitatory"
