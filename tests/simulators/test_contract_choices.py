"""Every choice of the contract on networks small enough to compute by hand."""

from itertools import pairwise

import nir
import numpy as np
import pytest

from fusion.contract import CHOICES, FLOATS, make_contract
from fusion.errors import InvalidModel
from simulators.plan import make_plan
from simulators.reference import SUPPORTED, ReferenceEngine

DT = 0.5
ONE = np.ones(1)


def lif(tau=1.0, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0):
    return nir.LIF(
        tau=ONE * tau,
        r=ONE * r,
        v_leak=ONE * v_leak,
        v_threshold=ONE * v_threshold,
        v_reset=ONE * v_reset,
    )


def cuba(tau_mem=1.0, tau_syn=1.0, w_in=1.0, **rest):
    rest = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | rest
    rest = {name: ONE * value for name, value in rest.items()}
    return nir.CubaLIF(tau_mem=ONE * tau_mem, tau_syn=ONE * tau_syn, w_in=ONE * w_in, **rest)


def chain(*nodes):
    names = [f"n{index}" for index in range(len(nodes))]
    whole = {"input": nir.Input(np.array([1])), **dict(zip(names, nodes, strict=True))}
    whole["output"] = nir.Output(np.array([1]))
    order = list(whole)
    return nir.NIRGraph(whole, list(pairwise(order)), type_check=False)


def run(graph, x, dt_s=DT, profile="nir", **choices):
    plan = make_plan(graph, make_contract(profile, dt_s, choices))
    raster = np.array(x, float)[None, :, None]
    return ReferenceEngine(plan).run({"input": raster}, record=["all"])


def trace(node, x, what="v", **choices):
    return run(chain(node), x, **choices).recorded[f"n0.{what}"][0, :, 0].tolist()


def spikes(node, x, **choices):
    return trace(node, x, "spikes", **choices)


def test_every_choice_is_implemented():
    assert SUPPORTED == {**CHOICES, "arithmetic": FLOATS}


def test_resets_in_the_same_step():
    # v: 0.5·2 = 1, not over 1; then 1 + 0.5·(2 − 1) = 1.5, a spike.
    assert trace(lif(), [2, 2, 0]) == [1.0, 0.0, 0.0]
    assert trace(lif(v_reset=-1), [2, 2, 0]) == [1.0, -1.0, -0.5]
    assert trace(lif(), [2, 2, 0], reset="subtract_threshold") == [1.0, 0.5, 0.25]


def test_resets_on_the_next_step_before_its_input():
    # 1.5 stays to be seen; the next step starts from 0, or from 1.5 − 1.
    delayed = {"reset_timing": "next_step_before_input"}
    assert trace(lif(), [2, 2, 0], **delayed) == [1.0, 1.5, 0.0]
    assert trace(lif(), [2, 2, 0], reset="subtract_threshold", **delayed) == [1.0, 1.5, 0.25]


def test_resets_on_the_next_step_after_its_input():
    # The step from 1.5 gives 0.75 without input; θ = 1 comes off that, or v_reset replaces it.
    late = {"reset_timing": "next_step_after_input"}
    assert trace(lif(), [2, 2, 0], reset="subtract_threshold", **late) == [1.0, 1.5, -0.25]
    assert trace(lif(v_reset=0.125), [2, 2, 9], **late) == [1.0, 1.5, 0.125]
    assert spikes(lif(v_reset=0.125), [2, 2, 9], **late) == [0, 1, 0]


def test_spikes_at_the_threshold():
    assert spikes(lif(), [2, 0], spike_condition=">") == [0, 0]
    assert spikes(lif(), [2, 0], spike_condition=">=") == [1, 0]


def test_several_spikes_in_a_step():
    # v = 0.5·7 = 3.5 holds three thresholds of 1; with ≥, 3 does too, with >, 1 holds none.
    several = {"spikes_per_step": "floor", "reset": "subtract_threshold"}
    assert spikes(lif(), [7, 0], **several) == [3, 0]
    assert trace(lif(), [7, 0], **several) == [0.5, 0.25]
    assert spikes(lif(), [2], **several, spike_condition=">=") == [1]
    assert spikes(lif(), [2], **several) == [0]
    assert spikes(lif(), [-7], **several) == [0]
    late = {**several, "reset_timing": "next_step_after_input"}
    assert trace(lif(), [7, 0], **late) == [3.5, 3.5 - 1.75 - 3]
    counts = run(chain(lif()), [7, 7], **several).counts
    assert counts.spikes["n0"].tolist() == [6]


