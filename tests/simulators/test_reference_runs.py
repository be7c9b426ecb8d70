"""Runs of the reference engine: batches, state, delays, loops, sums of sources and counts."""

from typing import Any

import nir
import numpy as np
import pytest
from support.equality import differences
from support.random_graphs import cases
from support.small_graphs import chain, contract, filled, graph, run, values

from fusion.errors import InvalidInput
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine
from simulators.trace import Trace


def part(trace: Trace, sample: int) -> Trace:
    """Return one sample of a trace as a trace of its own."""

    def cut(arrays: Any) -> Any:
        return {key: array[sample : sample + 1] for key, array in arrays.items()}

    counts = type(trace.counts)(
        trace.counts.synaptic_events[sample : sample + 1],
        trace.counts.neuron_updates,
        cut(trace.counts.spikes),
    )
    return Trace(cut(trace.outputs), cut(trace.recorded), cut(trace.state), counts)


def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    for case in cases(8, 300):
        engine = ReferenceEngine(case.plan)
        whole = engine.run(case.inputs, record=["all"])
        for sample in range(whole.counts.synaptic_events.size):
            alone = {name: x[sample : sample + 1] for name, x in case.inputs.items()}
            expected = engine.run(alone, record=["all"])
            assert not differences(part(whole, sample), expected), case.seed


def test_a_run_in_chunks_with_the_state_handed_on_is_the_whole_run() -> None:
    for case in cases(8, 400):
        engine = ReferenceEngine(case.plan)
        whole = engine.run(case.inputs, record=["all"])
        state, chunks = None, []
        for chunk in (slice(0, 1), slice(1, 20), slice(20, 20), slice(20, None)):
            inputs = {name: x[:, chunk] for name, x in case.inputs.items()}
            chunks.append(engine.run(inputs, state, ["all"]))
            state = chunks[-1].state
        for key, recorded in whole.recorded.items():
            joined = np.concatenate([chunk.recorded[key] for chunk in chunks], axis=1)
            assert joined.tobytes() == recorded.tobytes(), (case.seed, key)
        for key, final in whole.state.items():
            assert chunks[-1].state[key].tobytes() == final.tobytes(), (case.seed, key)


def test_an_earlier_state_stays_what_it_was() -> None:
    network = chain(filled("LIF", tau=0.01, r=1.0, v_leak=0.0, v_threshold=9.0, v_reset=0.0))
    first = run(network, [1.0])
    kept = {key: array.copy() for key, array in first.state.items()}
    run(network, [1.0, 1.0], state=first.state)
    assert all(np.array_equal(first.state[key], kept[key]) for key in kept)


def test_a_delay_hands_each_neuron_its_input_later() -> None:
    network = chain(nir.Delay(np.array([0.0, 1e-3, 3e-3])), size=3)
    x = np.arange(1.0, 16.0).reshape(1, 5, 3)
    late = run(network, {"in": x}).outputs["out"][0]
    assert late[:, 0].tolist() == x[0, :, 0].tolist()
    assert late[:, 1].tolist() == [0.0, *x[0, :-1, 1]]
    assert late[:, 2].tolist() == [0.0, 0.0, 0.0, *x[0, :-3, 2]]


def test_a_delay_line_goes_on_from_its_state() -> None:
    network = chain(nir.Delay(np.array([2e-3])))
    first = run(network, [1.0, 2.0, 3.0])
    assert values(first.outputs["out"]) == [0.0, 0.0, 1.0]
    assert first.state["n0.line"].ravel().tolist() == [2.0, 3.0]
    assert values(run(network, [4.0], state=first.state).outputs["out"]) == [2.0]


def recurrent(bias: float) -> nir.NIRGraph:
    """Return an IF neuron that passes each spike on to itself, with a bias in the loop."""
    loop = nir.Affine(np.array([[1.0]]), np.array([bias]))
    return graph(
        {
            "in": nir.Input(np.array([1])),
            "n": filled("IF", r=1.0, v_threshold=0.5, v_reset=0.0),
            "loop": loop,
            "out": nir.Output(np.array([1])),
        },
        "in -> n -> loop -> n -> out",
    )


@pytest.mark.parametrize("at", ["spikes", "after_weights"])
def test_a_loop_delivers_one_step_later(at: str) -> None:
    under = contract(if_gain="r", recurrent_delay_at=at)
    trace = run(recurrent(0.0), [0.0, 1.0, 0.0, -1.0, 0.0], under)
    assert values(trace.outputs["out"]) == [0.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("at", "first"), [("spikes", 0.25), ("after_weights", 0.0)])
def test_where_the_delay_sits_decides_when_a_bias_in_the_loop_acts(at: str, first: float) -> None:
    under = contract(if_gain="r", recurrent_delay_at=at)
    trace = run(recurrent(0.25), [0.0, 0.0], under)
    assert values(trace.recorded["n.v"]) == [first, first + 0.25]


def test_sources_are_added_in_the_order_of_their_names() -> None:
    big, small = 2.0**60, 1.0
    nodes = {
        "in": nir.Input(np.array([1])),
        "out": nir.Output(np.array([1])),
        "c": nir.Scale(np.array([big])),
        "b": nir.Scale(np.array([small])),
        "a": nir.Scale(np.array([-big])),
    }
    trace = run(graph(nodes, "in -> c -> out", "in -> b -> out", "in -> a -> out"), [1.0])
    assert values(trace.outputs["out"]) == [(-big + small) + big]
    assert (-big + small) + big != (big - big) + small


def test_counts_say_what_a_chip_would_have_done() -> None:
    weight = np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 1.0]])
    node = filled("IF", 2, r=1.0, v_threshold=0.5, v_reset=0.0)
    network = chain(nir.Linear(weight), node, size=3, out=2)
    x = np.array([[[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]], [[0.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    counts = run(network, {"in": x}, contract(if_gain="r")).counts
    assert counts.synaptic_events.tolist() == [2 + 1 + 2, 1]
    assert counts.neuron_updates == 2 * 2
    assert counts.spikes["n1"].tolist() == [4, 0]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "inputs.in"),
        ({"in": np.zeros((1, 2, 3)), "x": np.zeros((1, 2, 3))}, "inputs.x"),
        ({"in": np.zeros((1, 2, 4))}, "inputs.in"),
        ({"in": np.zeros(3)}, "inputs.in"),
        ({"in": np.array([["a", "b", "c"]])[None]}, "inputs.in"),
        ({"in": np.array([[[0.0, np.nan, 0.0]]])}, "inputs.in[0, 0, 1]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(chain(nir.Scale(np.ones(3)), size=3), inputs)
    assert caught.value.field == field


def test_a_record_or_state_that_does_not_fit_is_named() -> None:
    network = chain(nir.Delay(np.array([1e-3])))
    engine = ReferenceEngine(make_plan(network, contract()))
    x = {"in": np.zeros((2, 3, 1))}
    wrong = [
        ("record", {"record": ["out"]}),
        ("state.n0.line", {"state": {}}),
        ("state.v", {"state": {"n0.line": np.zeros((2, 1, 1)), "v": np.zeros(1)}}),
        ("state.n0.line", {"state": {"n0.line": np.zeros((1, 1, 1))}}),
        ("state.n0.line", {"state": {"n0.line": np.zeros((2, 1, 1), np.float32)}}),
    ]
    for field, options in wrong:
        with pytest.raises(InvalidInput) as caught:
            engine.run(x, **options)
        assert caught.value.field == field
