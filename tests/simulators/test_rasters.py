import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulators.rasters import population_difference, van_rossum

rasters = arrays(np.int64, (20, 3), elements=st.integers(0, 1))


def test_a_constant_lag_is_found():
    raster = np.zeros((30, 4), np.int64)
    raster[[3, 10, 17], [0, 1, 2]] = 1
    late = np.roll(raster, 2, axis=0)
    difference = population_difference("a", raster, late, 1e-3)
    assert (difference.mismatched, difference.lag_steps, difference.mismatched_at_lag) == (6, 2, 0)
    early = population_difference("a", late, raster, 1e-3)
    assert (early.lag_steps, early.mismatched_at_lag) == (-2, 0)


def test_a_shorter_raster_is_silent_at_its_end():
    raster = np.zeros((30, 2), np.int64)
    raster[[3, 9, 29], [0, 1, 1]] = 1
    late = np.concatenate((np.zeros((4, 2), np.int64), raster))
    difference = population_difference("a", raster, late, 1e-3)
    assert (difference.lag_steps, difference.mismatched_at_lag) == (4, 0)
    assert difference.bins == late.size


@given(rasters, rasters)
def test_differences_are_symmetric_and_vanish_for_equals(first, second):
    there, back = (population_difference("a", *pair, 1e-3)
                   for pair in ((first, second), (second, first)))  # fmt: skip
    assert there.mismatched == back.mismatched == np.count_nonzero(first != second)
    assert there.mismatched_at_lag == back.mismatched_at_lag <= there.mismatched
    assert there.cosine == pytest.approx(back.cosine)
    assert there.van_rossum == pytest.approx(back.van_rossum)
    assert population_difference("a", first, first, 1e-3).van_rossum == 0


def test_van_rossum_of_one_spike_is_that_of_the_closed_form():
    # One spike more: f - g = exp(-t/tau), so D² = 1/tau ∫ exp(-2t/tau) dt = 1/2 for dt → 0.
    raster = np.zeros((10, 1), np.int64)
    other = raster.copy()
    other[4, 0] = 1
    assert van_rossum(raster, other, 1e-6) == pytest.approx(np.sqrt(0.5), rel=1e-3)


def test_targets_without_common_spikes_have_no_common_activity():
    one, other = np.zeros((2, 10, 2), np.int64)
    one[0, 0], other[0, 1] = 1, 1
    assert population_difference("a", one, other, 1e-3).cosine == 0
    assert population_difference("a", one * 0, other * 0, 1e-3).cosine == 1
