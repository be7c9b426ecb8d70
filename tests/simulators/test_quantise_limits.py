"""What Loihi cannot do, each with the way out."""

import nir
import numpy as np
import pytest
from support.quantising import violations
from support.small_graphs import chain, filled, graph


def lif(**changes):
    return filled("LIF", **{"tau": 1e-2, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0,
                            "v_reset": 0.0} | changes)  # fmt: skip


def cuba(**changes):
    plain = {"tau_mem": 1e-2, "tau_syn": 5e-3, "r": 1.0, "v_leak": 0.0, "w_in": 1.0}
    return filled("CubaLIF", **plain | {"v_threshold": 1.0, "v_reset": 0.0} | changes)


W = nir.Linear(np.ones((1, 1)))
NO_LOIHI = {
    "a threshold below the reset": (
        chain(W, lif(v_threshold=0.5, v_reset=0.5)),
        ("n1", "v_threshold - v_reset", "0", "v_threshold above v_reset"),
    ),
    "a time constant below a step": (
        chain(W, lif(tau=5e-4)),
        ("n1", "decay per step, dt / tau", "2", "tau of at least 0.001"),
    ),
    "a synapse slower than 12 bits": (
        chain(W, cuba(tau_syn=10.0)),
        ("n1", "decay per step, dt / tau_syn", "0.0001", "tau_syn of at most 4.096"),
    ),
    "a membrane slower than 12 bits": (
        chain(W, cuba(tau_mem=10.0)),
        ("n1", "decay per step, dt / tau_mem", "0.0001", "tau_mem of at most 4.096"),
    ),
    "neurons without a synapse between": (
        chain(W, lif(), lif()),
        ("n2", "steps from n1", "0", "weights between them, which cost a step"),
    ),
    "a delay beyond 64 steps": (
        chain(nir.Delay(np.array([0.065])), W, lif()),
        ("n2", "steps from in", "66", "a Delay of 63 steps"),
    ),
    "a membrane that drives synapses": (
        chain(W, filled("LI", tau=1e-2, r=1.0, v_leak=0.0), W, lif()),
        ("n1", "output into synapses", "a membrane potential",
         "a LIF or CubaLIF in place of n1, or an Output behind it"),
    ),
    "a threshold without a memory": (
        chain(W, nir.Threshold(np.array([0.5])), W, lif()),
        ("n1", "node type", "Threshold", "a LIF with tau of one step and r 1"),
    ),
    "weights before an Output": (
        chain(W, lif(), W),
        ("out", "what an Output reads", "n1, 1 steps late", "an LI, CubaLI or LIF in front of it"),
    ),
    "a loop without neurons": (
        graph(
            {"in": nir.Input(np.array([1])), "w": W, "v": W, "a": lif(),
             "out": nir.Output(np.array([1]))},
            "in -> w -> v -> w", "v -> a -> out",
        ),
        ("v", "loop", "a loop without neurons", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_LOIHI)
def test_what_loihi_cannot_do_is_named_with_the_way_out(case):
    network, (node, limit, used, nearest) = NO_LOIHI[case]
    found = {(one.node, one.limit, one.used, one.nearest_feasible) for one in violations(network)}
    assert (node, limit, used, nearest) in found
