"""How late a contract with feed-forward delays makes the nodes of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.plan import Plan


@dataclass(frozen=True, slots=True)
class Latency:
    """Steps by which what an Input does arrives later than without feed-forward delays.

    Attributes:
        shortest: over the path with the fewest such delays.
        longest: over the path with the most.
    """

    shortest: int
    longest: int


def latencies(plan: Plan) -> Mapping[str, Latency]:
    """Return the latency of every node that an Input reaches.

    Delays of loops do not count, and neither do Delay nodes: they are part of the model.
    """
    found = {node.name: Latency(0, 0) for node in plan.of_kind("Input")}
    for node in plan.nodes:
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
