import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidInput
from fusion.events import EventStream, bin_events


def stream(t_us, channel, value=None, size=4):
    return EventStream.checked(t_us, channel, value, size=size)


def test_events_fall_into_half_open_bins():
    raster, outside = bin_events(stream([0, 999, 1000, 2999, 3000], [0, 0, 1, 2, 3]), 1e-3, 3)
    assert raster.tolist() == [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert outside == 1


def test_values_are_summed_and_binary_ignores_them():
    events = stream([0, 1, 1000], [0, 0, 1], [0.5, 2, -1])
    assert bin_events(events, 1e-3, 2)[0].tolist() == [[2.5, 0, 0, 0], [0, -1, 0, 0]]
    assert bin_events(events, 1e-3, 2, "binary")[0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_bin_edges_do_not_suffer_from_rounding():
    # 0.3 ms is not a binary fraction: 3 * 0.0003 * 1e6 is 899.9999999999999.
    raster, _ = bin_events(stream([299, 300, 899, 900], [0, 1, 2, 3]), 0.0003, 4)
    assert np.argwhere(raster).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3)), max_size=50))
def test_binning_keeps_every_event(events):
    events.sort()
    raster, outside = bin_events(stream([t for t, _ in events], [c for _, c in events]), 1e-3, 500)
    assert raster.sum() + outside == len(events)


@given(
    st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 3)), max_size=30),
    st.integers(0, 30),
)
def test_chunking_a_stream_changes_nothing(events, cut):
    events.sort()

    def binned(part):
        return bin_events(stream([t for t, _ in part], [c for _, c in part]), 1e-3, 101)[0]

    np.testing.assert_array_equal(binned(events), binned(events[:cut]) + binned(events[cut:]))


@pytest.mark.parametrize(
    ("times", "channels", "values", "field", "says"),
    [
        ([5, 3], [0, 0], None, "events.times_us[1]", "3 comes after 5"),
        ([-1, 3], [0, 0], None, "events.times_us[0]", "-1 is negative"),
        ([1, 2**53 + 1], [0, 0], None, "events.times_us[1]", "beyond 2**53"),
        ([2**63], [0], None, "events.times_us[0]", "does not fit 64-bit integers"),
        ([1, 2**63], [0, 0], None, "events.times_us", "64-bit integers"),
        ([1, 2**70], [0, 0], None, "events.times_us", "64-bit integers"),
        ([1.5], [0], None, "events.times_us", "64-bit integers, got float64"),
        ([True], [0], None, "events.times_us", "got bool"),
        (["a"], [0], None, "events.times_us", "64-bit integers"),
        ([[1]], [0], None, "events.times_us", "flat list"),
        ([[1], [1, 2]], [0], None, "events.times_us", "not a flat list"),
        ([1], [4], None, "events.channels[0]", "4 is out of range (try: 0 to 3)"),
        ([1], [-1], None, "events.channels[0]", "-1 is out of range"),
        ([1, 2], [0], None, "events", "times_us has 2 entries but channels has 1"),
        ([1], [0], [1, 2], "events", "times_us has 1 entries but values has 2"),
        ([1], [0], [np.nan], "events.values[0]", "nan is not a finite"),
        ([1], [0], [1e39], "events.values[0]", "1e+39 is not a finite 32-bit"),
    ],
)
def test_bad_events_are_named(times, channels, values, field, says):
    with pytest.raises(InvalidInput) as caught:
        stream(times, channels, values)
    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize("dt_s", [0, -1e-3, 1.5e-9, 1e-12])
def test_a_time_step_is_whole_nanoseconds(dt_s):
    with pytest.raises(InvalidInput, match="nanoseconds"):
        bin_events(EventStream.empty(1), dt_s, 1)
