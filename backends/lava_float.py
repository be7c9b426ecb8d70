"""A NIR plan in Lava's floating-point process models: u = u(1−du) + a, v = v(1−dv) + u + b.

Everything becomes one feed, one population and connections from both into the population. A step
then costs a handful of Lava's processes however deep the network is, and as a rule no more than two
sums meet in a neuron: with three, Lava adds them in an order that changes from run to run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array, eye_array

from backends.base import Violation
from fusion.contract import CHOICES
from fusion.profiles import PROFILES
from simulators.neurons import Neuron
from simulators.operations import Delaying, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode

Array = NDArray[np.float64]
Paths = dict[tuple[str, int], csr_array]
"""Sending node ("" for a constant 1) and steps → what of it arrives that many steps later."""

FEED, POPULATION = "inputs", "neurons"
_CONSTANT = ""
_GRADED_BITS = 16

_FREE = (
    "time_unit", "integrator", "input_gain", "if_gain", "initial_v", "binning", "delay_rounding",
    "recurrent_delay_at", "exact",
)  # fmt: skip
SUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        name: choices if name in _FREE else (PROFILES["lava-float"][name],)
        for name, choices in {**CHOICES, "v_min": (None,)}.items()
    }
)
"""Contract field → what Lava's float models do: the profile's value, and any of what only decides
their coefficients."""


@dataclass(frozen=True, slots=True)
class FloatNetwork:
    """A plan as Lava's child takes it.

    Attributes:
        parts: the child's tree.
        inputs: Input node → its lines of the feed, whose last line is always 1.
        neurons: node → its neurons of the population.
        v_reset: [neurons], what 0 of Lava's membrane stands for.
        drive: [neurons], Lava's u for a synaptic current of 1.
    """

    parts: Mapping[str, Any]
    inputs: Mapping[str, slice]
    neurons: Mapping[str, slice]
    v_reset: Array
    drive: Array


def float_violations(plan: Plan) -> list[Violation]:
    """Return everything in a plan that Lava's float models cannot do."""
    nodes = {node.name: node for node in plan.nodes}
    paths = _paths(plan)
    found = []
    for node in plan.nodes:
        if node.kind == "Output":
            whole = len(node.sources) == 1 and not node.sources[0].delay_steps
            if not whole or not _steps(nodes[node.sources[0].node]):
                reads = " + ".join(source.node for source in node.sources)
                found.append(Violation(node.name, "source", reads, "one population, as it is"))
        elif _steps(node):
            for sender, steps in paths[node.name]:
                if not steps and sender != _CONSTANT:
                    limit, nearest = f"steps from {sender}", "a Linear or Affine in between"
                    found.append(Violation(node.name, limit, "0", "1 or more", nearest))
                if sender in nodes and _steps(nodes[sender]) and not nodes[sender].spikes:
                    found.append(Violation(node.name, "input", f"{sender}'s membrane", "spikes"))
    return found


def float_network(plan: Plan) -> FloatNetwork:
    """Return a plan without violations as one feed, one population and their synapses."""
    inputs = _slices(plan.of_kind("Input"))
    steppers = [node for node in plan.nodes if _steps(node)]
    neurons = _slices(steppers)
    lines = sum(node.size for node in plan.of_kind("Input")) + 1
    cells = [_cell(node) for node in steppers]
    population = {
        name: np.concatenate([getattr(cell, name) for cell in cells]) for name in _Cell.__slots__
    }
    synapses = _synapses(plan, inputs, neurons, population.pop("gain"))
    size = population["v"].size
    v_reset, drive = population.pop("v_reset"), population.pop("drive")
    parts = {
        "arithmetic": "float",
        "inputs": [{"name": FEED, "size": lines}],
        "populations": [
            {"name": POPULATION, "size": size, "bias_exp": 0, "reset": None, **population}
        ],
        "connections": [
            *_connections(FEED, lines, size, synapses[FEED], _GRADED_BITS),
            *_connections(POPULATION, size, size, synapses[POPULATION], 0),
        ],
    }
    return FloatNetwork(parts, inputs, neurons, v_reset, drive)


@dataclass(frozen=True, slots=True)
class _Cell:
    """Lava's coefficients of one node, each [neurons]; its membrane is ours less v_reset."""

    du: Array
    dv: Array
    vth: Array
    bias_mant: Array
    v: Array
    gain: Array
    v_reset: Array
    drive: Array


def _cell(node: PlanNode) -> _Cell:
    zero, one = np.zeros(node.size), np.ones(node.size)
    neuron = node.operation
    if isinstance(neuron, Thresholding):
        return _Cell(one, one, neuron.threshold, zero, zero, one, zero, one)
    assert isinstance(neuron, Neuron)
    leak, synapse, spiking = neuron.leak, neuron.synapse, neuron.spiking
    v_reset = zero if spiking is None else spiking.v_reset
    drive = neuron.gain if leak is None else leak.drive
    return _Cell(
        du=one if synapse is None else synapse.rate,
        dv=zero if leak is None else leak.rate,
        vth=one * np.inf if spiking is None else spiking.v_threshold - v_reset,
        bias_mant=zero if leak is None else leak.rest - leak.rate * v_reset,
        v=neuron.initial_v - v_reset,
        gain=drive if synapse is None else drive * synapse.drive,
        v_reset=v_reset,
        drive=drive,
    )


