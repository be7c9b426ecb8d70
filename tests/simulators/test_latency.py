import nir
import numpy as np
import pytest
from support.small_graphs import contract, filled, graph

from simulators.draft import make_drafts
from simulators.latency import Latency, latencies
from simulators.plan import make_plan

ONE = np.ones((1, 1))


def lif():
    return filled("LIF", tau=0.01, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0)


def skipping():
    """in -> begin -> a -> w1 -> b -> out; in -> delay -> skip -> b; b -> loop -> a."""
    nodes = {
        "in": nir.Input(np.array([1])),
        "out": nir.Output(np.array([1])),
        "delay": nir.Delay(np.array([0.003])),
        **{name: nir.Linear(ONE) for name in ("begin", "w1", "skip", "loop")},
        "a": lif(),
        "b": lif(),
    }
    return graph(
        nodes,
        "in -> begin -> a -> w1 -> b -> out",
        "in -> delay -> skip -> b",
        "b -> loop -> a",
    )


def test_weights_that_cost_a_step_make_what_follows_late():
    late = latencies(make_plan(skipping(), contract(feedforward_delay_steps=1)).nodes)
    assert late["a"] == Latency(1, 1)
    assert late["b"] == late["out"] == Latency(1, 2)


@pytest.mark.parametrize("at", ["spikes", "after_weights"])
def test_loops_and_delay_nodes_make_nothing_late(at):
    plan = make_plan(skipping(), contract(recurrent_delay_at=at))
    assert set(latencies(plan.nodes).values()) == {Latency(0, 0)}


def test_what_no_input_reaches_has_no_latency():
    nodes = {
        "in": nir.Input(np.array([1])),
        "out": nir.Output(np.array([1])),
        "a": lif(),
        "b": lif(),
        "w": nir.Linear(ONE),
    }
    plan = make_plan(graph(nodes, "in -> out", "a -> w -> b -> a"), contract())
    assert set(latencies(plan.nodes)) == {"in", "out"}


def test_drafts_of_a_plan_tell_the_same():
    late = contract(feedforward_delay_steps=1)
    assert latencies(make_drafts(skipping(), late)) == latencies(make_plan(skipping(), late).nodes)
