"""A model is measured before anything of it is made."""

import nir
import numpy as np
import pytest
from support.hdf5_files import every_primitive
from support.models import small_graph
from support.small_graphs import chain, contract, filled, graph

from fusion.errors import InvalidModel
from simulators.draft import measure
from simulators.operations import Weights
from simulators.plan import make_plan


def conv(weight, stride=1, padding=0, dilation=1, groups=1):
    return nir.Conv2d(None, weight, stride, padding, dilation, groups, np.zeros(len(weight)))


def seen_by(node, *shape):
    nodes = {"in": nir.Input(np.array(shape)), "n": node, "out": nir.Output(np.array([1]))}
    return graph(nodes, "in -> n")


@pytest.mark.parametrize("network", [small_graph(), every_primitive()])
def test_what_is_measured_is_what_is_made(network):
    plan = {node.name: node for node in make_plan(network, contract()).nodes}
    sizes = {size.node: size for size in measure(network, contract())}
    assert plan.keys() == sizes.keys()
    for name, node in plan.items():
        assert sizes[name].values == node.size
        weights = node.operation.connection.weight if isinstance(node.operation, Weights) else ()
        assert sizes[name].synapses == len(weights)


@pytest.mark.parametrize("seed", range(40))
def test_the_synapses_of_a_window_are_counted_exactly(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    shape = (groups, *rng.integers(5, 9, 2))
    weight = rng.normal(size=(2 * groups, 1, *rng.integers(1, 4, 2)))
    weight *= rng.random(weight.shape) < 0.7
    draw = {name: rng.integers(low, 3, 2) for name, low in (("stride", 1), ("padding", 0))}
    node = conv(weight, dilation=int(rng.integers(1, 3)), groups=groups, **draw)
    network = seen_by(node, *shape)
    del network.nodes["out"]
    network.nodes["out"] = nir.Output(None)
    network.edges.append(("n", "out"))
    (made,) = (n for n in make_plan(network, contract()).nodes if n.name == "n")
    (size,) = (n for n in measure(network, contract()) if n.node == "n")
    assert size.synapses == made.operation.connection.weight.size


def test_delays_count_neurons_times_steps():
    network = chain(nir.Delay(np.array([0.002, 0.005])), size=2)
    assert {n.node: n.delay_values for n in measure(network, contract())}["n0"] == 10


@pytest.mark.parametrize(
    ("network", "counted"),
    [
        (chain(nir.Scale(np.array([1.0])), size=10**9), {"values": 3 * 10**9}),
        (chain(filled("IF", r=1, v_threshold=1, v_reset=0), size=10**9), {"neurons": 10**9}),
        (chain(nir.Delay(np.full(3, 2e6)), size=3), {"delay_values": 6 * 10**9}),
        (
            chain(conv(np.ones((8, 8, 3, 3)), padding="same"), nir.Flatten(None, 0, -1), size=8),
            None,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_measured_all_the_same(network, counted):
    if counted is None:
        network.nodes["in"] = nir.Input(np.array([8, 30_000, 30_000]))
        network.nodes["out"] = nir.Output(np.array([8 * 30_000 * 30_000]))
        counted = {"synapses": 64 * (3 * 30_000 - 2) ** 2}
    sizes = measure(network, contract())
    for name, value in counted.items():
        assert sum(getattr(size, name) for size in sizes) == value


POOL = np.array([2, 2])


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (conv(np.ones((1, 1, 2, 2)), stride=0), "nodes.n.stride"),
        (conv(np.ones((1, 1, 2, 2)), stride=-1), "nodes.n.stride"),
        (conv(np.ones((1, 1, 2, 2)), dilation=0), "nodes.n.dilation"),
        (conv(np.ones((1, 1, 2, 2)), padding=-1), "nodes.n.padding"),
        (conv(np.ones((1, 1, 2, 2)), padding=2**40), "nodes.n.padding"),
        (conv(np.ones((1, 1, 2, 2)), groups=np.array([1, 1])), "nodes.n.groups"),
        (conv(np.ones((1, 1, 0, 2))), "nodes.n.weight"),
        (nir.SumPool2d(np.array([10**5, 10**5]), POOL, POOL * 10**6), "nodes.n.kernel_size"),
        (nir.SumPool2d(POOL, POOL * 0, POOL * 0), "nodes.n.stride"),
        (nir.Delay(np.array(1e12)), "nodes.n.delay"),
        (nir.Delay(np.array(1e308)), "nodes.n.delay"),
        (nir.Linear(np.full((1, 64), 1e308)), "nodes.n.weight"),
    ],
)
def test_windows_and_delays_that_are_none_are_named(node, field):
    network = seen_by(node, 1, 8, 8)
    network.edges.append(("n", "out"))
    with pytest.raises(InvalidModel) as caught:
        make_plan(network, contract(arithmetic="float32", reset="to_v_reset"))
    assert caught.value.field.startswith(field)


def test_what_is_wrong_is_told_in_one_short_line():
    network = seen_by(nir.SumPool2d(np.ones((300, 300)), POOL, POOL), 1, 8, 8)
    network.edges.append(("n", "out"))
    with pytest.raises(InvalidModel, match=r"is float64 of shape \[300, 300\]") as caught:
        make_plan(network, contract())
    assert str(caught.value).isprintable()


def test_coefficients_that_overflow_are_named():
    lif = filled("LIF", tau=5e-324, r=1, v_leak=0, v_threshold=1, v_reset=0)
    with pytest.raises(InvalidModel, match="becomes inf, which float64 lacks") as caught:
        make_plan(chain(lif), contract())
    assert caught.value.field.startswith("nodes.n0.")


def test_edges_that_multiply_through_a_subgraph_are_bounded():
    inner = nir.NIRGraph(
        {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))},
        [("in", "out")],
        type_check=False,
    )
    many = [f"s{number}" for number in range(400)]
    nodes = {"input": nir.Input(np.array([1])), "inner": inner}
    nodes |= {name: nir.Scale(np.ones(1)) for name in many}
    nodes |= {f"t{name}": nir.Output(np.array([1])) for name in many}
    edges = [("input", name) for name in many]
    edges += [(name, "inner") for name in many] + [("inner", f"t{name}") for name in many]
    with pytest.raises(InvalidModel, match="are too many"):
        measure(nir.NIRGraph(nodes, edges, type_check=False), contract())
