"""What holds of the order of nodes in every graph."""

from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulators.order import Edge, closing_edges, cycle, delays_at_spikes, execution_order

NAMES = [f"n{number}" for number in range(8)]
GRAPHS = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20)
ROOTS = st.sets(st.sampled_from(NAMES), max_size=2)
FORWARD = GRAPHS.map(lambda edges: {(a, b) for a, b in edges if a < b})


def acyclic(edges: set[Edge]) -> bool:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for source, target in edges:
        sorter.add(target, source)
    try:
        sorter.prepare()
    except CycleError:
        return False
    return True


@given(GRAPHS, ROOTS)
def test_without_its_closing_edges_a_graph_has_no_cycle(edges: set[Edge], roots: set[str]) -> None:
    closing = closing_edges(NAMES, edges, roots)
    assert closing <= edges
    assert acyclic(edges - closing)
    assert bool(closing) is not acyclic(edges)


@given(GRAPHS, ROOTS)
def test_every_closing_edge_lies_on_a_cycle(edges: set[Edge], roots: set[str]) -> None:
    for source, target in closing_edges(NAMES, edges, roots):
        reached, waiting = set(), [target]
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting += [end for start, end in edges if start == node]
        assert source in reached


@given(FORWARD, ROOTS, st.permutations(NAMES))
def test_names_do_not_make_a_loop(edges: set[Edge], roots: set[str], names: list[str]) -> None:
    renamed = dict(zip(NAMES, names, strict=True))
    moved = {(renamed[source], renamed[target]) for source, target in edges}
    assert closing_edges(NAMES, moved, roots) == set()


@given(GRAPHS, ROOTS, st.permutations(NAMES))
def test_the_listing_does_not_matter(edges: set[Edge], roots: set[str], names: list[str]) -> None:
    closing = closing_edges(NAMES, sorted(edges), roots)
    assert closing_edges(names, sorted(edges, reverse=True), roots) == closing
    order = execution_order(NAMES, sorted(edges), closing)
    assert execution_order(names, sorted(edges, reverse=True), closing) == order


@given(GRAPHS, ROOTS, st.sets(st.sampled_from(NAMES)))
def test_moved_delays_leave_one_delay_on_every_loop_and_all_nodes_in_order(
    edges: set[Edge], roots: set[str], stateless: set[str]
) -> None:
    closing = closing_edges(NAMES, edges, roots)
    delayed = delays_at_spikes(edges, closing, stateless)
    assert delayed <= edges
    assert acyclic(edges - delayed)
    order = execution_order(NAMES, edges, delayed)
    assert sorted(order) == NAMES
    assert all(order.index(a) < order.index(b) for a, b in edges - delayed)
    if not stateless:
        assert delayed == closing


@given(GRAPHS)
def test_what_is_left_out_of_the_order_holds_a_cycle(edges: set[Edge]) -> None:
    order = execution_order(NAMES, edges, set())
    left = set(NAMES) - set(order)
    assume(left)
    found = cycle(left, edges)
    assert set(found) <= left
    assert all(pair in edges for pair in zip(found, [*found[1:], found[0]], strict=True))


def test_the_check_of_these_tests_sees_a_cycle() -> None:
    assert not acyclic({("a", "b"), ("b", "a")})
    with pytest.raises(AssertionError):
        assert acyclic({("a", "a")})
