"""How late a contract with feed-forward delays makes the nodes of a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulators.draft import Draft
from simulators.plan import PlanNode


@dataclass(frozen=True, slots=True)
class Latency:
    """Steps by which what an Input does arrives later than without feed-forward delays.

    Attributes:
        shortest: over the path with the fewest such delays.
        longest: over the path with the most.
    """

    shortest: int
    longest: int


def latencies(nodes: Sequence[Draft] | Sequence[PlanNode]) -> Mapping[str, Latency]:
    """Return the latency of every node that an Input reaches.

    The nodes are those of a plan, in its order. Delays of loops do not count, and neither do Delay
    nodes: they are part of the model.
    """
    found = {node.name: Latency(0, 0) for node in nodes if node.kind == "Input"}
    for node in nodes:
        # In the order of the plan, the delays of loops lie on edges that lead backward.
        arriving = [
            (found[source.node], source.delay_steps)
            for source in node.sources
            if source.node in found
        ]
        if arriving:
            found[node.name] = Latency(
                min(one.shortest + late for one, late in arriving),
                max(one.longest + late for one, late in arriving),
            )
    return found
