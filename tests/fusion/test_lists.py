"""Events as lists of what is active in each step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.events import LAST_TIME_US, EventStream, bin_events
from fusion.lists import list_events, list_nothing
from fusion.sparse_raster import one_lasting, stacked

EVENTS = st.lists(
    st.tuples(st.integers(0, 12_000), st.integers(0, 129), st.floats(-2, 2, width=32)), max_size=60
)


def stream(events, weighted):
    columns = [list(column) for column in zip(*sorted(events), strict=True)] or [[], [], []]
    times, channels, values = columns
    return EventStream.checked(times, channels, values if weighted else None, size=130)


@given(
    EVENTS,
    st.booleans(),
    st.sampled_from(["count", "binary"]),
    st.sampled_from([1e-3, 0.0003, 1e-6, 0.5]),
    st.sampled_from([1, 7, 100]),
    st.integers(0, 2),
)
def test_lists_hold_what_the_binned_raster_holds(events, weighted, binning, dt_s, steps, extra):
    given_events = stream(events, weighted)
    raster, outside = bin_events(given_events, dt_s, steps, binning)
    made, late = list_events(given_events, dt_s, steps, (10, 13), binning, extra)
    assert late == outside
    dense = np.asarray(made)
    assert dense.shape == (1, steps + extra, 10, 13)
    assert not dense[:, steps:].any()
    np.testing.assert_array_equal(dense[0, :steps].reshape(steps, 130), raster)
    assert made.value is None or (made.value != 0).all()


def test_opposite_weights_leave_nothing_and_large_ones_become_infinite():
    for values, held in (([1, -1], None), ([3e38, 3e38], [np.inf])):
        events = EventStream.checked([5, 6], [1, 1], values, size=2)
        made, _ = list_events(events, 1e-3, 1, (2,))
        assert made.channel.tolist() == ([] if held is None else [1])
        assert held is None or made.value.tolist() == held


@pytest.mark.parametrize(("dt_s", "steps"), [(1e6, 9008), (1e6, 9007), (9e9, 2), (9e9, 1)])
def test_the_latest_time_and_the_longest_steps_do_not_overflow(dt_s, steps):
    events = EventStream.checked([0, LAST_TIME_US], [0, 1], size=2)
    made, outside = list_events(events, dt_s, steps, (2,))
    bin_of_last = LAST_TIME_US * 1000 // round(dt_s * 1e9)
    assert outside == (bin_of_last >= steps)
    if not outside:
        assert np.flatnonzero(np.diff(made.start)).tolist() == sorted({0, bin_of_last})


def test_rasters_of_several_samples_stand_behind_one_another():
    samples = [
        list_events(EventStream.checked([0, 1000], [1, 0], [2.0, 1.0], size=2), 1e-3, 3, (2,))[0],
        list_nothing(3, (2,)),
        list_events(EventStream.checked([2000], [1], size=2), 1e-3, 3, (2,))[0],
    ]
    for chosen in (samples, samples[1:], samples[1:2]):
        whole = stacked(chosen)
        assert whole.shape == (len(chosen), 3, 2)
        np.testing.assert_array_equal(whole, np.concatenate([np.asarray(one) for one in chosen]))
    assert stacked(samples[1:]).value is None


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_sample_is_cut_or_followed_by_silence(steps):
    events = EventStream.checked([0, 1000, 2000], [1, 0, 1], [2.0, 1.0, 1.0], size=2)
    sample = list_events(events, 1e-3, 3, (2,))[0]
    dense = np.zeros((1, steps, 2))
    kept = min(3, steps)
    dense[:, :kept] = np.asarray(sample)[:, :kept]
    np.testing.assert_array_equal(one_lasting(sample, steps), dense)
