from dataclasses import dataclass

import numpy as np
from support.stored import made

from fusion.held import held_bytes


@dataclass(frozen=True, slots=True)
class Slotted:
    array: object
    name: str


class Plain:
    def __init__(self, *items):
        self.items = {"in": list(items)}
        self.me = self  # a circle


def test_arrays_are_found_wherever_they_are_held_and_counted_once():
    one, two = np.zeros(100), np.zeros(10, np.int32)
    assert held_bytes(one) == 800
    assert held_bytes(Plain(one, (two, one), Slotted(two, "two"), b"1234")) == 800 + 40 + 4


def test_views_count_as_what_they_keep_in_memory():
    one = np.zeros(100)
    assert held_bytes([one[:1], one[1:]]) == 800
    assert held_bytes(Plain(one[2:3].reshape(1, 1))) == 800


def test_what_another_object_holds_can_be_left_out():
    one, two = np.zeros(100), np.zeros(10)
    assert held_bytes([one, two], besides=[Plain(one)]) == 80


def test_a_model_holds_its_files_and_its_graph():
    model = made()
    files = sum(map(len, model.content.values()))
    weights = sum(node.weight.nbytes for name, node in model.graph.nodes.items() if "_in" in name)
    assert held_bytes(model) > files + weights
    assert held_bytes(model) < 3 * files
