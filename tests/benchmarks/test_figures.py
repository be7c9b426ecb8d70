"""What benchmarks make of the times that they measure."""

import pytest

from benchmarks.floor import floor_ms
from benchmarks.growth import Point, exponent
from benchmarks.networks import cuba
from benchmarks.speed import Run, estimate_s, fitted


def test_the_exponent_of_growth():
    linear = [Point(n, 1000 * n, 1e-6 * n) for n in (1, 2, 4, 8)]
    square = [Point(n, 1000 * n, 1e-6 * n * n) for n in (1, 2, 4, 8)]
    assert exponent(linear) == pytest.approx(1)
    assert exponent(square) == pytest.approx(2)


def test_speed_is_found_again_in_runs_that_follow_it():
    figures = {
        "s_per_run": 3e-5,
        "us_per_node_step": 0.05,
        "ns_per_neuron_update": 0.2,
        "ns_per_synaptic_event": 0.1,
    }

    def run(nodes, neurons, steps, events):
        blank = Run("", nodes, neurons, steps, events, 1.0)
        return Run("", nodes, neurons, steps, events, estimate_s(figures, blank))

    runs = [
        run(nodes, neurons, steps, neurons * steps * share)
        for nodes, neurons in ((4, 100), (20, 700), (3, 4000))
        for steps in (10, 1000)
        for share in (0, 3)
    ]
    assert fitted(runs) == pytest.approx(figures, rel=1e-2)


def test_the_floor_counts_weights_and_state(monkeypatch):
    monkeypatch.setattr("benchmarks.floor.l2_bytes_per_s", lambda: 1e9)
    network = cuba(1000)
    state = 1000 * 3 * 2 * 8 * network.steps
    assert floor_ms(network, 0, 2) == pytest.approx(2 * state / 1e6)
    assert floor_ms(network, 500) == pytest.approx((state + 500 * 12) / 1e6)
