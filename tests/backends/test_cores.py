"""Neurons packed onto cores, by hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from backends.base import Capabilities
from backends.checks import check_plan
from backends.cores import Wires, place
from backends.registry import Registry
from fusion.contract import make_contract
from simulators.reference import SUPPORTED
from snn_fusion.testing_networks import NETWORKS

PLAIN = Capabilities(node_types=(), arithmetic=(), deterministic=True, stateful=True, hardware=True)


def all_to_all(source: str, target: str, n_pre: int, n_post: int) -> Wires:
    post, pre = np.indices((n_post, n_pre), np.int64).reshape(2, -1)
    return Wires(source, target, pre, post)


LAYERS = {"a": 10, "b": 4}
WIRES = [all_to_all("in", "a", 5, 10), all_to_all("a", "b", 10, 4)]


def placed(**limits: Any) -> tuple[int, list[str]]:
    placement = place(LAYERS, WIRES, replace(PLAIN, **limits))
    assert placement is not None
    return placement.cores, [str(violation) for violation in placement.violations]


def test_a_target_without_limits_on_cores_has_no_placement() -> None:
    assert place(LAYERS, WIRES, PLAIN) is None
    assert place(LAYERS, WIRES, replace(PLAIN, cores=1)) is None


def test_neurons_fill_one_core_after_the_other() -> None:
    assert placed(neurons_per_core=14) == (1, [])
    assert placed(neurons_per_core=7) == (2, [])
    assert placed(neurons_per_core=6) == (3, [])


def test_too_few_cores_are_a_violation_that_says_how_many_it_takes() -> None:
    assert placed(neurons_per_core=6, cores=2) == (
        3, ["a: cores of all populations is 3, allowed 2, nearest feasible 2"]
    )  # fmt: skip


def test_synapses_fill_a_core_too() -> None:
    assert placed(synapses_per_core=90) == (1, [])
    assert placed(synapses_per_core=50) == (2, [])  # 10 · 5, then 4 · 10
    assert placed(synapses_per_core=44) == (3, [])  # 8 · 5, then 2 · 5 + 3 · 10, then 10


def test_input_axons_are_shared_by_the_neurons_of_a_core() -> None:
    assert placed(fan_in_per_core=15) == (1, [])
    assert placed(fan_in_per_core=10) == (2, [])  # `a` needs 5 lines, `b` the 10 of `a`


def test_a_neuron_that_no_core_holds_is_named_with_its_fan_in() -> None:
    assert placed(fan_in_per_core=9)[1] == [
        "b: fan-in of a neuron is 10, allowed 9, nearest feasible 9"
    ]
    assert placed(synapses_per_core=9)[1] == [
        "b: synapses of a neuron is 10, allowed 9, nearest feasible 9"
    ]


def test_output_axons_count_the_cores_that_a_neuron_sends_to() -> None:
    # Two cores of 7: seven of `a` send to the second core, and the other three stay on it.
    assert placed(neurons_per_core=7, fan_out_per_core=7) == (2, [])
    assert placed(neurons_per_core=7, fan_out_per_core=6)[1] == [
        "a: output axons of a core is 7, allowed 6, nearest feasible 6"
    ]


def test_inputs_from_outside_take_no_output_axons() -> None:
    only_input = place({"a": 10}, WIRES[:1], replace(PLAIN, fan_out_per_core=0))
    assert only_input is not None
    assert only_input.violations == ()


def test_two_connections_from_one_source_share_their_axons() -> None:
    twice = [all_to_all("in", "a", 5, 10), all_to_all("in", "a", 5, 10)]
    placement = place({"a": 10}, twice, replace(PLAIN, fan_in_per_core=5))
    assert placement is not None
    assert (placement.cores, placement.violations) == (1, ())


def test_a_plan_is_placed_too() -> None:
    graph = NETWORKS["feed_forward"]().graph
    capabilities = Registry().targets["numpy"].capabilities
    contract = make_contract("nir", 1e-3)

    def found(**limits: int) -> set[str]:
        limited = replace(capabilities, **limits)
        return {one.limit for one in check_plan(graph, contract, limited, SUPPORTED)}

    assert found(neurons_per_core=24, cores=1) == set()
    assert found(neurons_per_core=23, cores=1) == {"cores of all populations"}
    assert found(fan_in_per_core=11) == {"fan-in of a neuron"}
