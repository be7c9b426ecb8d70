"""The order of nodes in a step, and which edges of a loop are late."""

import pytest

from fusion.errors import InvalidModel
from simulators.order import check_ends, closing_edges, cycle, delays_at_spikes, execution_order

LOOP = [("in", "w"), ("w", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out")]


def names(edges: list[tuple[str, str]]) -> list[str]:
    return sorted({end for edge in edges for end in edge})


def test_a_feed_forward_graph_has_no_closing_edge() -> None:
    diamond = [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")]
    assert closing_edges(names(diamond), diamond, ["in"]) == set()


def test_the_edge_back_into_the_population_closes_the_loop() -> None:
    assert closing_edges(names(LOOP), LOOP, ["in"]) == {("rec", "lif")}


def test_an_edge_to_itself_closes_a_loop() -> None:
    edges = [("in", "lif"), ("lif", "lif"), ("lif", "out")]
    assert closing_edges(names(edges), edges, ["in"]) == {("lif", "lif")}


def test_the_listing_of_nodes_and_edges_does_not_matter() -> None:
    two_layers = [*LOOP, ("out", "back"), ("back", "w")]
    expected = closing_edges(names(two_layers), two_layers, ["in"])
    assert expected == {("rec", "lif"), ("back", "w")}
    assert closing_edges(names(two_layers)[::-1], two_layers[::-1], ["in"]) == expected


def test_a_loop_that_no_input_reaches_is_entered_by_name() -> None:
    edges = [("in", "out"), ("b", "a"), ("a", "b")]
    assert closing_edges(names(edges), edges, ["in"]) == {("b", "a")}


def test_a_chain_of_many_nodes_is_no_trouble() -> None:
    edges = [(f"n{n:05}", f"n{n + 1:05}") for n in range(5000)]
    edges.append(("n05000", "n00000"))
    assert closing_edges(names(edges), edges, ["n00000"]) == {("n05000", "n00000")}


def test_an_edge_from_or_to_a_node_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidModel) as caught:
        closing_edges(["in", "out"], [("in", "nowhere")], ["in"])
    assert caught.value.field == "edges[in -> nowhere]"
    assert "'nowhere' does not exist" in caught.value.problem


def test_the_delay_moves_from_behind_the_weights_to_the_spikes() -> None:
    assert delays_at_spikes(LOOP, {("rec", "lif")}, ["w", "rec"]) == {("lif", "rec")}


def test_the_delay_stays_where_the_weights_also_lead_forward() -> None:
    edges = [*LOOP, ("rec", "out")]
    assert delays_at_spikes(edges, {("rec", "lif")}, ["w", "rec"]) == {("rec", "lif")}


def test_the_delay_stays_where_the_weights_have_a_source_outside_the_loop() -> None:
    edges = [*LOOP, ("in", "rec")]
    assert delays_at_spikes(edges, {("rec", "lif")}, ["w", "rec"]) == {("rec", "lif")}


def test_the_delay_moves_through_weights_and_a_scale() -> None:
    edges = [*LOOP[:3], ("rec", "scale"), ("scale", "lif"), ("lif", "out")]
    closing = closing_edges(names(edges), edges, ["in"])
    assert closing == {("scale", "lif")}
    assert delays_at_spikes(edges, closing, ["w", "rec", "scale"]) == {("lif", "rec")}


def test_every_undelayed_edge_leads_forward_and_ties_go_by_name() -> None:
    assert execution_order(names(LOOP), LOOP, {("lif", "rec")}) == ["in", "rec", "w", "lif", "out"]


def test_nodes_on_an_undelayed_loop_are_left_out_and_the_loop_is_found() -> None:
    placed = execution_order(names(LOOP), LOOP, set())
    assert placed == ["in", "w"]
    assert sorted(cycle(set(names(LOOP)) - set(placed), LOOP)) == ["lif", "rec"]


def test_names_that_cannot_be_printed_are_told_as_escapes() -> None:
    with pytest.raises(InvalidModel) as caught:
        check_ends(["a"], [("a", "b\x7f\x1b[31m")])
    assert caught.value.field == r"edges[a -> b\x7f\x1b[31m]"
    assert str(caught.value).isprintable()
