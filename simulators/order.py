"""The order in which the nodes of a graph are stepped, and the edges that close a cycle."""

from collections.abc import Collection, Iterable, Mapping

from fusion.errors import InvalidModel, listed

Edge = tuple[str, str]


def check_ends(nodes: Collection[str], edges: Iterable[Edge]) -> None:
    """Check that edges lead from node to node.

    Raises:
        InvalidModel: if an edge names a node that does not exist.
    """
    for source, target in edges:
        for end in (source, target):
            if end not in nodes:
                raise InvalidModel(
                    f"edges[{source} -> {target}]",
                    f"node {end!r} does not exist",
                    listed(sorted(nodes)),
                )


def closing_edges(nodes: Iterable[str], edges: Iterable[Edge], roots: Iterable[str]) -> set[Edge]:
    """Return the edges that close a cycle.

    They are the back edges of a depth-first search that starts at the roots by name and follows
    successors by name; nodes that no root reaches follow by name. Without them the graph has no
    cycle.

    Raises:
        InvalidModel: if an edge names a node that does not exist.
    """
    successors: dict[str, list[str]] = {name: [] for name in nodes}
    edges = list(edges)
    check_ends(successors, edges)
    for source, target in edges:
        successors[source].append(target)
    closing: set[Edge] = set()
    done: set[str] = set()
    for root in [*sorted(roots), *sorted(successors)]:
        if root not in done:
            _search(root, successors, done, closing)
    return closing


def _search(
    root: str, successors: Mapping[str, list[str]], done: set[str], closing: set[Edge]
) -> None:
    """Walk depth first from `root` without recursion, which deep graphs would exhaust."""
    path = {root}
    stack = [(root, iter(sorted(successors[root])))]
    while stack:
        node, rest = stack[-1]
        target = next(rest, None)
        if target is None:
            stack.pop()
            path.discard(node)
            done.add(node)
        elif target in path:
            closing.add((node, target))
        elif target not in done:
            path.add(target)
            stack.append((target, iter(sorted(successors[target]))))


def delays_at_spikes(
    edges: Iterable[Edge], closing: Iterable[Edge], stateless: Iterable[str]
) -> set[Edge]:
    """Move the delay of closing edges up to the spikes that feed their weights.

    Where a closing edge leaves a stateless node (weights, a scale) whose every outgoing edge is
    delayed and that only the cycle feeds, the edges into that node carry the delay instead, so
    that its bias acts from the first step on. Repeats until nothing moves.
    """
    incoming: dict[str, list[Edge]] = {}
    outgoing: dict[str, list[Edge]] = {}
    for edge in edges:
        incoming.setdefault(edge[1], []).append(edge)
        outgoing.setdefault(edge[0], []).append(edge)
    delayed = set(closing)
    tried: set[Edge] = set()
    while waiting := sorted(delayed - tried):
        tried.update(waiting)
        for node in sorted({source for source, _ in waiting} & set(stateless)):
            feeding, leaving = incoming.get(node, []), outgoing[node]
            within = _reachable(node, outgoing)
            movable = all(source in within for source, _ in feeding) and not tried & set(feeding)
            if feeding and movable and delayed.issuperset(leaving):
                delayed.difference_update(leaving)
                delayed.update(feeding)
    return delayed


def step_delays(
    edges: Collection[Edge],
    closing: Collection[Edge],
    weighted: Collection[str],
    recurrent_steps: int,
    feedforward_steps: int,
) -> dict[Edge, int]:
    """Return how many steps late each edge delivers.

    Every weighted node costs `feedforward_steps` on the edges into it, so that its bias acts from
    the first step on. Where the delay of a loop lies on an edge at the node already, on the spikes
    into it or behind its weights, that delay pays for the node.

    Args:
        edges: all edges.
        closing: the edges on which a loop's delay lies.
        weighted: nodes with weights.
        recurrent_steps: delay of a closing edge.
        feedforward_steps: delay of a weighted node.
    """
    delays = {edge: recurrent_steps * (edge in closing) for edge in edges}
    behind = {s for s, t in closing if s in weighted and t not in weighted and recurrent_steps}
    for source, target in edges:
        paid = recurrent_steps > 0 and (source, target) in closing
        if source in behind and not paid:
            delays[source, target] += feedforward_steps
        if target in weighted and target not in behind and not paid:
            delays[source, target] += feedforward_steps
    return delays


def _reachable(start: str, outgoing: Mapping[str, list[Edge]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for _, target in outgoing.get(waiting.pop(), []):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def execution_order(
    nodes: Iterable[str], edges: Iterable[Edge], delayed: Collection[Edge]
) -> list[str]:
    """Return the nodes so that every undelayed edge leads forward, ties broken by name.

    Nodes on a cycle of undelayed edges, and those behind one, are left out.
    """
    waiting = dict.fromkeys(nodes, 0)
    successors: dict[str, list[str]] = {name: [] for name in waiting}
    for source, target in edges:
        if (source, target) not in delayed:
            waiting[target] += 1
            successors[source].append(target)
    order: list[str] = []
    ready = sorted(name for name, count in waiting.items() if count == 0)
    while ready:
        order.extend(ready)
        following = []
        for name in ready:
            for target in successors[name]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    following.append(target)
        ready = sorted(following)
    return order


def cycle(nodes: Collection[str], edges: Collection[Edge]) -> list[str]:
    """Return one cycle among nodes of which every one has an edge from another one into it."""
    into: dict[str, str] = {}
    for source, target in sorted(edges):
        if source in nodes and target in nodes:
            into.setdefault(target, source)
    path = [min(nodes)]
    while path.count(path[-1]) == 1:
        path.append(into[path[-1]])
    return path[path.index(path[-1]) + 1 :][::-1]
