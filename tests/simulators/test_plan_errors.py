"""Graphs that cannot be run: each is refused with the node and what is wrong with it."""

from typing import Any

import nir
import numpy as np
import pytest
from support.small_graphs import chain, contract, filled, graph

from fusion.errors import InvalidModel
from simulators.plan import make_plan

LIF = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
ENDS = {"in": nir.Input(np.array([2])), "out": nir.Output(np.array([2]))}


def changed(**params: Any) -> Any:
    """Return a LIF with parameters that its constructor might refuse."""
    node = filled("LIF", 2, **LIF)
    for name, value in params.items():
        setattr(node, name, value)
    return node


def refused(network: nir.NIRGraph, **choices: Any) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        make_plan(network, contract(**choices))
    return caught.value


class Mystery(nir.ir.NIRNode):
    """A node type that no one knows."""

    def __init__(self) -> None:
        self.input_type = self.output_type = {}


def test_an_unknown_node_type() -> None:
    error = refused(chain(Mystery(), size=2))
    assert error.field == "nodes.n0"
    assert "Mystery is not supported" in error.problem
    assert "LIF" in str(error.nearest)


def test_an_edge_to_a_node_that_does_not_exist() -> None:
    error = refused(graph(dict(ENDS), "in -> out", "in -> ghost"))
    assert error.field == "edges[in -> ghost]"


def test_an_edge_that_is_listed_twice() -> None:
    error = refused(graph(dict(ENDS), "in -> out", "in -> out"))
    assert error.field == "edges[in -> out]"


def test_a_node_that_nothing_leads_to() -> None:
    error = refused(graph({**ENDS, "lost": nir.Scale(np.ones(2))}, "in -> out", "lost -> out"))
    assert error.field == "nodes.lost"
    assert "nothing leads to it" in error.problem


def test_an_edge_into_an_input() -> None:
    assert refused(graph(dict(ENDS), "in -> out", "out -> in")).field == "nodes.in"


@pytest.mark.parametrize("kept", ["in", "out"])
def test_a_graph_without_input_or_output(kept: str) -> None:
    error = refused(graph({kept: ENDS[kept], "s": nir.Scale(np.ones(2))}, "s -> s"))
    assert ("Output" if kept == "in" else "Input") in error.problem


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tau", np.array([0.01, 0.0]), "0.0"),
        ("tau", np.array([0.01, -0.02]), "-0.02"),
        ("tau", np.array([0.01, np.inf]), "inf"),
        ("tau", np.array([0.01, np.nan]), "nan"),
        ("tau", np.array([1, 2]), "int64"),
        ("r", np.array([1.0, np.nan]), "nan"),
        ("v_threshold", np.array(["a", "b"]), "numbers"),
        ("v_reset", np.zeros(3), "[3]"),
        ("v_leak", None, "missing"),
    ],
)
def test_a_parameter_that_cannot_be(name: str, value: Any, says: str) -> None:
    error = refused(chain(changed(**{name: value}), size=2))
    assert error.field == f"nodes.n0.{name}"
    assert says in error.problem


def test_weights_that_are_not_finite() -> None:
    error = refused(chain(nir.Linear(np.array([[1.0, np.nan]])), size=2, out=1))
    assert error.field == "nodes.n0.weight"


def test_weights_of_another_size_than_what_feeds_them() -> None:
    error = refused(chain(nir.Linear(np.ones((1, 3))), size=2, out=1))
    assert error.field == "nodes.n0.weight"
    assert "[1, 3]" in error.problem
    assert error.nearest == "[1, 2]"


def test_a_second_source_of_another_size() -> None:
    nodes = {**ENDS, "w": nir.Linear(np.ones((3, 2))), "n": filled("LIF", 2, **LIF)}
    error = refused(graph(nodes, "in -> n -> out", "n -> w -> n"))
    assert error.field in ("edges[w -> n]", "edges[n -> w]")
    assert "3" in error.problem


@pytest.mark.parametrize("steps", [0.5, 1.001, -1.0])
def test_a_delay_that_is_no_whole_number_of_steps(steps: float) -> None:
    error = refused(chain(nir.Delay(np.array([1e-3, steps * 1e-3])), size=2))
    assert error.field == "nodes.n0.delay"


def test_a_delay_of_a_broken_number_of_steps_is_rounded_on_request() -> None:
    under = contract(delay_rounding="round")
    plan = make_plan(chain(nir.Delay(np.array([1.4e-3, 1.6e-3])), size=2), under)
    assert plan.nodes[1].operation.steps.tolist() == [1, 2]  # type: ignore[union-attr]


def test_a_kernel_larger_than_what_it_slides_over() -> None:
    node = nir.Conv1d(None, np.ones((1, 2, 9)), 1, 0, 1, 1, np.zeros(1))
    ends = {"in": nir.Input(np.array([2, 5])), "out": nir.Output(np.array([1, 1]))}
    assert refused(graph({**ends, "c": node}, "in -> c -> out")).field == "nodes.c.weight"


def test_same_padding_with_a_stride() -> None:
    node = nir.Conv1d(None, np.ones((1, 2, 3)), 2, "same", 1, 1, np.zeros(1))
    ends = {"in": nir.Input(np.array([2, 5])), "out": nir.Output(np.array([1, 3]))}
    assert refused(graph({**ends, "c": node}, "in -> c -> out")).field == "nodes.c.padding"


def test_groups_that_do_not_divide_the_channels() -> None:
    node = nir.Conv1d(None, np.ones((3, 1, 1)), 1, 0, 1, 2, np.zeros(3))
    ends = {"in": nir.Input(np.array([2, 5])), "out": nir.Output(np.array([3, 5]))}
    assert refused(graph({**ends, "c": node}, "in -> c -> out")).field == "nodes.c.groups"
