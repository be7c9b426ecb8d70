from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.encoders.nmnist import SHAPE, decode_nmnist, read_nmnist
from fusion.errors import InvalidInput

Event = tuple[int, int, int, int]  # x, y, polarity, microseconds

EVENT = st.tuples(
    st.integers(0, 33), st.integers(0, 33), st.integers(0, 1), st.integers(0, 2**23 - 1)
)


def packed(events: list[Event]) -> bytes:
    return b"".join(
        bytes([x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF]) for x, y, p, t in events
    )


def test_fields_are_read_from_their_bits() -> None:
    stream = decode_nmnist(packed([(3, 5, 1, 0x123456)]))
    assert stream.t_us.tolist() == [0x123456]
    assert stream.channel.tolist() == [34 * 34 + 5 * 34 + 3]
    assert stream.value is None
    assert stream.size == 2 * 34 * 34


@given(st.lists(EVENT, max_size=30))
def test_every_event_is_kept_and_times_ascend(events: list[Event]) -> None:
    stream = decode_nmnist(packed(events))
    p, y, x = np.unravel_index(stream.channel, SHAPE)
    found = zip(x.tolist(), y.tolist(), p.tolist(), stream.t_us.tolist(), strict=True)
    assert list(found) == sorted(events, key=lambda event: event[3])


def test_an_empty_recording_is_an_empty_stream() -> None:
    assert len(decode_nmnist(b"")) == 0


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "7.bs2"
    path.write_bytes(packed([(1, 2, 0, 9)])[:-1])
    with pytest.raises(InvalidInput, match=r"7\.bs2: 4 bytes"):
        read_nmnist(path)


@pytest.mark.parametrize("outside", [(34, 0, 0, 9), (0, 34, 1, 9), (255, 255, 1, 9)])
def test_an_event_outside_the_sensor_is_named(tmp_path: Path, outside: Event) -> None:
    path = tmp_path / "8.bs2"
    path.write_bytes(packed([(33, 33, 1, 1), outside]))
    with pytest.raises(InvalidInput, match=r"8\.bs2: event 1: pixel"):
        read_nmnist(path)
