from dataclasses import replace

import nir
import numpy as np
import pytest
from support.models import small_graph

from backends.base import Capabilities
from backends.checks import check_plan
from backends.errors import ModelRejected
from backends.numpy_backend import NumpyBackend
from backends.registry import Registry
from fusion.contract import CHOICES, make_contract
from fusion.model import bare_model

EVERYTHING = Registry().targets["numpy"].capabilities
CONTRACT = make_contract("nir", 1e-3)
SUPPORTED = {**CHOICES, "spikes_per_step": ("one",)}


def check(capabilities: Capabilities = EVERYTHING, contract=CONTRACT, graph=None):
    return check_plan(graph or small_graph(), contract, capabilities, SUPPORTED)


def test_a_model_that_fits_has_no_violation():
    assert check() == []


def test_every_violation_is_listed_at_once():
    poor = replace(EVERYTHING, node_types=("Input", "Output", "Linear", "Flatten", "Affine", "LI"),
                   arithmetic=("float32",))  # fmt: skip
    found = check(poor)
    assert {violation.node for violation in found} == {"cam_lif", "skin_lif", "contract.arithmetic"}
    arithmetic = next(v for v in found if v.node == "contract.arithmetic")
    assert (arithmetic.used, arithmetic.nearest_feasible) == ("float64", "float32")


def test_choices_that_the_engine_lacks_are_violations():
    contract = make_contract("nir", 1e-3, {"spikes_per_step": "floor"})
    (violation,) = check(contract=contract)
    assert (violation.node, violation.allowed) == ("contract.spikes_per_step", "one")


def test_sizes_are_counted():
    # Two LIF layers of 12, two LI layers of 3; 12 x 4 + 12 x 3 + 2 x 3 x 12 synapses.
    found = check(replace(EVERYTHING, max_neurons=29, max_synapses=155))
    assert [(v.limit, v.used, v.allowed) for v in found] == [
        ("neurons", "30", "29"), ("synapses", "156", "155"),
    ]  # fmt: skip
    assert check(replace(EVERYTHING, max_neurons=30, max_synapses=156)) == []


def test_a_rejected_model_is_not_compiled():
    target = Registry().targets["numpy"]
    poor = replace(target, capabilities=replace(EVERYTHING, max_neurons=1))
    with pytest.raises(ModelRejected, match="neurons is 30, allowed 1"):
        NumpyBackend(poor).compile(bare_model(small_graph()), CONTRACT)


def test_the_numpy_program_reports_what_it_did():
    program = NumpyBackend(Registry().targets["numpy"]).compile(bare_model(small_graph()), CONTRACT)
    batch = {"cam": np.ones((2, 7, 2, 2)), "skin": np.zeros((2, 7, 3))}
    result = program.run(batch, record=["cam_lif"])
    assert result.steps == 7
    assert result.energy is None
    assert result.outputs["cam_out"].shape == (2, 7, 3)
    spikes = result.recorded["cam_lif.spikes"]
    assert spikes.dtype == np.int32
    assert spikes.sum(axis=(1, 2)).tolist() == result.counts.spikes["cam_lif"].tolist()
    assert result.counts.spikes["cam_lif"][0] > 0
    assert result.counts.neuron_updates == 7 * 30
    # Every step the camera's 4 lines reach 12 neurons each; every spike reaches 3 readouts.
    expected = 7 * 4 * 12 + 3 * result.counts.spikes["cam_lif"]
    assert result.counts.synaptic_events.tolist() == expected.tolist()


def test_a_foreign_node_type_is_a_violation_of_its_node():
    class Foreign(nir.Linear):
        pass

    graph = small_graph()
    inner = nir.NIRGraph({"odd": Foreign(np.ones((1, 1)))}, [], type_check=False)
    graph.nodes["nest"] = inner
    (violation,) = check(graph=graph)
    assert (violation.node, violation.used) == ("nest.odd", "Foreign")
