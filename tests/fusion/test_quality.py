import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion.quality import Quality, certainty, conflict, coverage

K = 5
posteriors = arrays(np.float64, K, elements=st.floats(1e-6, 1)).map(lambda p: p / p.sum())
UNIFORM = np.full(K, 1 / K)


def assess(fused, posteriors, reliability, live):
    return Quality(certainty(fused), conflict(posteriors), coverage(reliability, live))


def peaked(label, p=0.97):
    rest = (1 - p) / (K - 1)
    return np.array([p if k == label else rest for k in range(K)])


@given(posteriors, posteriors, posteriors, st.floats(0, 1), st.floats(0, 1))
def test_every_part_is_bounded(fused, first, second, live_a, live_b):
    quality = assess(
        fused, {"a": first, "b": second}, {"a": 0.7, "b": 0.9}, {"a": live_a, "b": live_b}
    )
    for part in (quality.certainty, quality.conflict, quality.coverage, quality.score):
        assert 0 <= part <= 1 + 1e-12


def test_a_uniform_answer_has_no_quality():
    quality = assess(UNIFORM, {"a": UNIFORM}, {"a": 1.0}, {"a": 1.0})
    assert quality.score == 0


def test_a_sure_answer_of_agreeing_sensors_has_full_quality():
    sure = np.array([1.0, 0, 0, 0, 0])
    assert assess(sure, {"a": sure, "b": sure}, {"a": 1, "b": 1}, {"a": 1, "b": 1}).score == 1


def test_certainty_is_the_entropy_that_is_missing():
    # By hand: two equal labels of four have entropy ln 2 of ln 4.
    assert certainty(np.array([0.5, 0.5, 0, 0])) == pytest.approx(0.5)


def test_confident_contradiction_conflicts_and_unsure_ones_do_not():
    assert conflict({"a": peaked(0), "b": peaked(1)}) > 0.5
    assert conflict({"a": peaked(0), "b": peaked(0)}) == pytest.approx(0, abs=1e-12)
    assert conflict({"a": peaked(0), "b": UNIFORM}) == pytest.approx(0, abs=1e-12)


def test_confident_contradiction_lowers_the_score():
    def score(other):
        return assess(peaked(0), {"a": peaked(0), "b": other}, {"a": 1, "b": 1}, {"a": 1, "b": 1})

    assert score(peaked(1)).score < score(UNIFORM).score
    assert score(UNIFORM).score == pytest.approx(score(peaked(0)).score)


@given(st.floats(0.3, 0.99), st.floats(0.3, 0.99))
def test_quality_falls_as_the_answer_gets_less_sure(first, second):
    low, high = sorted((first, second))
    scores = [assess(peaked(0, p), {}, {"a": 1.0}, {"a": 1.0}).score for p in (low, high)]
    assert scores[0] <= scores[1] + 1e-12


def test_a_missing_sensor_costs_its_reliability():
    assert coverage({"a": 0.6, "b": 0.9}, {"b": 1.0}) == pytest.approx(0.9 / 1.5)
    assert coverage({"a": 0.6, "b": 0.9}, {"a": 0.5, "b": 1.0}) == pytest.approx(1.2 / 1.5)


def test_conflict_takes_the_worst_pair():
    three = {"a": peaked(0), "b": peaked(0), "c": peaked(2)}
    assert conflict(three) == pytest.approx(conflict({"a": peaked(0), "c": peaked(2)}))
    assert not math.isnan(conflict({}))
