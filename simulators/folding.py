"""A plan folded into what a chip holds: populations, and synapses with delays between them.

Weights, scales, pooling, flattening and delays between two populations become one sparse matrix for
each presynaptic population and delay; biases become one vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from simulators import order
from simulators.neurons import Neuron
from simulators.operations import Delaying, Operation, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode
from simulators.violation import Violation

Array = NDArray[np.float64]
Matrix = Any
"""scipy.sparse.csr_array, float64 [n_post, n_pre], without stored zeros."""
Tap = tuple[str, int]
"""A presynaptic node, and how many steps later its activity arrives."""


@dataclass(frozen=True, slots=True)
class Drive:
    """What arrives at a node: a linear function of the activity of Inputs and populations.

    Attributes:
        taps: source and delay → weights.
        biases: step → [size], a constant that arrives from this step on.
    """

    taps: Mapping[Tap, Matrix]
    biases: Mapping[int, Array]

    def bias(self, size: int) -> Array:
        """Return the constant [size] that arrives once every part of it does."""
        return sum(self.biases.values(), np.zeros(size))


@dataclass(frozen=True, slots=True)
class Folding:
    """A plan without its stateless nodes.

    Attributes:
        inputs: the Input nodes.
        populations: the nodes with neurons, in the order of the plan.
        outputs: the Output nodes.
        drives: population or Output → what arrives there.
        violations: what in the plan is no network of populations and synapses.
    """

    inputs: tuple[PlanNode, ...]
    populations: tuple[PlanNode, ...]
    outputs: tuple[PlanNode, ...]
    drives: Mapping[str, Drive]
    violations: tuple[Violation, ...]


def fold(plan: Plan) -> Folding:
    """Return the folded plan."""
    inputs, outputs = plan.of_kind("Input"), plan.of_kind("Output")
    populations = tuple(node for node in plan.nodes if isinstance(node.operation, Neuron))
    drives = {
        node.name: Drive({(node.name, 0): _diagonal(np.ones(node.size))}, {})
        for node in (*inputs, *populations)
    }
    ends = {node.name for node in (*inputs, *outputs, *populations)}
    stateless = {node.name: node for node in plan.nodes if node.name not in ends}
    for name in _order(stateless):
        drives[name] = _through(stateless[name].operation, _gather(stateless[name], drives))
    arriving = {node.name: _gather(node, drives) for node in (*populations, *outputs)}
    found = _violations(stateless, stateless.keys() - drives.keys())
    return Folding(inputs, populations, outputs, arriving, found)


def _order(stateless: Mapping[str, PlanNode]) -> list[str]:
    """Return the stateless nodes so that each comes after those that feed it; without loops."""
    edges = [
        (source.node, node.name)
        for node in stateless.values()
        for source in node.sources
        if source.node in stateless
    ]
    return order.execution_order(stateless, edges, ())


def _violations(stateless: Mapping[str, PlanNode], looped: set[str]) -> tuple[Violation, ...]:
    found = [
        Violation(name, "loop", "a loop without neurons", "loops through neurons")
        for name in sorted(looped)[:1]
    ]
    found += [
        Violation(name, "node type", "Threshold", "neurons", "a LIF with tau of one step and r 1")
        for name, node in sorted(stateless.items())
        if isinstance(node.operation, Thresholding)
    ]
    return tuple(found)


def _gather(node: PlanNode, drives: Mapping[str, Drive]) -> Drive:
    """Add what a node's sources deliver, each as late as its edge says."""
    taps: dict[Tap, Matrix] = {}
    biases: dict[int, Array] = {}
    for source in node.sources:
        # What lies behind a stateless loop has no drive; the loop is a violation already.
        drive = drives.get(source.node, Drive({}, {}))
        for (end, delay), matrix in drive.taps.items():
            _add(taps, (end, delay + source.delay_steps), matrix)
        for since, bias in drive.biases.items():
            _add(biases, since + source.delay_steps, bias)
    return Drive(taps, biases)


def _through(operation: Operation, drive: Drive) -> Drive:
    """Return what leaves a stateless node."""
    if isinstance(operation, Weights):
        made = _weighted(_matrix(operation), drive)
        biases = dict(made.biases)
        if operation.bias is not None:
            _add(biases, 0, operation.bias)
        return Drive(made.taps, biases)
    if isinstance(operation, Scaling):
        return _weighted(_diagonal(operation.scale), drive)
    if isinstance(operation, Delaying):
        return _delayed(operation, drive)
    assert isinstance(operation, Passing | Thresholding)
    return drive


def _matrix(weights: Weights) -> Matrix:
    connection = weights.connection
    entries = connection.weight, (connection.post, connection.pre)
    made: Matrix = sparse.coo_array(entries, shape=(connection.n_post, connection.n_pre))
    return made.tocsr()


def _weighted(matrix: Matrix, drive: Drive) -> Drive:
    taps = {tap: _clean(matrix @ part) for tap, part in drive.taps.items()}
    return Drive(taps, {since: matrix @ bias for since, bias in drive.biases.items()})


def _delayed(operation: Delaying, drive: Drive) -> Drive:
    taps: dict[Tap, Matrix] = {}
    biases: dict[int, Array] = {}
    for late in np.unique(operation.steps).tolist():
        chosen = _weighted(_diagonal((operation.steps == late).astype(np.float64)), drive)
        for (end, delay), matrix in chosen.taps.items():
            _add(taps, (end, delay + late), matrix)
        for since, bias in chosen.biases.items():
            _add(biases, since + late, bias)
    return Drive(taps, biases)


def _add(parts: dict[Any, Any], key: Any, value: Any) -> None:
    parts[key] = _clean(parts[key] + value) if key in parts else value


def _clean(value: Any) -> Any:
    """Drop the stored zeros of a matrix; a vector stays as it is."""
    if isinstance(value, np.ndarray):
        return value
    matrix = value.tocsr()
    matrix.eliminate_zeros()
    return matrix


def _diagonal(values: Array) -> Matrix:
    return _clean(sparse.diags_array(values))
