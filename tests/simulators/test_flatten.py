"""Nested graphs mean what the same graph means written out flat."""

import io

import nir
import numpy as np
import pytest

from fusion.contract import make_contract
from fusion.errors import InvalidModel
from fusion.graph_file import read_graph
from simulators.flatten import flatten
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine

RNG = np.random.default_rng(5)
W = {name: RNG.normal(1, 1, shape) for name, shape in {"a": (3, 2), "rec": (3, 3)}.items()}
THREE = np.ones(3)


def lif():
    return nir.LIF(tau=THREE * 4, r=THREE, v_leak=THREE * 0, v_threshold=THREE)


def port(kind, size):
    return kind(np.array([size]))


def flat():
    nodes = {
        "input": port(nir.Input, 2),
        "w": nir.Linear(W["a"]),
        "cell.lif": lif(),
        "cell.rec": nir.Linear(W["rec"]),
        "output": port(nir.Output, 3),
    }
    edges = [("input", "w"), ("w", "cell.lif"), ("cell.lif", "cell.rec"), ("cell.rec", "cell.lif")]
    return nir.NIRGraph(nodes, [*edges, ("cell.lif", "output")], type_check=False)


def cell():
    nodes = {"x": port(nir.Input, 3), "lif": lif(), "rec": nir.Linear(W["rec"])}
    nodes["y"] = port(nir.Output, 3)
    edges = [("x", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "y")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def nested(edges=None, inner=None):
    nodes = {
        "input": port(nir.Input, 2),
        "w": nir.Linear(W["a"]),
        "cell": inner or cell(),
        "output": port(nir.Output, 3),
    }
    edges = edges or [("input", "w"), ("w", "cell"), ("cell", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def spikes(graph):
    plan = make_plan(graph, make_contract("nir", 1.0))
    raster = np.random.default_rng(1).integers(0, 2, (1, 40, 2))
    return ReferenceEngine(plan).run({"input": raster}).outputs["output"]


def reread(graph):
    file = io.BytesIO()
    nir.write(file, graph)
    return read_graph(file.getvalue())


def test_a_graph_without_subgraphs_is_returned_as_it_is():
    graph = flat()
    assert flatten(graph) is graph


def test_a_subgraph_becomes_nodes_of_its_name():
    graph = flatten(nested())
    assert set(graph.nodes) == set(flat().nodes)
    assert sorted(graph.edges) == sorted(flat().edges)
    assert spikes(nested()).any()
    assert np.array_equal(spikes(nested()), spikes(flat()))


def test_subgraphs_nest_and_survive_a_file():
    outer = nir.NIRGraph(
        {"x": port(nir.Input, 3), "in": cell(), "y": port(nir.Output, 3)},
        [("x", "in"), ("in", "y")],
        type_check=False,
    )
    graph = reread(nested(inner=outer))
    assert "cell.in.lif" in flatten(graph).nodes
    assert np.array_equal(spikes(graph), spikes(flat()))


def test_an_edge_may_name_a_port():
    edges = [("input", "w"), ("w", "cell.x"), ("cell.y", "output")]
    assert np.array_equal(spikes(nested(edges)), spikes(flat()))


def two_doors():
    nodes = {
        "input": port(nir.Input, 3),
        "w": port(nir.Input, 3),
        "one": nir.Scale(THREE),
        "two": nir.Scale(THREE * 2),
        "y": port(nir.Output, 3),
    }
    edges = [("input", "one"), ("w", "two"), ("one", "y"), ("two", "y")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def test_several_inputs_are_matched_by_name():
    edges = [("input", "w"), ("w", "cell"), ("cell", "output")]
    nodes = nested(edges, two_doors())
    nodes.nodes["input"] = port(nir.Input, 3)
    nodes.nodes["w"] = nir.Linear(np.eye(3))
    nodes.edges.append(("input", "cell"))
    found = flatten(nodes).edges
    assert ("input", "cell.one") in found
    assert ("w", "cell.two") in found


@pytest.mark.parametrize(
    ("edges", "inner", "field", "problem"),
    [
        (
            [("input", "q"), ("q", "cell"), ("cell", "output")],
            two_doors(),
            "edges",
            "2 Input nodes",
        ),
        ([("input", "w"), ("w", "cell.z"), ("cell", "output")], None, "edges", "does not exist"),
        ([("w", "cell"), ("cell", "w"), ("w", "cell.x")], None, "edges", "two ways"),
        ([("input", "w"), ("w", "output"), ("cell", "output")], None, "nodes.cell.x", "nothing"),
    ],
)
def test_edges_that_fit_no_port_are_named(edges, inner, field, problem):
    graph = nested(edges, inner)
    with pytest.raises(InvalidModel, match=problem) as caught:
        make_plan(graph, make_contract("nir", 1.0))
    assert caught.value.field.startswith(field)


def test_two_nodes_of_one_name_are_refused():
    graph = nested()
    graph.nodes["cell.lif"] = lif()
    with pytest.raises(InvalidModel, match="another node") as caught:
        flatten(graph)
    assert caught.value.field == "nodes.cell.lif"
