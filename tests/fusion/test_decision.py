import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from fusion.decision import decide, read_logits
from fusion.manifest import Head

logits = arrays(np.float64, 4, elements=st.floats(-30, 30))


def beliefs(values):
    return {str(index): value for index, value in enumerate(values)}


@given(st.lists(logits, min_size=1, max_size=4))
def test_the_order_of_modalities_changes_nothing(values):
    forward = beliefs(values)
    backward = dict(reversed(forward.items()))
    assert decide(forward, 4).log_posterior.tobytes() == decide(backward, 4).log_posterior.tobytes()


@given(st.lists(logits, min_size=1, max_size=4))
def test_posteriors_are_those_of_scipy(values):
    decision = decide(beliefs(values), 4)
    fused = log_softmax(np.sum(log_softmax(values, axis=1), axis=0))
    np.testing.assert_allclose(decision.log_posterior, fused, rtol=1e-12, atol=1e-12)
    for name, value in beliefs(values).items():
        np.testing.assert_allclose(decision.by_sensor[name], np.exp(log_softmax(value)), rtol=1e-12)


@given(st.lists(logits, min_size=1, max_size=4))
def test_a_posterior_is_a_distribution(values):
    decision = decide(beliefs(values), 4)
    assert decision.posterior.sum() == pytest.approx(1)
    assert decision.confidence == decision.posterior.max()


@given(logits, logits)
def test_contribution_is_what_the_answer_loses_without_the_sensor(first, second):
    decision = decide(beliefs([first, second]), 4)
    alone = log_softmax(second)[decision.best]
    assert decision.contributions["0"] == pytest.approx(
        np.log(decision.posterior[decision.best]) - alone
    )


@given(logits)
def test_a_sensor_without_evidence_changes_nothing(value):
    alone = decide({"a": value}, 4)
    both = decide({"a": value, "b": np.zeros(4)}, 4)
    np.testing.assert_allclose(both.posterior, alone.posterior)
    assert both.contributions["b"] == pytest.approx(0, abs=1e-9)


def test_without_any_sensor_the_answer_is_uniform():
    decision = decide({}, 4)
    assert decision.posterior.tolist() == [0.25] * 4
    assert decision.contributions == {}


def test_experts_multiply():
    # By hand: (0.8, 0.2) x (0.6, 0.4) = (0.48, 0.08), normalised.
    decision = decide({"a": np.log([0.8, 0.2]), "b": np.log([0.6, 0.4])}, 2)
    np.testing.assert_allclose(decision.posterior, [0.48 / 0.56, 0.08 / 0.56])


OUTPUT = np.array([[[0.0, 1], [2, 0], [1, 5], [9, 9]]])


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        ("last", [1, 5]),
        ("max", [2, 5]),
        ("mean", [1, 2]),
        ("count", [3, 6]),
        ("first_spike", [-1, 0]),
    ],
)
def test_a_head_reads_up_to_its_step(readout, expected):
    head = Head(sensor="a", node="a", readout=readout, read_at_s=0.003)
    assert read_logits(OUTPUT, head, 0.001).tolist() == [expected]


def test_a_head_reads_at_least_one_step():
    head = Head(sensor="a", node="a", read_at_s=0.003)
    assert read_logits(OUTPUT, head, 1e9).tolist() == [[0, 1]]


def test_a_head_without_read_step_reads_the_end():
    assert read_logits(OUTPUT, Head(sensor="a", node="a"), 0.001).tolist() == [[9, 9]]


def test_a_silent_neuron_spikes_after_all_others():
    head = Head(sensor="a", node="a", readout="first_spike")
    assert read_logits(np.array([[[0.0, 0], [0, 1]]]), head, 1.0).tolist() == [[-2, -1]]


def test_temperature_softens():
    sharp, soft = (decide({"a": np.array([0.0, 2.0]) / t}, 2).posterior for t in (1.0, 4.0))
    assert sharp[1] > soft[1] > 0.5
