"""What a network of Loihi's integers refuses to be."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.loihi import every_kind, one_layer, population

from fusion.errors import InvalidModel
from simulators.loihi_connections import Conv, Dense, Sparse
from simulators.loihi_network import LoihiNetwork


def conv(**given: Any) -> Conv:
    plain: dict[str, Any] = {
        "name": "c", "source": "in", "target": "lif", "weights": np.ones((2, 1, 2, 2), np.int32),
        "input_shape": (1, 4, 4),
    }  # fmt: skip
    return Conv(**plain | given)


def sparse(**given: Any) -> Sparse:
    plain: dict[str, Any] = {
        "name": "s", "source": "in", "target": "lif", "n_pre": 3, "n_post": 2,
        "pre": np.array([0, 2]), "post": np.array([1, 1]), "weights": np.array([5, 6]),
    }  # fmt: skip
    return Sparse(**plain | given)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"groups": 2}, "connections.c.groups: 2 do not fit 1 channels in"),
        ({"weights": np.ones((2, 1, 5, 2), np.int32)}, r"a kernel of \[5, 2\] does not fit"),
        ({"weights": np.ones((2, 1, 0, 0), np.int32)}, "does not fit"),
        ({"weights": np.ones((2, 1, 2), np.int32)}, "weights: has shape"),
        ({"weights": np.full((2, 1, 2, 2), 2**15)}, "weights: reaches from 32768"),
        ({"stride": (0, 1)}, "stride: is 0"),
        ({"stride": (1,)}, "stride: is"),
        ({"dilation": (1, 128)}, "dilation: is 128"),
        ({"padding": (-1, 0)}, "padding: is -1"),
        ({"num_message_bits": 24}, "num_message_bits: is 24"),
        (
            {"weights": np.full((2, 1, 2, 2), 2**14), "num_message_bits": 15},
            r"num_message_bits: 15 bits could drive a sum out of 32 bits \(try: at most 14",
        ),
    ],
)
def test_a_convolution_that_cannot_be(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidModel, match=named):
        conv(**change)


def test_as_many_message_bits_as_a_refusal_names_do_fit() -> None:
    assert conv(weights=np.full((2, 1, 2, 2), 2**14), num_message_bits=14)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pre": np.array([0, 3])}, "pre: reaches from 0 to 3"),
        ({"post": np.array([-1, 0])}, "post: reaches from -1"),
        ({"post": np.array([1])}, "post: has shape"),
        ({"pre": np.array([2, 2])}, "connects two neurons twice"),
        ({"weights": np.array([0.5, 1])}, "weights: holds float64"),
        ({"delays": np.array([0, 64])}, "delays: reaches from 0 to 64"),
        ({"num_weight_bits": 0}, "num_weight_bits: is 0"),
        ({"n_pre": 0}, "n_pre: is 0"),
    ],
)
def test_sparse_synapses_that_cannot_be(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidModel, match=named):
        sparse(**change)


def refused(network: LoihiNetwork, named: str, **change: Any) -> None:
    with pytest.raises(InvalidModel, match=named):
        replace(network, **change)


def test_ends_that_do_not_meet_are_named() -> None:
    network = one_layer([[1, 2, 3], [4, 5, 6]])
    assert replace(network, connections=(sparse(),))
    refused(network, "'in' has 3 elements", connections=(sparse(n_pre=4),))
    refused(network, "'lif' has 2 elements", connections=(sparse(n_post=3),))
    refused(network, "connections.s.target: 'in' is unknown", connections=(sparse(target="in"),))
    refused(network, "connections: 's' occurs 2 times", connections=(sparse(), sparse()))
    refused(network, "populations: 'in' occurs 2 times", populations=(population("in"),))
    refused(network, "populations: is empty", populations=())
    refused(network, "dt_s: is 0", dt_s=0)


def test_a_connection_of_no_synapses_is_one() -> None:
    none = np.zeros(0, np.int32)
    empty = sparse(pre=none, post=none, weights=none)
    assert replace(one_layer([[1, 2, 3], [4, 5, 6]]), connections=(empty,))


def test_arrays_are_kept_as_read_only_int32() -> None:
    for one in every_kind().connections:
        assert one.weights.dtype == np.int32
        assert not one.weights.flags.writeable
    assert population(shape=(3,), bias_mant=7).bias_mant.tolist() == [7, 7, 7]


def test_a_caller_s_array_is_copied() -> None:
    weights = np.ones((1, 1), np.int32)
    network = Dense(name="w", source="a", target="b", weights=weights)
    weights[0, 0] = 9
    assert network.weights[0, 0] == 1