def test_several_spikes_need_a_positive_threshold():
    with pytest.raises(InvalidModel, match=r"nodes\.n0\.v_threshold"):
        run(chain(lif(v_threshold=0)), [1], spikes_per_step="floor")


def test_the_membrane_reads_the_new_or_the_old_current():
    # i: 0.5, 0.25, 0.125 for one input of 1.
    node = cuba(v_threshold=9)
    assert trace(node, [1, 0, 0], "i") == [0.5, 0.25, 0.125]
    assert trace(node, [1, 0, 0]) == [0.25, 0.25, 0.1875]
    old = {"membrane_reads": "old_current"}
    assert trace(node, [1, 0, 0], "i", **old) == [0.5, 0.25, 0.125]
    assert trace(node, [1, 0, 0], **old) == [0.0, 0.25, 0.25]


@pytest.mark.parametrize("form", ["increment", "decay"])
def test_the_synapse_decays_before_or_after_its_input(form):
    # Added first, the input of 1 (times 0.5) has decayed by half when the membrane sees it.
    node = cuba(v_threshold=9)
    added = {"arithmetic_form": form, "synapse_order": "add_then_decay"}
    assert trace(node, [1, 0], "i", arithmetic_form=form) == [0.5, 0.25]
    assert trace(node, [1, 0], "i", **added) == [0.25, 0.125]
    assert trace(node, [1, 0], "i", **added, input_gain="direct") == [0.5, 0.25]


@pytest.mark.parametrize("form", ["increment", "decay"])
def test_the_input_gain(form):
    # 0.5·4·1, 0.5·1, and 1 as it is; the leak is the same.
    node = lif(r=4, v_threshold=9)
    for gain, first in (("file", 2.0), ("unit", 0.5), ("direct", 1.0)):
        choices = {"arithmetic_form": form, "input_gain": gain}
        assert trace(node, [1, 0], **choices) == [first, first / 2]
    # The synapse takes the input as it is; R stays the membrane's.
    node = cuba(w_in=4, r=2, v_threshold=9)
    for gain, i, v in (("file", 2.0, 2.0), ("unit", 0.5, 0.25), ("direct", 1.0, 1.0)):
        choices = {"arithmetic_form": form, "input_gain": gain}
        assert trace(node, [1], "i", **choices) == [i]
        assert trace(node, [1], **choices) == [v]


def test_the_gain_of_a_membrane_without_leak():
    node = nir.IF(r=ONE * 3, v_threshold=ONE * 9)
    assert trace(node, [1, 1]) == [1.5, 3.0]
    assert trace(node, [1, 1], if_gain="r") == [3.0, 6.0]
    assert trace(node, [1, 1], input_gain="unit") == [0.5, 1.0]
    assert trace(node, [1, 1], input_gain="direct") == [1.0, 2.0]


def test_time_constants_and_delays_in_other_units():
    # τ = 1 s in seconds, 1000 in milliseconds and 2 in steps of 0.5 s.
    for unit, tau in (("seconds", 1.0), ("milliseconds", 1000.0), ("steps", 2.0)):
        assert trace(lif(tau=tau), [1, 0], time_unit=unit) == [0.5, 0.25]
        delay = chain(nir.Delay(ONE * tau))
        out = run(delay, [1, 2, 3], time_unit=unit).outputs["output"]
        assert out[0, :, 0].tolist() == [0, 0, 1]


def test_a_lower_bound_of_the_membrane():
    assert trace(lif(), [-4, 0]) == [-2.0, -1.0]
    assert trace(lif(), [-4, 0], v_min=-0.5) == [-0.5, -0.25]
    assert trace(nir.LI(tau=ONE, r=ONE, v_leak=ONE * 0), [-4, 4], v_min=0) == [0.0, 2.0]


def test_the_first_membrane():
    node = lif(v_leak=0.5, v_reset=0.25, v_threshold=9)
    for initial, first in (("zero", 0.25), ("v_leak", 0.5), ("v_reset", 0.375)):
        assert trace(node, [0], initial_v=initial) == [first]


