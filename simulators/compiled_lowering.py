"""From a plan to a compiled program: which operations, in which order, and where things lie."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators import compiled_layout as lay
from simulators.compiled_layout import Kind, Program, aligned, padded
from simulators.compiled_rows import PREFETCHED
from simulators.compiled_weights import WeightPools, pooled
from simulators.neurons import Neuron, cast
from simulators.operations import Delaying, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode

UNIFORM = 16
"""Elements that hold a value which all neurons share."""


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


@dataclass(slots=True)
class _Output:
    """Where a node's output of a step lies: in the memory, in a list of what is active, or both."""

    size: int
    at: int | None = None
    listed: int | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """A compiled program, and where a plan's things lie in it.

    Attributes:
        program: what the kernel runs.
        fields: state key → its place.
        outputs: node → where its output lies, for the nodes that have one in the memory.
        counters: spiking node → its counter.
    """

    program: Program
    fields: dict[str, StateField]
    outputs: dict[str, int]
    counters: dict[str, int]


def lower(plan: Plan) -> Lowered:
    """Return the compiled program of a plan."""
    return _Lowering(plan).lower()


class _Lowering:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dtype = np.dtype(plan.contract.arithmetic)
        self.sizes = {node.name: node.size for node in plan.nodes}
        self.fields: dict[str, StateField] = {}
        self.room = 0
        self.operations: list[NDArray[np.int64]] = []
        self.parts: list[tuple[int, int]] = []
        self.outputs: dict[str, _Output] = {}
        self.list_at: list[int] = []
        self.list_end = 0
        self.counters: dict[str, int] = {}
        self.coefficients = _Coefficients(self.dtype)
        self.delays: list[NDArray[np.int64]] = []
        self.weights = WeightPools(self.dtype)

    def lower(self) -> Lowered:
        self._lay_out_state()
        state_width = self.room
        for node in self.plan.of_kind("Input"):
            self.outputs[node.name] = _Output(node.size, listed=self._new_list(0))
        for node in self.plan.nodes:
            if node.kind != "Input":
                self._lower_node(node)
        for node in self.plan.nodes:
            if self._late(node):
                self._take(node)
        for node in self.plan.nodes:
            self._push_lines(node)
        memory = aligned(self.room, self.dtype)
        for entry in self.fields.values():
            if entry.initial is not None:
                memory[entry.at : entry.at + entry.size] = entry.initial
        places = {name: out.at for name, out in self.outputs.items() if out.at is not None}
        program = self._program(memory, state_width)
        return Lowered(program, self.fields, places, self.counters)

    def _lay_out_state(self) -> None:
        """Give every entry of the state a place, in the reference engine's order."""
        for node in self.plan.nodes:
            if isinstance(node.operation, Neuron):
                initial = node.operation.initial_v.astype(self.dtype)
                self._add_field(f"{node.name}.v", node.size, None, initial)
                if node.operation.synapse is not None:
                    self._add_field(f"{node.name}.i", node.size, None)
            elif isinstance(node.operation, Delaying):
                depth = int(node.operation.steps.max(initial=0))
                self._add_field(f"{node.name}.line", node.size, depth)
        for node in self.plan.nodes:
            for source in node.sources:
                if source.delay_steps:
                    key = f"{source.node}->{node.name}.line"
                    self._add_field(key, self.sizes[source.node], source.delay_steps)

    def _add_field(
        self, key: str, size: int, depth: int | None, initial: NDArray[np.floating] | None = None
    ) -> None:
        self.fields[key] = StateField(self.room, size, depth, initial)
        self.room += self.fields[key].width

    def _late(self, node: PlanNode) -> bool:
        operation = node.operation
        return isinstance(operation, Neuron) and self.plan.reads_old_current(operation)

    def _lower_node(self, node: PlanNode) -> None:
        operation = node.operation
        if isinstance(operation, Neuron):
            self._neuron(node, operation)
            return
        given = self._input(node)
        if isinstance(operation, Passing):
            if node.kind == "Output":
                self._dense(given)
            self.outputs[node.name] = given
        elif isinstance(operation, Weights):
            self._weights(node, operation, given)
        elif isinstance(operation, Scaling):
            factor = self.coefficients.full(operation.scale)
            self._operation(Kind.SCALE, node, {lay.X: self._dense(given), lay.FACTOR: factor})
        elif isinstance(operation, Thresholding):
            theta = self.coefficients.full(operation.threshold)
            columns = {lay.X: self._dense(given), lay.FACTOR: theta}
            self._operation(Kind.THRESHOLD, node, columns | self._spiking(node))
        else:
            self._delay(node, operation, given)

    def _operation(self, kind: Kind, node: PlanNode, columns: dict[int, int]) -> None:
        """Append an operation with an output of its own."""
        out = _Output(node.size, self._new_room(node.size), columns.get(lay.LIST))
        assert out.at is not None
        self._append(kind, node.size, columns | {lay.OUT: out.at})
        self.outputs[node.name] = out

    def _append(self, kind: Kind, size: int, columns: dict[int, int]) -> None:
        row = np.full(lay.COLUMNS, 0, np.int64)
        row[lay.KIND], row[lay.SIZE] = kind, size
        for column, value in columns.items():
            row[column] = value
        self.operations.append(row)

    def _new_room(self, size: int) -> int:
        at = self.room
        self.room += padded(size)
        return at

    def _new_list(self, size: int) -> int:
        self.list_at.append(self.list_end)
        self.list_end += padded(size) + PREFETCHED
        return len(self.list_at) - 1

    def _spiking(self, node: PlanNode) -> dict[int, int]:
        self.counters[node.name] = len(self.counters)
        listed = self._new_list(node.size)
        return {lay.LIST: listed, lay.COUNTER: self.counters[node.name]}

    def _input(self, node: PlanNode) -> _Output:
        """Return what a node is fed: its only source's output as it is, else a sum."""
        if len(node.sources) == 1 and not node.sources[0].delay_steps:
            return self.outputs[node.sources[0].node]
        first = len(self.parts)
        for source in node.sources:
            if source.delay_steps:
                ring = self.fields[f"{source.node}->{node.name}.line"]
                self.parts.append((ring.at, source.delay_steps))
            else:
                self.parts.append((self._dense(self.outputs[source.node]), 0))
        size = self.sizes[node.sources[0].node]
        out = _Output(size, self._new_room(size))
        assert out.at is not None
        columns = {lay.OUT: out.at, lay.FIRST: first, lay.PARTS: len(node.sources)}
        self._append(Kind.GATHER, size, columns)
        return out

    def _dense(self, output: _Output) -> int:
        """Return where an output lies in the memory, after bringing it there."""
        if output.at is None:
            assert output.listed is not None
            output.at = self._new_room(output.size)
            columns = {lay.OUT: output.at, lay.X_LIST: output.listed}
            self._append(Kind.SPREAD, output.size, columns)
        return output.at

    def _listed(self, output: _Output) -> int:
        """Return the list of what is active in an output, after making it."""
        if output.listed is None:
            assert output.at is not None
            output.listed = self._new_list(output.size)
            self._append(Kind.SCAN, output.size, {lay.X: output.at, lay.LIST: output.listed})
        return output.listed

    def _weights(self, node: PlanNode, operation: Weights, given: _Output) -> None:
        stored = self.weights.add(operation.connection)
        bias = -1 if operation.bias is None else self.coefficients.full(operation.bias)
        columns = {
            lay.X_LIST: self._listed(given),
            lay.FORM: stored.form,
            lay.WEIGHT: stored.at,
            lay.STRIDE: stored.stride,
            lay.FAN_OUT: stored.fan_out,
            lay.BIAS: bias,
            lay.SCALING: self.coefficients.shared(stored.scale),
            lay.ROW_SUMS: stored.row_sums,
        }
        self._operation(Kind.WEIGHTS, node, columns)

    def _delay(self, node: PlanNode, operation: Delaying, given: _Output) -> None:
        ring = self.fields[f"{node.name}.line"]
        steps = sum(part.size for part in self.delays)
        self.delays.append(operation.steps)
        assert ring.depth is not None
        columns = {lay.X: self._dense(given), lay.RING: ring.at}
        columns |= {lay.DEPTH: ring.depth, lay.STEPS: steps}
        self._operation(Kind.DELAY, node, columns)

    def _neuron(self, node: PlanNode, neuron: Neuron) -> None:
        columns = self._neuron_columns(node, neuron)
        if self._late(node):
            columns |= {lay.X: columns[lay.CURRENT], lay.TAKES: 0}
        else:
            columns[lay.X] = self._dense(self._input(node))
        if neuron.spiking is not None:
            columns |= self._spiking(node)
        self._operation(Kind.NEURON, node, columns)

    def _take(self, node: PlanNode) -> None:
        """Move the synaptic current of a neuron that has fired on by the step's input."""
        neuron = node.operation
        assert isinstance(neuron, Neuron)
        columns = self._neuron_columns(node, neuron)
        columns |= {lay.X: self._dense(self._input(node)), lay.FIRES: 0, lay.SPIKING: 0}
        self._append(Kind.NEURON, node.size, columns)

    def _neuron_columns(self, node: PlanNode, neuron: Neuron) -> dict[int, int]:
        current = self.fields.get(f"{node.name}.i")
        columns = {
            lay.MEMBRANE: self.fields[f"{node.name}.v"].at,
            lay.CURRENT: -1 if current is None else current.at,
            lay.FIRES: 1,
            lay.TAKES: int(current is not None),
            lay.LEAKS: _leaks(neuron),
            lay.DIRECT: int(neuron.direct),
            lay.SPIKING: int(neuron.spiking is not None),
        }
        decays = self.plan.contract.arithmetic_form == "decay"
        for column, values in _coefficients(cast(neuron, self.dtype), decays=decays).items():
            columns[column], columns[column + 1] = self.coefficients.stepped(values)
        return columns

    def _push_lines(self, node: PlanNode) -> None:
        for source in node.sources:
            if source.delay_steps:
                ring = self.fields[f"{source.node}->{node.name}.line"]
                at = self._dense(self.outputs[source.node])
                columns = {lay.OUT: at, lay.RING: ring.at, lay.DEPTH: source.delay_steps}
                self._append(Kind.PUSH, ring.size, columns)

    def _program(self, memory: NDArray[np.floating], state_width: int) -> Program:
        weights = self.weights
        rings = [
            (entry.at, entry.depth, padded(entry.size))
            for entry in self.fields.values()
            if entry.depth
        ]
        v_min = self.plan.contract.v_min
        return Program(
            operations=np.array(self.operations, np.int64).reshape(-1, lay.COLUMNS),
            parts=np.array(self.parts, np.int64).reshape(-1, 2),
            rings=np.array(rings, np.int64).reshape(-1, 3),
            rules=rules_of(self.plan.contract),
            v_min=self.dtype.type(0 if v_min is None else v_min),
            coefficients=pooled(self.coefficients.parts, self.dtype),
            rows=pooled(weights.rows, self.dtype),
            integers=pooled(weights.integers, np.int8),
            start=pooled(weights.start, np.int64),
            post=pooled(weights.post, np.int32),
            weight=pooled(weights.weight, self.dtype),
            fan_out=pooled(weights.fan_out, np.int64),
            delays=pooled(self.delays, np.int64),
            list_at=np.array(self.list_at, np.int64),
            list_size=self.list_end,
            initial=memory,
            state_width=state_width,
            counters=len(self.counters),
        )


