"""What a compiled program keeps where: the state and every node's activity, and the lists."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_kernels import AT_ONCE
from simulators.compiled_layout import aligned, padded
from simulators.compiled_rows import PREFETCHED
from simulators.draft import Source
from simulators.neurons import Neuron
from simulators.operations import Delaying
from simulators.plan import Plan, PlanNode


@dataclass(frozen=True, slots=True)
class StateField:
    """One entry of the state: its place in the memory, its size, its first values.

    `depth` is the number of steps of a delay line, None for a membrane or a current.
    """

    at: int
    size: int
    depth: int | None
    initial: NDArray[np.floating] | None = None

    @property
    def width(self) -> int:
        """Elements that it takes."""
        return padded(self.size) * (1 if self.depth is None else self.depth)

    def view(self, held: NDArray[Any]) -> NDArray[Any]:
        """Return it, [batch, size] or [batch, depth, size], of a state [batch, state]."""
        values = held[:, self.at : self.at + self.width]
        if self.depth is None:
            return values[:, : self.size]
        return values.reshape(len(held), self.depth, padded(self.size))[:, :, : self.size]


class Held(Mapping[str, NDArray[Any]]):
    """A run's state, of which an entry is copied when it is asked for: few runs are gone on from.

    Args:
        fields: state key → its place.
        held: [batch, state], as the kernel left it.
    """

    def __init__(self, fields: Mapping[str, StateField], held: NDArray[Any]) -> None:
        self._fields = fields
        self._array = held

    def __getitem__(self, key: str) -> NDArray[Any]:
        return self._fields[key].view(self._array).copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Memory:
    """Gives out places in the memory, and lists.

    Attributes:
        fields: state key → its place, in the reference engine's order.
        room: where the next place begins.
        list_at: where each list begins.
        list_end: where the next one does.
    """

    def __init__(self, plan: Plan) -> None:
        self.fields: dict[str, StateField] = {}
        self.room = 0
        self.list_at: list[int] = []
        self.list_end = 0
        for node in plan.nodes:
            self._add_own(node)
        sizes = {node.name: node.size for node in plan.nodes}
        for node in plan.nodes:
            for source in node.sources:
                if source.delay_steps:
                    self._add(line_between(source, node), sizes[source.node], source.delay_steps)

    def _add_own(self, node: PlanNode) -> None:
        operation = node.operation
        if isinstance(operation, Neuron):
            self._add(f"{node.name}.v", node.size, None, operation.initial_v)
            if operation.synapse is not None:
                self._add(f"{node.name}.i", node.size, None)
        elif isinstance(operation, Delaying):
            self._add(f"{node.name}.line", node.size, int(operation.steps.max(initial=0)))

    def _add(
        self, key: str, size: int, depth: int | None, initial: NDArray[np.floating] | None = None
    ) -> None:
        self.fields[key] = StateField(self.room, size, depth, initial)
        self.room += self.fields[key].width

    def new_room(self, size: int) -> int:
        """Return a place for an activity."""
        at = self.room
        self.room += padded(size)
        return at

    def new_list(self, size: int) -> int:
        """Return the number of a list for as many active elements."""
        self.list_at.append(self.list_end)
        self.list_end += padded(size) + max(PREFETCHED, AT_ONCE)
        return len(self.list_at) - 1

    def initial(self, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
        """Return the memory before the first step."""
        memory = aligned(self.room, dtype)
        for entry in self.fields.values():
            if entry.initial is not None:
                memory[entry.at : entry.at + entry.size] = entry.initial
        return memory


def line_between(source: Source, node: PlanNode) -> str:
    """Return the state's key of the delay line between two nodes."""
    return f"{source.node}->{node.name}.line"
