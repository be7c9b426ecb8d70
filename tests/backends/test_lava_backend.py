"""The targets of Lava: floats, refusals, children, and what is said where Lava is missing."""

import gc
import sys
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from support.lava import installed
from support.loihi import every_kind, model_of

from backends.errors import InvalidTarget, ModelRejected, RunFailed, TargetUnavailable
from backends.lava_backend import LavaBackend
from backends.lava_environment import VARIABLE
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.model import bare_model
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine
from snn_fusion.testing_networks import NETWORKS

TARGET, LOIHI = (Registry().targets[name] for name in ("lava-float", "loihi-lava"))
FLOAT = make_contract("lava-float", 1e-3)
INTEGERS = make_contract("loihi", 1e-3)


@pytest.fixture
def backend():
    installed()
    backend = LavaBackend(TARGET)
    yield backend
    backend.close()


def floats(name="feed_forward"):
    return bare_model(NETWORKS[name]().graph)


def spikes_of(result):
    return {key: values for key, values in result.recorded.items() if key.endswith(".spikes")}


@pytest.mark.parametrize(
    "name", ["recurrent", pytest.param("convolutional", marks=pytest.mark.full)]
)
def test_floats_give_the_references_spikes_and_its_membranes_but_for_rounding(backend, name):
    network = NETWORKS[name]()
    inputs = network.inputs(2, 60)
    expected = ReferenceEngine(make_plan(network.graph, FLOAT)).run(inputs, record=["all"])
    found = backend.compile(bare_model(network.graph), FLOAT).run(inputs, record=["all"])
    assert set(found.recorded) == set(expected.recorded)
    for key, values in spikes_of(expected).items():
        assert values.any()
        np.testing.assert_array_equal(found.recorded[key], values)
        assert found.recorded[key].dtype == values.dtype
    for key, values in expected.recorded.items():
        np.testing.assert_allclose(found.recorded[key], values, rtol=0, atol=1e-12, err_msg=key)
    assert {k: v.tolist() for k, v in found.counts.spikes.items()} == {
        k: v.tolist() for k, v in expected.counts.spikes.items()
    }


def test_a_run_in_parts_equals_the_whole(backend):
    network = NETWORKS["recurrent"]()
    inputs = network.inputs(2, 60)
    program = backend.compile(bare_model(network.graph), FLOAT)
    found = program.run(inputs)
    first = program.run({name: x[:, :23] for name, x in inputs.items()})
    second = program.run({name: x[:, 23:] for name, x in inputs.items()}, first.state)
    for name, values in found.outputs.items():
        parts = np.concatenate((first.outputs[name], second.outputs[name]), axis=1)
        np.testing.assert_array_equal(parts, values)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two_sensors", ["integrator: steps from joint is 0", "a Linear or Affine in between"]),
        ("delays_and_thresholds", ["threshold_1: input is cubali's membrane, allowed spikes"]),
    ],
)
def test_what_lavas_floats_cannot_do_is_said_without_lava(name, said):
    violations = LavaBackend(TARGET).check(floats(name), FLOAT)
    assert all(any(part in str(one) for one in violations) for part in said)


def test_a_readout_behind_weights_is_refused():
    graph = NETWORKS["feed_forward"]().graph
    graph.edges.remove(("li", "output"))
    graph.nodes["more"] = nir.Linear(np.eye(3))
    graph.edges += [("li", "more"), ("more", "output")]
    (violation,) = LavaBackend(TARGET).check(bare_model(graph), FLOAT)
    assert str(violation) == "output: source is more, allowed one population, as it is"


def test_other_contracts_and_models_without_integers_are_refused():
    backend = LavaBackend(TARGET)
    nirs = make_contract("nir", 1e-3)
    fields = {one.node for one in backend.check(floats(), nirs)}
    assert fields == {"contract.arithmetic_form", "contract.feedforward_delay_steps"}
    loihi = LavaBackend(LOIHI)
    assert "not quantised" in str(loihi.check(floats(), INTEGERS)[0])
    assert loihi.check(model_of(every_kind()), replace(INTEGERS, dt_s=every_kind().dt_s)) == []


def test_a_model_that_does_not_fit_is_rejected(backend):
    with pytest.raises(ModelRejected):
        backend.compile(floats(), INTEGERS)


def test_no_more_children_stay_than_the_target_says(backend):
    backend = LavaBackend(replace(TARGET, options={"max_children": 1}))
    x = {"input": np.ones((1, 5, 6))}
    one, two = (backend.compile(floats(), FLOAT) for _ in range(2))
    assert one._host.pid is None
    first = two.run(x, record=["all"])
    again = one.run(x, record=["all"])  # in a fresh child
    assert two._host.pid is None
    for key, values in first.recorded.items():
        np.testing.assert_array_equal(again.recorded[key], values)
    backend.close()
    assert one._host.pid is None


def test_a_closed_program_does_not_run_and_a_dropped_ones_child_ends(backend):
    program = backend.compile(floats(), FLOAT)
    program.close()
    program.close()
    with pytest.raises(RunFailed, match="closed"):
        program.run({"input": np.ones((1, 5, 6))})
    program = backend.compile(floats(), FLOAT)
    pid = program._host.pid
    del program
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_the_environment_is_found_by_option_variable_or_place(monkeypatch):
    python = installed()
    monkeypatch.setenv(VARIABLE, "/no/such/python")
    LavaBackend(replace(TARGET, options={"python": python})).available()
    with pytest.raises(TargetUnavailable, match="/no/such/python cannot run Lava") as caught:
        LavaBackend(TARGET).available()
    assert "make lava" in caught.value.hint
    monkeypatch.setenv(VARIABLE, python)
    LavaBackend(TARGET).available()


def test_an_environment_without_lava_is_unavailable_and_says_what_it_lacks():
    backend = LavaBackend(replace(TARGET, options={"python": sys.executable}))
    with pytest.raises(TargetUnavailable, match="it lacks lava"):
        backend.available()
    with pytest.raises(TargetUnavailable):
        backend.compile(floats(), FLOAT)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"pyhton": "x"}, "pyhton"), ({"python": 3}, "python"), ({"max_children": 0}, "max_children"),
     ({"max_children": True}, "max_children")],
)  # fmt: skip
def test_wrong_options_are_named(options, name):
    with pytest.raises(InvalidTarget, match=f"options.{name}"):
        LavaBackend(replace(TARGET, options=options))