@dataclass(slots=True)
class _Coefficients:
    """Collects parameters, each rounded once to the contract's float type."""

    dtype: np.dtype[np.floating]
    parts: list[NDArray[np.floating]] = field(default_factory=list)
    end: int = 0

    def full(self, values: NDArray[Any]) -> int:
        """Return where one value for every element lies."""
        part = np.zeros(padded(values.size), self.dtype)
        part[: values.size] = values
        return self._add(part)

    def shared(self, value: float) -> int:
        """Return where a value lies that all elements share."""
        return self._add(np.full(UNIFORM, value, self.dtype))

    def stepped(self, values: NDArray[Any]) -> tuple[int, int]:
        """Return where values lie, and 0 if all are the same, else 1."""
        if values.tobytes() == np.full_like(values, values[:1]).tobytes():
            return self.shared(values[0]), 0
        return self.full(values), 1

    def _add(self, part: NDArray[np.floating]) -> int:
        at = self.end
        self.parts.append(part)
        self.end += part.size
        return at


def _leaks(neuron: Neuron) -> int:
    if neuron.leak is None:
        return lay.KEEPS
    return lay.ADDS_INPUT if neuron.direct and neuron.synapse is None else lay.DECAYS


def _coefficients(neuron: Neuron, *, decays: bool) -> dict[int, NDArray[np.float64]]:
    """Return column → the coefficients that the contract's form of arithmetic uses."""
    found = {lay.LEAK_3: neuron.gain}
    leak, synapse, spiking = neuron.leak, neuron.synapse, neuron.spiking
    if leak is not None:
        one, two, three = (leak.keep, leak.drive, leak.rest) if decays else (
            leak.rate, leak.v_leak, neuron.gain
        )  # fmt: skip
        found = {lay.LEAK_1: one, lay.LEAK_2: two, lay.LEAK_3: three}
    if synapse is not None:
        one, two = (synapse.keep, synapse.drive) if decays else (synapse.rate, synapse.w_in)
        found |= {lay.SYNAPSE_1: one, lay.SYNAPSE_2: two}
    if spiking is not None:
        found |= {lay.THETA: spiking.v_threshold, lay.V_RESET: spiking.v_reset}
    return found


def rules_of(contract: ExecutionContract) -> NDArray[np.int64]:
    """Return the contract's choices as the kernel takes them."""
    timings = ("same_step", "next_step_before_input", "next_step_after_input")
    rules = np.zeros(lay.RULES, np.int64)
    rules[lay.DECAY_FORM] = contract.arithmetic_form == "decay"
    rules[lay.ADD_FIRST] = contract.synapse_order == "add_then_decay"
    rules[lay.TIMING] = timings.index(contract.reset_timing)
    rules[lay.SUBTRACT] = contract.reset == "subtract_threshold"
    rules[lay.AT_THRESHOLD] = contract.spike_condition == ">="
    rules[lay.SEVERAL] = contract.spikes_per_step == "floor"
    rules[lay.BOUNDED] = contract.v_min is not None
    return rules
