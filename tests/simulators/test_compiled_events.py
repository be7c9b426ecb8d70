"""Machine code for what every event passes through, held to NumPy and to the decoder."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.decision import decide
from fusion.errors import InvalidInput
from fusion.events import LAST_TIME_US, EventStream
from fusion.lists import list_events, read_integers
from fusion.machine_code import use_machine_code

pytest.importorskip("numba", reason="machine code needs Numba")
from simulators import compiled_events
from simulators.compiled_loading import load_kernels


@pytest.fixture(scope="module", autouse=True)
def kernels():
    load_kernels()
    use_machine_code(compiled_events)


@contextmanager
def in_numpy():
    use_machine_code(None)
    try:
        yield
    finally:
        use_machine_code(compiled_events)


EVENTS = st.lists(
    st.tuples(st.integers(0, 12_000), st.integers(0, 129), st.floats(-2, 2, width=32)), max_size=60
)


def bits(listed):
    raster, outside = listed
    value = None if raster.value is None else raster.value.astype(np.float32).tobytes()
    return raster.shape, raster.start.tolist(), raster.channel.tolist(), value, outside


@given(
    EVENTS,
    st.booleans(),
    st.sampled_from(["count", "binary"]),
    st.sampled_from([1e-3, 0.0003, 1e-6, 0.5]),
    st.sampled_from([1, 7, 100]),
    st.integers(0, 2),
)
def test_lists_are_those_of_numpy(events, weighted, binning, dt_s, steps, extra):
    columns = [list(column) for column in zip(*sorted(events), strict=True)] or [[], [], []]
    times, channels, values = columns
    stream = EventStream.checked(times, channels, values if weighted else None, size=130)
    asked = (stream, dt_s, steps, (10, 13), binning, extra)
    scanned = bits(list_events(*asked))
    with in_numpy():
        assert bits(list_events(*asked)) == scanned


@pytest.mark.parametrize(
    ("times", "values", "dt_s", "steps"),
    [
        ([0, 0], [3e38, 3e38], 1e-3, 1),
        ([0, 0], [1, -1], 1e-3, 1),
        ([0, LAST_TIME_US], [1, 2], 1e6, 9008),
        ([0, LAST_TIME_US], [1, 2], 1e6, 9007),
        ([0, LAST_TIME_US], [1, 2], 9e9, 2),
    ],
)
def test_extremes_are_those_of_numpy(times, values, dt_s, steps):
    stream = EventStream.checked(times, [1, 1], values, size=2)
    scanned = bits(list_events(stream, dt_s, steps, (2,)))
    with in_numpy():
        assert bits(list_events(stream, dt_s, steps, (2,))) == scanned


NUMBERS = st.integers(-1, 9) | st.sampled_from(
    [LAST_TIME_US, LAST_TIME_US + 1, -(2**63), 2**63 - 1]
)


@given(
    st.lists(NUMBERS, max_size=6).map(sorted) | st.lists(NUMBERS, max_size=6),
    st.lists(NUMBERS, max_size=6),
    st.sampled_from([np.int32, np.int64]),
)
def test_events_are_found_wrong_as_numpy_finds_them(times, channels, kind):
    given = np.array(times, np.int64), np.array(channels, np.int64).astype(kind)

    def checked():
        try:
            stream = EventStream.checked(*given, size=8)
        except InvalidInput as error:
            return str(error)
        return stream.t_us.tolist(), stream.channel.tolist(), stream.channel.dtype

    found = checked()
    with in_numpy():
        assert checked() == found


def test_arrays_out_of_line_are_taken():
    raw = bytearray(1) + np.array([0, 1, 1], np.int32).tobytes()
    channels = np.frombuffer(raw, np.int32, offset=1)
    assert not channels.flags.aligned
    stream = EventStream.checked([0, 1, 2], channels, size=2)
    assert list_events(stream, 1e-3, 1, (2,))[0].channel.tolist() == [0, 1]


@given(st.lists(st.integers(0, 10**18 - 1)), st.sampled_from([",", " , ", ",\n\t\r "]))
def test_whole_numbers_are_read_without_a_python_object_each(numbers, comma):
    text = "[" + comma.join(map(str, numbers)) + "]"
    assert read_integers(memoryview(text.encode())).tolist() == numbers


@pytest.mark.parametrize(
    "value",
    [[-1], [1.5], [1e3], [10**18], [None], [True], ["1"], [[1], [2]], {"1": 2}, 12, "12", [1, {}]],
)
def test_what_is_anything_else_is_left_to_the_decoder(value):
    assert read_integers(memoryview(json.dumps(value).encode())) is None


def test_without_machine_code_everything_is_left_to_the_decoder():
    with in_numpy():
        assert read_integers(memoryview(b"[1]")) is None


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.floats(-1e3, 1e3), min_size=9, max_size=9).map(np.array),
    )
)
def test_answers_have_the_same_bits(scores):
    ours = decide(scores, 9)
    with in_numpy():
        theirs = decide(scores, 9)
    assert repr(ours) == repr(theirs)
    for name in scores:
        assert ours.by_sensor[name].tobytes() == theirs.by_sensor[name].tobytes()
    assert ours.log_posterior.tobytes() == theirs.log_posterior.tobytes()
    assert ours.posterior.tobytes() == theirs.posterior.tobytes()
