from dataclasses import replace

import pytest
from support.models import small_graph

from backends.base import Speed
from backends.fit import fit_report
from backends.numpy_backend import NumpyBackend
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.model import bare_model

CONTRACT = make_contract("nir", 1e-3)


@pytest.fixture
def target():
    return Registry().targets["numpy"]


def test_sizes_are_reported_without_running_anything(target):
    report = fit_report(NumpyBackend(target), bare_model(small_graph()), CONTRACT, steps=100)
    assert report.fits
    # Two LIF layers of 12 and two LI of 3; 12 x 4 + 12 x 3 + 2 x 3 x 12 weights.
    assert (report.neurons, report.synapses) == (30, 156)
    assert [one.neurons for one in report.populations if one.kind == "LIF"] == [12, 12]
    assert report.memory_bytes == 156 * 16 + 30 * 8 * 10


def test_half_the_number_format_takes_half_the_numbers(target):
    single = make_contract("nir", 1e-3, {"arithmetic": "float32"})
    report = fit_report(NumpyBackend(target), bare_model(small_graph()), single, steps=100)
    assert report.memory_bytes == 156 * 12 + 30 * 4 * 10


def test_every_violation_is_reported_at_once(target):
    poor = replace(
        target.capabilities, node_types=("Input", "Output"), arithmetic=("float32",), max_neurons=5
    )
    backend = NumpyBackend(replace(target, capabilities=poor))
    report = fit_report(backend, bare_model(small_graph()), CONTRACT, steps=1)
    assert not report.fits
    assert {violation.limit for violation in report.violations} == {
        "node type", "choice", "neurons",
    }  # fmt: skip


def test_the_estimate_grows_with_steps_and_is_absent_without_figures(target):
    def estimate(speed, steps):
        backend = NumpyBackend(replace(target, speed=speed))
        return fit_report(backend, bare_model(small_graph()), CONTRACT, steps).run_s

    speed = Speed(s_per_run=1, us_per_node_step=100, ns_per_neuron_update=1e5)
    # 14 nodes at 0.1 ms and 30 neurons at 0.1 ms: 4.4 ms a step.
    assert estimate(speed, 10) == pytest.approx(1 + 10 * 4.4e-3)
    assert estimate(None, 10) is None
