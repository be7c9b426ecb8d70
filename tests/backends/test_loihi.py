"""What the Loihi targets share: the integers in a model and what of them a chip cannot hold."""

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from support.loihi import every_kind, model_of, one_layer, population
from support.quantising import NETWORKS

from backends.base import Violation
from backends.errors import ModelRejected
from backends.loihi import SUPPORTED, check_loihi, integers_of
from backends.registry import Registry
from fusion.contract import ExecutionContract, make_contract
from fusion.errors import InvalidModel
from fusion.model import bare_model
from simulators.loihi_connections import Conv
from simulators.loihi_file import save
from simulators.loihi_network import LoihiNetwork

EMULATOR = Registry().targets["loihi-emulator"]


def loihi(**changes: Any) -> ExecutionContract:
    return make_contract("loihi", 1e-3, changes)


def found(
    network: LoihiNetwork, contract: ExecutionContract | None = None, **limits: Any
) -> list[Violation]:
    capabilities = replace(EMULATOR.capabilities, **limits)
    return check_loihi(model_of(network), contract or loihi(), capabilities)


def test_the_integers_come_out_of_the_model() -> None:
    network = integers_of(model_of(every_kind()))
    assert network is not None
    assert save(network) == save(every_kind())
    assert found(every_kind()) == []


def test_a_model_that_was_not_quantised_is_refused_with_the_command_that_does_it() -> None:
    graph = NETWORKS["recurrent"]()
    assert integers_of(bare_model(graph)) is None
    (violation,) = check_loihi(bare_model(graph), loihi(), EMULATOR.capabilities)
    command = "snn-fusion quantise MODEL --target loihi-emulator --calibrate SENSOR=FILE --out"
    assert command in str(violation)
    with pytest.raises(ModelRejected, match="snn-fusion quantise"):
        Registry().backend("loihi-emulator").compile(bare_model(graph), loihi())


def test_what_else_stands_in_the_way_of_integers_is_told_with_it() -> None:
    graph = nir.NIRGraph.from_list(nir.Input(np.array([2])), nir.Output(np.array([2])))
    found = check_loihi(bare_model(graph), loihi(), EMULATOR.capabilities)
    assert [one.limit for one in found] == ["what an Output reads", "model"]


def test_only_the_chip_s_choices_are_offered() -> None:
    contract = make_contract("snntorch", 1e-3)
    fields = {one.node for one in found(one_layer([[1]]), contract)}
    assert fields == {
        "contract.reset", "contract.reset_timing", "contract.feedforward_delay_steps",
        "contract.arithmetic",
    }  # fmt: skip
    assert found(one_layer([[1]]), loihi(v_min=0.0))[0].node == "contract.v_min"
    assert found(one_layer([[1]]), loihi(binning="binary", time_unit="steps")) == []
    assert SUPPORTED["arithmetic"] == ("loihi_fixed",)


def test_integers_hold_for_one_time_step_only() -> None:
    (violation,) = found(one_layer([[1]]), make_contract("loihi", 2e-3))
    assert (violation.node, violation.used, violation.nearest_feasible) == (
        "contract.dt_s", "0.002", "0.001"
    )  # fmt: skip


def test_integers_of_another_graph_are_refused() -> None:
    model = model_of(one_layer([[1, 2]]))
    other = model_of(one_layer([[1, 2, 3]]))
    with pytest.raises(InvalidModel, match=r"loihi.npz.inputs.in: has shape \[2\], but \[3\]"):
        integers_of(replace(model, graph=other.graph))
    nodes = model.graph.nodes
    named = nir.NIRGraph({**nodes, "more": nodes["in"]}, [], type_check=False)
    with pytest.raises(InvalidModel, match=r"inputs\.more: is missing in loihi\.npz"):
        integers_of(replace(model, graph=named))
    fewer = nir.NIRGraph({"in": nodes["in"]}, [], type_check=False)
    with pytest.raises(InvalidModel, match=r"outputs\.out: is missing in graph\.nir"):
        integers_of(replace(model, graph=fewer))


@pytest.mark.parametrize(
    ("lif", "expected"),
    [
        ({"bias_mant": 4096}, ("bias_mant", "4096", "4095")),
        ({"bias_mant": -4097}, ("bias_mant", "-4097", "-4096")),
        ({"bias_mant": 1, "bias_exp": 8}, ("bias_exp", "8", "7")),
        ({"bias_mant": 1, "bias_exp": -2}, ("bias_exp", "-2", "0")),
    ],
)
def test_biases_wider_than_the_chip_s_are_named(
    lif: dict[str, int], expected: tuple[str, str, str]
) -> None:
    (violation,) = found(one_layer([[1]], lif=lif))
    assert violation.node == "lif"
    assert (violation.limit, violation.used, violation.nearest_feasible) == expected


@pytest.mark.parametrize(
    ("weights", "bits"),
    [([255, 1], 8), ([-255, -1], 8), ([510, 2], 8), ([256, 1], 9), ([127, -128], 8),
     ([128, -1], 9), ([254, -256], 8), ([0, 0], 0), ([255 << 7, 1 << 7], 8), ([-256, -1], 9)],
)  # fmt: skip
def test_a_convolution_may_need_as_many_bits_as_a_weight_has(weights: list[int], bits: int) -> None:
    conv = Conv(
        name="c", source="in", target="lif", input_shape=(1, 1, 2),
        weights=np.array([[[weights]]], np.int32),
    )  # fmt: skip
    network = replace(one_layer([[1, 1]]), connections=(conv,))
    assert found(network, weight_bits=bits) == []
    if bits:
        (violation,) = found(network, weight_bits=bits - 1)
        assert (violation.node, violation.used) == ("c", str(bits))


def test_neurons_synapses_and_cores_have_limits() -> None:
    network = one_layer(np.ones((6, 4), int), sign_mode="excitatory")
    assert found(network, max_neurons=6, max_synapses=24) == []
    assert [str(one) for one in found(network, max_neurons=5, max_synapses=23)] == [
        "lif: neurons is 6, allowed 5, nearest feasible 5",
        "w: synapses is 24, allowed 23, nearest feasible 23",
    ]
    assert [one.limit for one in found(network, cores=2, neurons_per_core=2)] == [
        "cores of all populations"
    ]
    assert [one.limit for one in found(network, fan_in_per_core=3)] == ["fan-in of a neuron"]


def test_a_network_larger_than_the_chip_is_refused_with_the_cores_it_would_take() -> None:
    large = replace(one_layer([[1]]), populations=(population(), population("big", (1024 * 128,))))
    (violation,) = found(large)
    assert (violation.node, violation.used, violation.allowed) == ("big", "129", "128")


def test_the_fit_report_says_how_many_cores() -> None:
    backend = Registry().backend("loihi-emulator")
    assert backend.cores(model_of(every_kind()), loihi()) == 1
    graph = nir.NIRGraph.from_list(nir.Input(np.array([2])), nir.Output(np.array([2])))
    assert backend.cores(bare_model(graph), loihi()) is None
