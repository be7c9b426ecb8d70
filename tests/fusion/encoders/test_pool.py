import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.encoders.pool import Pool
from fusion.errors import InvalidInput
from fusion.events import EventStream, bin_events

POOL = Pool(shape=(2, 34, 34), factor=2)


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 2311)), max_size=60))
def test_pooling_events_equals_summing_squares_of_the_raster(events: list[tuple[int, int]]) -> None:
    events.sort()
    t_us = np.array([t for t, _ in events], np.int64)
    channel = np.array([c for _, c in events], np.int32)
    stream = EventStream(t_us, channel, None, 2312)
    fine, _ = bin_events(stream, 0.01, 10)
    coarse, _ = bin_events(POOL.encode(stream), 0.01, 10)
    squares = fine.reshape(10, 2, 17, 2, 17, 2).sum(axis=(3, 5))
    np.testing.assert_array_equal(coarse.reshape(10, 2, 17, 17), squares)


def test_values_pass_unchanged() -> None:
    value = np.array([2.5, 0.5], np.float32)
    stream = EventStream(np.array([1, 2]), np.array([0, 2311], np.int32), value, 2312)
    pooled = POOL.encode(stream)
    assert pooled.value is value
    assert pooled.channel.tolist() == [0, 577]
    assert pooled.size == POOL.size == 578


@pytest.mark.parametrize("factor", [0, -2, 3, 5])
def test_squares_that_do_not_fill_the_sensor_are_refused(factor: int) -> None:
    with pytest.raises(InvalidInput, match="does not divide"):
        Pool(shape=(2, 34, 34), factor=factor)


def test_a_shape_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="positive"):
        Pool(shape=(2, 0, 34), factor=1)


def test_a_stream_of_another_sensor_is_refused() -> None:
    with pytest.raises(InvalidInput, match="578"):
        POOL.encode(EventStream.empty(578))
