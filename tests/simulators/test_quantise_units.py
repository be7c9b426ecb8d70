"""A folded population in units of its thresholds follows the reference, before any rounding."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from support.quantising import NETWORKS, planned, poisson
from support.random_graphs import cases
from support.small_graphs import filled, graph

from simulators.calibration import activities
from simulators.folding import fold
from simulators.plan import Plan, make_plan
from simulators.quantise_units import follow, in_units, threshold_of
from simulators.reference import ReferenceEngine

LOIHI_LIKE = {
    "reset": "to_v_reset", "reset_timing": "same_step", "spike_condition": ">",
    "spikes_per_step": "one", "membrane_reads": "new_current", "synapse_order": "decay_then_add",
    "v_min": None, "recurrent_delay_steps": 1, "arithmetic": "float64", "exact": True,
}  # fmt: skip


def assert_followed(plan: Plan, samples: list) -> int:
    """Compare every population's membrane with the reference; return how many there were."""
    folding = fold(plan)
    assert not folding.violations
    (known,) = activities(plan, samples)
    exact = replace(plan, contract=replace(plan.contract, arithmetic="float64"))
    recorded = ReferenceEngine(exact).run(known.inputs, record=["all"]).recorded
    populations = {node.name for node in folding.populations}
    analog = {node.name for node in folding.populations if not node.spikes}
    by_step = known.by_step() | {
        name: recorded[f"{name}.v"].reshape(*recorded[f"{name}.v"].shape[:2], -1).swapaxes(0, 1)
        for name in analog
    }
    for node in folding.populations:
        drive = folding.drives[node.name]
        if max(drive.biases, default=0) > 0:
            populations.discard(node.name)  # a constant that starts late is approximate
            continue
        units = in_units(node, drive)
        x = np.stack([now[2] for now in follow(units, by_step)])
        if units.spikes:
            x = np.where(by_step[node.name] > 0, 0.0, x)
        reset = node.operation.spiking.v_reset if node.spikes else 0.0
        v = recorded[f"{node.name}.v"].reshape(len(samples), -1, node.size).swapaxes(0, 1)
        np.testing.assert_allclose(x * units.threshold + reset, v, rtol=1e-6, atol=1e-8)
    return len(populations)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_folded_follows_the_reference(name):
    network = NETWORKS[name]()
    samples = poisson(network)
    for choices in ({}, {"integrator": "exponential"}, {"input_gain": "unit"},
                    {"input_gain": "direct"}, {"initial_v": "v_leak"},
                    {"recurrent_delay_at": "after_weights"}):  # fmt: skip
        assert assert_followed(planned(network, **choices), samples)


def test_random_graphs_follow_the_reference():
    followed = 0
    for case in cases(40, 1):
        plan = make_plan(case.graph, replace(case.contract, **LOIHI_LIKE))
        folding = fold(plan)
        if folding.violations or any(
            np.any(threshold_of(node.operation) <= 0) for node in folding.populations
        ):
            continue
        samples = [{key: values[0] for key, values in case.inputs.items()}]
        followed += assert_followed(plan, samples)
    assert followed > 20


def test_paths_of_the_same_delay_become_one_matrix():
    nodes = {
        "in": nir.Input(np.array([2])),
        "early": nir.Delay(np.array([0.0, 2e-3])),
        "w": nir.Linear(np.array([[1.0, 10.0]])),
        "v": nir.Linear(np.array([[-1.0, 5.0]])),
        "half": nir.Scale(np.array([0.5])),
        "a": filled("LIF", tau=1e-2, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0),
        "out": nir.Output(np.array([1])),
    }
    network = graph(nodes, "in -> early -> w -> half -> a -> out", "in -> v -> a")
    drive = fold(planned(network)).drives["a"]
    found = {tap: matrix.toarray().tolist() for tap, matrix in drive.taps.items()}
    assert found == {("in", 1): [[-0.5, 5.0]], ("in", 3): [[0.0, 5.0]]}