def wire(bias=0.0):
    """A neuron without memory behind a weight of 2: its membrane is its input."""
    return chain(
        nir.Affine(np.array([[2.0]]), ONE * bias), nir.LI(tau=ONE * DT, r=ONE, v_leak=0 * ONE)
    )


def test_a_weighted_node_costs_a_step_and_a_wire_none():
    late = {"feedforward_delay_steps": 1}
    membrane = run(wire(bias=1), [3, 4], **late).recorded["n1.v"][0, :, 0]
    assert membrane.tolist() == [1.0, 7.0]
    direct = chain(nir.LI(tau=ONE * DT, r=ONE, v_leak=0 * ONE))
    assert run(direct, [3, 4], **late).recorded["n0.v"][0, :, 0].tolist() == [3.0, 4.0]


def loop(neuron, weight=1.0, bias=0.0):
    graph = chain(neuron)
    graph.nodes["w"] = nir.Affine(np.array([[weight]]), ONE * bias)
    graph.edges += [("n0", "w"), ("w", "n0")]
    return graph


IDENTITY = {"tau": DT, "v_threshold": 0.5}
"""A neuron that spikes wherever its input is over 0.5."""


@pytest.mark.parametrize("forward", [0, 1])
def test_a_loop_is_one_step_late_however_much_its_weights_cost(forward):
    found = run(loop(lif(**IDENTITY)), [1, 0, 0], feedforward_delay_steps=forward)
    assert found.recorded["n0.spikes"][0, :, 0].tolist() == [1, 1, 1]
    behind = run(
        loop(lif(**IDENTITY)),
        [1, 0, 0],
        feedforward_delay_steps=forward,
        recurrent_delay_at="after_weights",
    )
    assert behind.recorded["n0.spikes"][0, :, 0].tolist() == [1, 1, 1]


def test_the_bias_of_a_loop_acts_at_once_where_the_delay_is_at_the_spikes():
    graph = loop(lif(**IDENTITY), bias=1.0)
    assert run(graph, [0]).recorded["n0.spikes"][0, 0, 0] == 1
    late = run(graph, [0, 0], recurrent_delay_at="after_weights")
    assert late.recorded["n0.spikes"][0, :, 0].tolist() == [0, 1]


UNDELAYED = {"membrane_reads": "old_current", "recurrent_delay_steps": 0}


def test_a_loop_without_delay_feeds_the_synapse_of_the_same_step():
    # Memoryless: i(t) = x(t) + s(t), v(t) = i(t − 1), a spike over 0.5.
    graph = loop(cuba(tau_mem=DT, tau_syn=DT, v_threshold=0.5))
    found = run(graph, [1, 0, 0, 0], **UNDELAYED).recorded
    assert found["n0.spikes"][0, :, 0].tolist() == [0, 1, 1, 1]
    assert found["n0.i"][0, :, 0].tolist() == [1, 1, 1, 1]
    delayed = run(graph, [1, 0, 0, 0], membrane_reads="old_current").recorded
    assert delayed["n0.i"][0, :, 0].tolist() == [1, 0, 1, 0]


def test_a_loop_over_several_nodes_is_stepped_in_an_order_without_delay():
    graph = chain(cuba(tau_mem=DT, tau_syn=DT, v_threshold=0.5), lif(**IDENTITY))
    graph.nodes["a"] = nir.Linear(np.array([[3.0]]))
    graph.edges += [("n1", "a"), ("a", "n0")]
    found = run(graph, [1, 0, 0], **UNDELAYED).recorded
    assert found["n0.i"][0, :, 0].tolist() == [1, 3, 3]
    assert found["n1.spikes"][0, :, 0].tolist() == [0, 1, 1]


def test_a_loop_without_delay_or_synaptic_current_is_refused_by_node():
    with pytest.raises(InvalidModel, match="no synaptic current") as caught:
        run(loop(lif()), [1], **UNDELAYED)
    assert caught.value.field in ("nodes.n0", "nodes.w")
    assert "n0" in caught.value.problem
    assert "recurrent_delay_steps 1" in caught.value.nearest


def test_inexact_runs_may_be_exact():
    one, other = (run(wire(), [1, 2], exact=exact).outputs["output"] for exact in (True, False))
    assert np.array_equal(one, other)
