from dataclasses import replace

import pytest

from backends.compare import TargetRun, compare_runs
from backends.energy import EnergyReport
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.model import bare_model
from snn_fusion.testing_networks import NETWORKS

CONTRACT = make_contract("nir", 1e-3)


def run_on(network, inputs, contract=CONTRACT, target="numpy", name="numpy", label=None):
    program = Registry().backend(target).compile(bare_model(network.graph), contract)
    energy = EnergyReport(None, "not asked for")
    return TargetRun(name, contract, program, program.run(inputs, record=["all"]), energy, label)


@pytest.fixture
def recurrent():
    network = NETWORKS["recurrent"]()
    return network, network.inputs(1, 80)


def test_a_target_is_identical_to_itself(recurrent):
    network, inputs = recurrent
    (pair,) = compare_runs(network.graph, [run_on(network, inputs, name=n) for n in "ab"], inputs)
    assert (pair.targets, pair.verdict, pair.divergence) == (("a", "b"), "identical", None)
    (cuba,) = pair.populations
    assert cuba.spikes[0] == cuba.spikes[1] > 0
    assert (cuba.mismatched, cuba.cosine, cuba.van_rossum) == (0, 1.0, 0.0)


def test_other_contracts_are_never_identical(recurrent):
    network, inputs = recurrent
    same_spikes = replace(CONTRACT, delay_rounding="round")
    runs = [run_on(network, inputs), run_on(network, inputs, same_spikes, name="other")]
    (pair,) = compare_runs(network.graph, runs, inputs)
    assert pair.contract_differences == {"delay_rounding": ("refuse", "round")}
    assert pair.verdict == "equivalent"


def test_the_first_divergence_is_explained_by_the_tested_potentials(recurrent):
    network, inputs = recurrent
    other = replace(CONTRACT, integrator="exponential")
    runs = [run_on(network, inputs), run_on(network, inputs, other, name="other")]
    (pair,) = compare_runs(network.graph, runs, inputs)
    found = pair.divergence
    assert found is not None
    first, second = (run.raster("cuba") for run in runs)
    assert (first[: found.step] == second[: found.step]).all()
    assert found.spikes == (first[found.step, found.neuron], second[found.step, found.neuron])
    assert found.spikes[0] != found.spikes[1]
    # Whoever spiked tested a potential above the threshold, whoever did not one at or below it.
    for spikes, v, margin in zip(found.spikes, found.v, found.margin, strict=True):
        assert (v > found.threshold) == bool(spikes)
        assert margin == v - found.threshold
    assert pair.verdict == "different"


def test_every_pair_is_compared(recurrent):
    network, inputs = recurrent
    runs = [run_on(network, inputs, name=name) for name in "abc"]
    pairs = compare_runs(network.graph, runs, inputs)
    assert [pair.targets for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_decisions_that_disagree_make_targets_different(recurrent):
    network, inputs = recurrent
    runs = [run_on(network, inputs, name=name, label=name) for name in "ab"]
    (pair,) = compare_runs(network.graph, runs, inputs)
    assert (pair.decisions_agree, pair.verdict) == (False, "different")
