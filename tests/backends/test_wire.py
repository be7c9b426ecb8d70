"""What crosses between a service and its child process, and what must not."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.equality import differences
from support.random_graphs import cases

from backends.simulated import from_tree, to_tree
from backends.wire import BrokenWire, Wire
from simulators.reference import ReferenceEngine

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.none()
)
ARRAYS = hnp.arrays(
    st.sampled_from(["?", "<i4", ">i8", "<u2", "<f4", ">f8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
KEYS = st.text(max_size=5).filter(lambda key: key != "~array")
TREES = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=20), ARRAYS),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.dictionaries(KEYS, parts, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours), theirs


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        assert one == other


@given(TREES)
def test_trees_arrive_as_they_were_sent(tree: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Wire(ours).send(tree)
        Wire(ours).send("next")
        wire = Wire(theirs)
        assert_same(wire.receive(), tree)
        assert wire.receive() == "next"


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_a_broken_wire(garbage: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack(">I", len(garbage)) + garbage)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenWire):
            Wire(ours).receive()


@pytest.mark.parametrize(
    "arrays",
    [[["|O", [1]]], [["<f8", [-1]]], [["<f8", ["a"]]], [["nonsense", [1]]], [[["<f8"]]], 5,
     [["<f8", [1 << 50]]], [["<U4", [2]]], [["<f8", [1], 3]]],
)  # fmt: skip
def test_a_message_of_impossible_arrays_is_a_broken_wire(
    ends: tuple[Wire, socket.socket], arrays: Any
) -> None:
    wire, theirs = ends
    header = msgspec.msgpack.encode({"tree": None, "arrays": arrays})
    theirs.sendall(struct.pack(">I", len(header)) + header)
    with pytest.raises(BrokenWire):
        wire.receive(time.monotonic() + 60)


def test_a_reference_to_an_array_that_does_not_exist_is_a_broken_wire(
    ends: tuple[Wire, socket.socket],
) -> None:
    wire, theirs = ends
    for number in (1, -1, "one", [0]):
        message = {"tree": [{"~array": number}], "arrays": [["<f8", [0]]]}
        header = msgspec.msgpack.encode(message)
        theirs.sendall(struct.pack(">I", len(header)) + header)
        with pytest.raises(BrokenWire):
            wire.receive(time.monotonic() + 60)


@pytest.mark.parametrize("tree", [np.array([None]), {"a": [np.array(["text"])]}, object(), 1j])
def test_what_is_no_number_and_no_plain_value_is_not_sent(
    ends: tuple[Wire, socket.socket], tree: Any
) -> None:
    wire, theirs = ends
    with pytest.raises(TypeError):
        wire.send(tree)
    wire.send("nothing of it was sent")
    assert Wire(theirs).receive() == "nothing of it was sent"


def test_waiting_ends_when_the_time_is_up_or_the_other_side_has_gone() -> None:
    ours, theirs = socket.socketpair()
    alive = threading.Event()
    alive.set()
    with ours, theirs:
        wire = Wire(ours, alive.is_set)
        with pytest.raises(TimeoutError):
            wire.receive(time.monotonic() + 0.05)
        with pytest.raises(TimeoutError):
            wire.send(np.zeros(10_000_000), time.monotonic() + 0.05)
        alive.clear()
        # Its connection is still open, as a child of its own would hold it.
        with pytest.raises(BrokenWire, match="has ended"):
            wire.receive(time.monotonic() + 60)
    with pytest.raises(BrokenWire):
        wire.send("anyone?")


def test_plans_and_traces_become_trees_and_back() -> None:
    for case in cases(3, 500):
        plan, again = case.plan, from_tree(to_tree(case.plan))
        assert again.contract == plan.contract
        assert [node.name for node in again.nodes] == [node.name for node in plan.nodes]
        trace = ReferenceEngine(plan).run(case.inputs, record=["all"])
        assert not differences(ReferenceEngine(again).run(case.inputs, record=["all"]), trace)
        assert not differences(from_tree(to_tree(trace)), trace)
