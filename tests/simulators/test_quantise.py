"""From graphs to Loihi's integers, against the float reference."""

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.quantising import NETWORKS, planned, poisson, quantised
from support.small_graphs import chain, filled, graph

from fusion.errors import InvalidInput
from simulators.calibration import activities, agreement, overall
from simulators.folding import fold
from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Dense, Sparse
from simulators.quantise import HEADROOM, quantise
from simulators.quantise_report import loss_report
from simulators.reference import ReferenceEngine
from simulators.violation import Unrepresentable


@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_agree_with_floats_on_input_never_seen_as_well_as_predicted(name):
    network = NETWORKS[name]()
    made, known = quantised(network, poisson(network, samples=24))
    predicted = overall(agreement(made.network, known))
    others = activities(planned(network), poisson(network, samples=24, seed=1))
    measured = overall(agreement(made.network, others))
    assert measured.float_spikes > 500
    assert measured.share > 0.9
    assert abs(predicted.share - measured.share) < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_every_register_has_its_headroom_and_none_left_its_range(name):
    network = NETWORKS[name]()
    samples = poisson(network)
    made, _ = quantised(network, samples)
    inputs = {key: np.stack([one[key] for one in samples]) for key in samples[0]}
    assert LoihiEngine(made.network).run(inputs).overflows == {}
    for one in made.populations:
        for peak, limit in zip(one.peaks.values(), [2**21, 2**23, 2**23], strict=True):
            assert np.all(peak * one.factors * HEADROOM <= limit * (1 + 1e-9))