def _steps(node: PlanNode) -> bool:
    """Return whether a node becomes neurons."""
    return isinstance(node.operation, Neuron | Thresholding)


def _slices(nodes: Any) -> dict[str, slice]:
    slices, start = {}, 0
    for node in nodes:
        slices[node.name] = slice(start, start + node.size)
        start += node.size
    return slices


def _paths(plan: Plan) -> dict[str, Paths]:
    """Return node → what arrives at it, through everything that is no neuron."""
    nodes = {node.name: node for node in plan.nodes}
    arriving: dict[str, Paths] = {}

    def sent(name: str) -> Paths:
        node = nodes[name]
        if _steps(node) or node.kind == "Input":
            return {(name, 0): csr_array(eye_array(node.size))}
        return _passed(node, collected(name))

    def collected(name: str) -> Paths:
        if name not in arriving:
            found: Paths = {}
            for source in nodes[name].sources:
                for (sender, steps), matrix in sent(source.node).items():
                    _add(found, (sender, steps + source.delay_steps), matrix)
            arriving[name] = found
        return arriving[name]

    return {node.name: collected(node.name) for node in plan.nodes if _steps(node)}


def _add(paths: Paths, key: tuple[str, int], matrix: csr_array) -> None:
    paths[key] = paths[key] + matrix if key in paths else matrix


def _passed(node: PlanNode, arriving: Paths) -> Paths:
    """Return what a node that is no neuron makes of what arrives at it."""
    operation = node.operation
    if isinstance(operation, Weights):
        synapses = operation.connection
        weights = csr_array(
            (synapses.weight, (synapses.post, synapses.pre)), (synapses.n_post, synapses.n_pre)
        )
        passed = {key: weights @ matrix for key, matrix in arriving.items()}
        if operation.bias is not None:
            _add(passed, (_CONSTANT, 0), csr_array(operation.bias[:, None]))
        return passed
    if isinstance(operation, Scaling):
        return {key: csr_array(diags_array(operation.scale) @ m) for key, m in arriving.items()}
    if isinstance(operation, Delaying):
        later: Paths = {}
        for (sender, steps), matrix in arriving.items():
            for delay in np.unique(operation.steps):
                rows = diags_array((operation.steps == delay).astype(float))
                _add(later, (sender, steps + int(delay)), csr_array(rows @ matrix))
        return later
    return arriving


def _synapses(
    plan: Plan, inputs: Mapping[str, slice], neurons: Mapping[str, slice], gain: Array
) -> dict[str, list[tuple[Array, ...]]]:
    """Return feed or population → arrays of post, pre, weight, steps on top of the one, and whether
    it is a constant that is there from the first step on."""
    constant = max((part.stop for part in inputs.values()), default=0)
    found: dict[str, list[tuple[Array, ...]]] = {FEED: [], POPULATION: []}
    for target, paths in _paths(plan).items():
        for (sender, steps), matrix in paths.items():
            entries = coo_array(matrix)
            entries.eliminate_zeros()
            from_neurons = sender in neurons
            first = (neurons if from_neurons else inputs).get(sender, slice(constant, None)).start
            post = entries.coords[0] + neurons[target].start
            # A constant that is there at once is under way already at the start: see `line`.
            extra = np.full(post.size, max(steps, 1) - 1)
            at_once = np.full(post.size, not steps)
            part = (post, entries.coords[1] + first, entries.data * gain[post], extra, at_once)
            found[POPULATION if from_neurons else FEED].append(part)
    return found


def _connections(
    source: str, n_pre: int, n_post: int, parts: list[tuple[Array, ...]], bits: int
) -> Iterator[dict[str, Any]]:
    """Give Lava's connections: one, unless two paths of different length join the same neurons."""
    if not parts:
        return
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[3], columns[1], columns[0]))
    post, pre, weight, delay, at_once = (column[order] for column in columns)
    _, start, number = np.unique(post * n_pre + pre, return_index=True, return_inverse=True)
    layer = np.arange(post.size) - start[number]
    for one in range(int(layer.max(initial=-1)) + 1):
        chosen = layer == one
        line = np.zeros((int(delay[chosen].max()) + 1, n_post))
        np.add.at(line[0], post[chosen & at_once], weight[chosen & at_once])
        yield {
            "kind": "sparse", "name": f"{source}.{one}", "source": source, "target": POPULATION,
            "post": post[chosen], "pre": pre[chosen], "weights": weight[chosen],
            "delays": delay[chosen] if np.any(delay[chosen]) else None,
            "n_pre": n_pre, "n_post": n_post, "num_message_bits": bits, "line": line,
        }  # fmt: skip
