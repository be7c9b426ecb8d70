from dataclasses import replace
from itertools import combinations

import pytest

from backends.base import Program
from backends.compare import TargetRun, compare_runs, first_differences, places_to_test
from backends.energy import EnergyReport
from backends.potentials import potential_at
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.model import bare_model
from simulators.plan import make_plan
from snn_fusion.testing_networks import NETWORKS

CONTRACT = make_contract("nir", 1e-3)
Ran = tuple[TargetRun, Program]


@pytest.fixture
def recurrent():
    network = NETWORKS["recurrent"]()
    return network, network.inputs(1, 80)


def run_on(network, inputs, contract=CONTRACT, name="numpy", label=None) -> Ran:
    program = Registry().backend("numpy").compile(bare_model(network.graph), contract)
    result = program.run(inputs, record=["all"])
    run = TargetRun(
        target=name,
        contract=contract,
        label=label,
        recorded={"cuba": result.recorded["cuba.spikes"][0]},
        spikes={node: int(count[0]) for node, count in result.counts.spikes.items()},
        synaptic_events=int(result.counts.synaptic_events[0]),
        steps=result.steps,
        run_s=result.wall_s,
        energy=EnergyReport(None, "not asked for"),
    )
    return run, program


def pairs_of(network, inputs, *ran: Ran):
    runs, programs = [run for run, _ in ran], {run.target: program for run, program in ran}
    differences = first_differences(runs)
    tested = {}
    for run in runs:
        plan = make_plan(network.graph, run.contract)
        tested[run.target] = {
            place: potential_at(place, programs[run.target], plan, run.contract, inputs)
            for place in places_to_test(differences).get(run.target, ())
        }
    return compare_runs(runs, differences, tested)


def test_a_target_is_identical_to_itself(recurrent):
    (pair,) = pairs_of(*recurrent, *(run_on(*recurrent, name=name) for name in "ab"))
    assert (pair.targets, pair.verdict, pair.divergence) == (("a", "b"), "identical", None)
    (cuba,) = pair.populations
    assert cuba.spikes[0] == cuba.spikes[1] > 0
    assert (cuba.mismatched, cuba.cosine, cuba.van_rossum) == (0, 1.0, 0.0)


def test_other_contracts_are_never_identical(recurrent):
    same_spikes = replace(CONTRACT, delay_rounding="round")
    ran = run_on(*recurrent), run_on(*recurrent, same_spikes, name="other")
    (pair,) = pairs_of(*recurrent, *ran)
    assert pair.contract_differences == {"delay_rounding": ("refuse", "round")}
    assert pair.verdict == "equivalent"


def test_the_first_divergence_is_explained_by_the_tested_potentials(recurrent):
    other = replace(CONTRACT, integrator="exponential")
    ran = run_on(*recurrent), run_on(*recurrent, other, name="other")
    (pair,) = pairs_of(*recurrent, *ran)
    found = pair.divergence
    assert found is not None
    first, second = (run.raster("cuba") for run, _ in ran)
    assert (first[: found.step] == second[: found.step]).all()
    assert found.spikes == (first[found.step, found.neuron], second[found.step, found.neuron])
    assert found.spikes[0] != found.spikes[1]
    # Whoever spiked tested a potential above the threshold, whoever did not one at or below it.
    for spikes, v, margin in zip(found.spikes, found.v, found.margin, strict=True):
        assert (v > found.threshold) == bool(spikes)
        assert margin == v - found.threshold
    assert pair.verdict == "different"


def test_every_pair_is_compared(recurrent):
    pairs = pairs_of(*recurrent, *(run_on(*recurrent, name=name) for name in "abc"))
    assert [pair.targets for pair in pairs] == list(combinations("abc", 2))


def test_decisions_that_disagree_make_targets_different(recurrent):
    ran = (run_on(*recurrent, name=name, label=name) for name in "ab")
    (pair,) = pairs_of(*recurrent, *ran)
    assert (pair.decisions_agree, pair.verdict) == (False, "different")