def spikes_of(network, samples, **choices):
    """Return population → spikes in floats and in integers."""
    made, known = quantised(network, samples, **choices)
    found = {}
    for activity in known:
        recorded = LoihiEngine(made.network).run(activity.inputs, record=["all"]).recorded
        for name, exact in activity.spikes.items():
            spikes = recorded[f"{name}.spikes"].reshape(exact.shape)
            found.setdefault(name, []).append((exact, spikes))
    return found


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_what_is_exact_in_integers_gives_the_floats_spikes(seed):
    """Perfect integrators, dyadic weights and thresholds: nothing has to be rounded."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(-100, 101, (6, 5)), rng.integers(-100, 101, (4, 6))
    loop = rng.integers(-20, 21, (6, 6))
    power = 2.0 ** rng.integers(-6, 3)

    def integrators(size):
        reset = rng.integers(-4, 5, size) * power
        gain = np.full(size, 2.0 ** rng.integers(-2, 3) * 1000)
        return nir.IF(r=gain, v_threshold=reset + 256 * power, v_reset=reset)

    nodes = {
        "in": nir.Input(np.array([5])),
        "w": nir.Affine(whole[0] * power, rng.integers(-3, 4, 6) * power),
        "a": integrators(6),
        "loop": nir.Linear(loop * power),
        "late": nir.Delay(rng.integers(0, 4, 6) * 1e-3),
        "v": nir.Linear(whole[1] * power),
        "b": integrators(4),
        "out": nir.Output(np.array([4])),
    }
    network = graph(nodes, "in -> w -> a -> late -> v -> b -> out", "a -> loop -> a")
    found = spikes_of(network, poisson(network, samples=2, steps=60, seed=seed))
    for pairs in found.values():
        for exact, made in pairs:
            np.testing.assert_array_equal(made, exact)


def test_a_leak_of_a_half_is_exact_while_the_bits_last():
    network = chain(
        nir.Linear(np.array([[3.0]])),
        filled("LIF", tau=2e-3, r=2.0, v_leak=0.0, v_threshold=4.0, v_reset=0.0),
    )
    rng = np.random.default_rng(0)
    samples = [{"in": rng.integers(0, 2, (12, 1))} for _ in range(50)]
    for exact, made in spikes_of(network, samples)["n1"]:
        assert exact.any()
        np.testing.assert_array_equal(made, exact)


def test_a_constant_passes_the_synaptic_filter_as_in_floats():
    """At rest the current is 1.2 of the threshold; the first spike tells how fast it rose."""
    for tau_syn in (2e-3, 10e-3, 40e-3):
        network = chain(
            nir.Affine(np.array([[0.5]]), np.array([1.2])),
            filled("CubaLIF", tau_syn=tau_syn, tau_mem=10e-3, r=1.0, v_leak=0.0, w_in=1.0,
                   v_threshold=1.0, v_reset=0.0),
        )  # fmt: skip
        silence = [{"in": np.zeros((200, 1), np.int64)}]
        ((exact, made),) = spikes_of(network, silence)["n1"]
        assert exact.any()
        assert np.argmax(exact) == np.argmax(made)
        assert abs(int(exact.sum()) - int(made.sum())) <= 1


def test_resets_and_starts_other_than_zero_are_shifted():
    neurons = filled("LIF", size=3, tau=8e-3, r=1.0, v_leak=0.7, v_threshold=1.0, v_reset=-0.5)
    network = chain(nir.Linear(np.eye(3)), neurons, size=3)
    samples = poisson(network, samples=3, steps=100, rate=0.6)
    for initial_v in ("zero", "v_reset", "v_leak"):
        for exact, made in spikes_of(network, samples, initial_v=initial_v)["n1"]:
            assert exact.sum() > 30
            assert np.minimum(exact, made).sum() * 2 > 0.97 * (exact.sum() + made.sum())


@pytest.mark.parametrize("kind", ["I", "LI", "CubaLI"])
def test_the_membrane_of_a_readout_is_read_in_the_models_units(kind):
    params = {
        "I": {"r": 30.0},
        "LI": {"tau": 0.02, "r": 2.0, "v_leak": 0.3},
        "CubaLI": {"tau_syn": 4e-3, "tau_mem": 0.02, "r": 2.0, "v_leak": 0.3, "w_in": 1.5},
    }[kind]
    weights = np.random.default_rng(0).normal(0, 1, (4, 6))
    nodes = {"w": nir.Affine(weights, np.linspace(-0.2, 0.2, 4)), "li": filled(kind, 4, **params)}
    ends = {"in": nir.Input(np.array([6])), "out": nir.Output(np.array([4])),
            "scaled": nir.Output(np.array([4])), "s": nir.Scale(np.full(4, -2.0))}  # fmt: skip
    network = graph(nodes | ends, "in -> w -> li -> out", "li -> s -> scaled")
    samples = poisson(network, samples=1, steps=60)
    made, _ = quantised(network, samples)
    inputs = {"in": samples[0]["in"][None]}
    outputs = LoihiEngine(made.network).run(inputs).outputs
    exact = floats(network, inputs)
    reach = np.abs(exact["out"]).max()
    assert np.abs(outputs["out"] - exact["out"]).max() < 0.01 * reach
    np.testing.assert_allclose(outputs["scaled"], -2 * outputs["out"])


def floats(network, inputs):
    return ReferenceEngine(planned(network, arithmetic="float64")).run(inputs).outputs


def test_alike_neurons_stay_alike_and_sparse_synapses_stay_sparse():
    neurons = filled("LIF", size=16, tau=8e-3, r=1.0, v_leak=0.0, v_threshold=0.5, v_reset=0.0)
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (16, 30)) * (rng.random((16, 30)) < 0.1)
    dense = rng.normal(0, 1, (16, 30))
    for matrix, kind in ((weights, Sparse), (dense, Dense)):
        network = chain(nir.Linear(matrix), neurons, size=30, out=16)
        made, _ = quantised(network, poisson(network))
        (population,) = made.network.populations
        assert len({*population.vth.tolist()}) == len({*population.du.tolist()}) == 1
        assert {type(one) for one in made.network.connections} == {kind}
        modes = {one.sign_mode for one in made.network.connections}
        assert modes == {"excitatory", "inhibitory"}


def test_events_that_count_as_one_need_no_payload():
    network = NETWORKS["delayed"]()
    ones = [{key: np.minimum(v, 1) for key, v in one.items()} for one in poisson(network)]
    for binning, limit in (("binary", 1), ("count", 2**16 - 1)):
        made, _ = quantised(network, ones, binning=binning)
        assert made.network.payload_limit("ear") == limit


def test_input_that_is_no_number_of_spikes_is_refused():
    network = chain(nir.Linear(np.ones((2, 3))), lif_of(2), size=3, out=2)
    for value in (0.5, -1.0):
        made, known = quantised(network, [{"in": np.full((5, 3), value)}])
        with pytest.raises(InvalidInput, match="a whole number of spikes from 0 to 65535"):
            agreement(made.network, known)


def test_neurons_that_a_constant_alone_drives_need_no_connection():
    network = chain(nir.Affine(np.zeros((2, 3)), np.array([0.4, 0.0])), lif_of(2), size=3, out=2)
    made, known = quantised(network, [{"in": np.zeros((50, 3))}, {"in": np.ones((9, 3))}])
    assert made.network.connections == ()
    (found,) = agreement(made.network, known)
    assert found.float_spikes == found.loihi_spikes == found.matched > 0


def test_input_that_no_threshold_can_follow_is_refused():
    network = chain(
        nir.Linear(np.array([[1e6]])),
        filled("LIF", tau=1e-3, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0),
    )
    plan = planned(network)
    known = activities(plan, [{"in": np.full((3, 1), 2)}])
    with pytest.raises(Unrepresentable) as caught:
        quantise(plan, fold(plan), known)
    (found,) = caught.value.violations
    assert (found.node, found.used) == ("n1", "2e+06")
    allowed = float(found.allowed.removeprefix("about "))
    network.nodes["n0"] = nir.Linear(np.array([[0.99 * allowed / 2]]))
    plan = planned(network)
    quantise(plan, fold(plan), activities(plan, [{"in": np.full((3, 1), 2)}]))


def test_the_report_tells_what_was_lost():
    network = NETWORKS["recurrent"]()
    made, known = quantised(network, poisson(network))
    predicted = agreement(made.network, known)
    plan = planned(network)
    report = loss_report(made, plan, fold(plan), predicted, predicted[:1])
    a, b, readout = report.populations
    assert (a.node, b.node, readout.node) == ("a", "b", "li")
    assert a.predicted == a.measured == predicted[0].share
    assert (b.measured, readout.predicted, readout.v_threshold) == (None, None, None)
    assert report.predicted == overall(predicted).share
    assert report.measured == predicted[0].share
    assert (a.neurons, a.kinds) == (20, 20)
    assert (readout.kinds, readout.tau_syn) == (1, None)
    assert readout.tau_mem.rms == pytest.approx(abs(205 / 4096 / 0.05 - 1))
    assert a.tau_syn.largest < 0.005
    assert a.threshold.largest < 1e-12
    assert 0 < a.bias < 1e-4
    for one in report.populations:
        assert min(one.headroom.arriving, one.headroom.u, one.headroom.v) >= HEADROOM * 0.999
    by_ends = {(one.source, one.target): one for one in report.connections}
    assert by_ends.keys() == {("in", "a"), ("a", "a"), ("a", "b"), ("b", "li")}
    for one in report.connections:
        assert 0 < one.weights.rms < 0.02
        assert one.weights.largest < 0.01
        assert (one.saturated, one.steps) == (0, 1)
    assert by_ends["in", "a"].synapses == 240
    assert report.notes == ()


def test_constants_that_arrive_late_are_told():
    nodes = {
        "in": nir.Input(np.array([2])),
        "w": nir.Affine(np.eye(2), np.ones(2)),
        "late": nir.Delay(np.array([0.0, 0.004])),
        "a": filled("LIF", size=2, tau=8e-3, r=1.0, v_leak=0.0, v_threshold=0.5, v_reset=0.0),
        "out": nir.Output(np.array([2])),
    }
    network = graph(nodes, "in -> w -> late -> a -> out")
    made, known = quantised(network, poisson(network))
    plan = planned(network)
    report = loss_report(made, plan, fold(plan), agreement(made.network, known), ())
    (note,) = report.notes
    assert note.startswith("a: a constant that arrives 4 steps late")


def test_paths_of_different_length_are_told_where_they_meet():
    nodes = {
        "in": nir.Input(np.array([2])),
        **{name: nir.Linear(np.eye(2)) for name in ("u", "v", "skip", "w")},
        **{name: lif_of(2) for name in ("a", "b", "c")},
        "out": nir.Output(np.array([2])),
    }
    network = graph(nodes, "in -> u -> a -> v -> b -> w -> c -> out", "in -> skip -> b")
    made, known = quantised(network, poisson(network))
    plan = planned(network)
    report = loss_report(made, plan, fold(plan), agreement(made.network, known), ())
    (note,) = report.notes
    assert note.startswith("b: paths of 1 to 2 steps meet here")


def lif_of(size):
    return filled("LIF", size=size, tau=8e-3, r=1.0, v_leak=0.0, v_threshold=0.2, v_reset=0.0)
