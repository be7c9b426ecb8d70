"""From a plan to a compiled program: which operations, in which order, and where things lie."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators import compiled_layout as lay
from simulators.compiled_layout import Form, Kind, Program, padded
from simulators.compiled_memory import Memory, StateField, line_between
from simulators.compiled_parameters import (
    Coefficients,
    coefficients_of,
    leaks_of,
    loop_of,
    rules_of,
)
from simulators.compiled_weights import WeightPools, pooled
from simulators.draft import Source
from simulators.neurons import Neuron, cast
from simulators.operations import Delaying, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode


@dataclass(slots=True)
class _Output:
    """Where a node's output of a step lies: in the memory, in a list of what is active, or both.

    Attributes:
        size: elements.
        at: its place in the memory.
        listed: its list.
        kept: whether the list still holds it at the end of a step.
        waiting: the columns of a sum of weights that is not in the program yet, because its reader
            decides where it goes.
    """

    size: int
    at: int | None = None
    listed: int | None = None
    kept: bool = True
    waiting: dict[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """A compiled program, and where a plan's things lie in it.

    Attributes:
        program: what the kernel runs.
        fields: state key → its place.
        outputs: node → the place and the list of its output, -1 for what there is not.
        counters: spiking node → its counter.
    """

    program: Program
    fields: dict[str, StateField]
    outputs: dict[str, tuple[int, int]]
    counters: dict[str, int]


def lower(plan: Plan) -> Lowered:
    """Return the compiled program of a plan."""
    return _Lowering(plan).lower()


class _Lowering:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dtype = np.dtype(plan.contract.arithmetic)
        self.rules = rules_of(plan.contract)
        self.nodes = {node.name: node for node in plan.nodes}
        self.uses = Counter(source.node for node in plan.nodes for source in node.sources)
        self.memory = Memory(plan)
        self.fields = self.memory.fields
        self.operations: list[NDArray[np.int64]] = []
        self.parts: list[tuple[int, int]] = []
        self.outputs: dict[str, _Output] = {}
        self.line_lists: dict[str, int] = {}
        self.counters: dict[str, int] = {}
        self.coefficients = Coefficients(self.dtype)
        self.delays: list[NDArray[np.int64]] = []
        self.weights = WeightPools(self.dtype)

    def lower(self) -> Lowered:
        state_width = self.memory.room
        for node in self.plan.of_kind("Input"):
            self.outputs[node.name] = _Output(node.size, listed=self.memory.new_list(0))
        for node in self.plan.nodes:
            if node.kind != "Input":
                self._lower_node(node)
        for node in self.plan.nodes:
            if self._late(node):
                self._take(node)
        for output in self.outputs.values():
            if output.waiting is not None:
                self._dense(output)
        self._push_lines()
        places = {name: _place(out) for name, out in self.outputs.items()}
        program = self._program(state_width)
        return Lowered(program, self.fields, places, self.counters)

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
            if node.kind == "Output" and (given.listed is None or not given.kept):
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
        out = _Output(node.size, self.memory.new_room(node.size), columns.get(lay.LIST))
        assert out.at is not None
        self._append(kind, node.size, columns | {lay.OUT: out.at})
        self.outputs[node.name] = out

    def _append(self, kind: Kind, size: int, columns: dict[int, int]) -> None:
        row = np.full(lay.COLUMNS, 0, np.int64)
        row[lay.KIND], row[lay.SIZE] = kind, size
        for column, value in columns.items():
            row[column] = value
        if kind == Kind.NEURON:
            row[lay.LOOP] = loop_of(row, self.rules)
        self.operations.append(row)

    def _spiking(self, node: PlanNode) -> dict[int, int]:
        self.counters[node.name] = len(self.counters)
        listed = self.memory.new_list(node.size)
        return {lay.LIST: listed, lay.COUNTER: self.counters[node.name]}

    def _input(self, node: PlanNode) -> _Output:
        """Return what a node is fed: its only source's output as it is, else a sum."""
        if len(node.sources) == 1:
            (source,) = node.sources
            if not source.delay_steps:
                return self.outputs[source.node]
            if source.delay_steps == 1 and self._lists(source.node):
                listed = self.memory.new_list(self.nodes[source.node].size)
                self.line_lists[line_between(source, node)] = listed
                return _Output(self.nodes[source.node].size, listed=listed, kept=False)
        return self._sum(node)

    def _lists(self, name: str) -> bool:
        """Return whether a node's output is a list in any case."""
        node = self.nodes[name]
        if isinstance(node.operation, Passing) and len(node.sources) == 1:
            (source,) = node.sources
            return not source.delay_steps and self._lists(source.node)
        return node.spikes or node.kind == "Input"

    def _sum(self, node: PlanNode) -> _Output:
        """Add a node's sources in their order; weights that nobody else reads add themselves."""
        size = self.nodes[node.sources[0].node].size
        at = self.memory.new_room(size)
        for number, source in enumerate(node.sources):
            adds = {lay.OUT: at, lay.ADDS: int(number > 0)}
            waiting = self._waiting(source)
            if waiting is not None and (number == 0 or _adds_itself(waiting)):
                self._emit(self.outputs[source.node], adds)
                continue
            if source.delay_steps:
                part = self.fields[line_between(source, node)].at, source.delay_steps
            else:
                part = self._dense(self.outputs[source.node]), 0
            columns = {lay.FIRST: len(self.parts), lay.PARTS: 1}
            self.parts.append(part)
            self._append(Kind.GATHER, size, adds | columns)
        return _Output(size, at)

    def _waiting(self, source: Source) -> dict[int, int] | None:
        """Return the sum of weights that waits for this reader, its only one."""
        weights = isinstance(self.nodes[source.node].operation, Weights)
        if source.delay_steps or not weights or self.uses[source.node] > 1:
            return None
        return self.outputs[source.node].waiting

    def _emit(self, output: _Output, to: dict[int, int]) -> None:
        """Append the sum of weights that an output waits for."""
        assert output.waiting is not None
        columns = output.waiting | {lay.SCRATCH: self.memory.new_room(output.size)} | to
        output.at, output.waiting = to[lay.OUT], None
        self._append(Kind.WEIGHTS, output.size, columns)

    def _dense(self, output: _Output) -> int:
        """Return where an output lies in the memory, after bringing it there."""
        if output.waiting is not None:
            self._emit(output, {lay.OUT: self.memory.new_room(output.size)})
        if output.at is None:
            assert output.listed is not None
            output.at = self.memory.new_room(output.size)
            columns = {lay.OUT: output.at, lay.X_LIST: output.listed}
            self._append(Kind.SPREAD, output.size, columns)
        assert output.at is not None
        return output.at

    def _listed(self, output: _Output) -> int:
        """Return the list of what is active in an output, after making it."""
        if output.listed is None:
            at = self._dense(output)
            output.listed = self.memory.new_list(output.size)
            self._append(Kind.SCAN, output.size, {lay.X: at, lay.LIST: output.listed})
        return output.listed

    def _weights(self, node: PlanNode, operation: Weights, given: _Output) -> None:
        stored = self.weights.add(operation.connection)
        bias = -1 if operation.bias is None else self.coefficients.full(operation.bias)
        columns = {
            lay.X_LIST: self._listed(given),
            lay.FORM: stored.form,
            lay.WEIGHT: stored.at,
            lay.PLACE: stored.place,
            lay.NARROW: int(stored.narrow),
            lay.STRIDE: stored.stride,
            lay.FAN_OUT: stored.fan_out,
            lay.FAN_EACH: stored.fan_each,
            lay.BIAS: bias,
            lay.SCALING: self.coefficients.shared(stored.scale),
            lay.ROW_SUMS: stored.row_sums,
        }
        self.outputs[node.name] = _Output(node.size, waiting=columns)

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
            columns |= self._fed(node)
        if neuron.spiking is not None:
            columns |= self._spiking(node)
            if self.plan.contract.spikes_per_step == "one":
                self._append(Kind.NEURON, node.size, columns | {lay.OUT: -1})
                self.outputs[node.name] = _Output(node.size, listed=columns[lay.LIST])
                return
        self._operation(Kind.NEURON, node, columns)

    def _fed(self, node: PlanNode) -> dict[int, int]:
        """Return where a neuron finds its input, and whether it leaves zeros there."""
        given = self._input(node)
        waiting = self._waiting(node.sources[0]) if len(node.sources) == 1 else None
        clears = waiting is not None and waiting[lay.FORM] >= Form.SYNAPSES
        if waiting is not None and clears and waiting[lay.BIAS] < 0:
            self._emit(given, {lay.OUT: self.memory.new_room(given.size), lay.CLEAN: 1})
        else:
            clears = False
        return {lay.X: self._dense(given), lay.CLEARS: int(clears)}

    def _take(self, node: PlanNode) -> None:
        """Move the synaptic current of a neuron that has fired on by the step's input."""
        neuron = node.operation
        assert isinstance(neuron, Neuron)
        columns = self._neuron_columns(node, neuron)
        columns |= self._fed(node) | {lay.FIRES: 0, lay.SPIKING: 0, lay.OUT: -1}
        self._append(Kind.NEURON, node.size, columns)

    def _neuron_columns(self, node: PlanNode, neuron: Neuron) -> dict[int, int]:
        current = self.fields.get(f"{node.name}.i")
        columns = {
            lay.MEMBRANE: self.fields[f"{node.name}.v"].at,
            lay.CURRENT: -1 if current is None else current.at,
            lay.FIRES: 1,
            lay.TAKES: int(current is not None),
            lay.LEAKS: leaks_of(neuron),
            lay.DIRECT: int(neuron.direct),
            lay.SPIKING: int(neuron.spiking is not None),
        }
        decays = self.plan.contract.arithmetic_form == "decay"
        for column, values in coefficients_of(cast(neuron, self.dtype), decays=decays).items():
            columns[column], columns[column + 1] = self.coefficients.stepped(values)
        return columns

    def _push_lines(self) -> None:
        """Put what is delayed into its lines, after bringing to the memory what has to be there."""
        late = [
            (line_between(source, node), source, self.outputs[source.node])
            for node in self.plan.nodes
            for source in node.sources
            if source.delay_steps
        ]
        places = {key: self._dense(out) for key, _, out in late if key not in self.line_lists}
        for key, source, output in late:
            if key in self.line_lists:
                columns = {lay.X_LIST: self._listed(output), lay.LIST: self.line_lists[key]}
                self._append(Kind.PUSH_LIST, output.size, columns)
            else:
                ring = self.fields[key]
                columns = {lay.OUT: places[key], lay.RING: ring.at, lay.DEPTH: source.delay_steps}
                self._append(Kind.PUSH, ring.size, columns)

    def _program(self, state_width: int) -> Program:
        weights = self.weights
        rings = [
            (entry.at, entry.depth, padded(entry.size), self.line_lists.get(key, -1))
            for key, entry in self.fields.items()
            if entry.depth
        ]
        v_min = self.plan.contract.v_min
        return Program(
            operations=np.array(self.operations, np.int64).reshape(-1, lay.COLUMNS),
            parts=np.array(self.parts, np.int64).reshape(-1, lay.PART_COLUMNS),
            rings=np.array(rings, np.int64).reshape(-1, lay.RING_COLUMNS),
            rules=self.rules,
            v_min=self.dtype.type(0 if v_min is None else v_min),
            coefficients=pooled(self.coefficients.parts, self.dtype),
            rows=pooled(weights.rows, self.dtype),
            integers=pooled(weights.integers, np.uint8),
            start=pooled(weights.start, np.int64),
            near=pooled(weights.near, np.uint16),
            post=pooled(weights.post, np.int32),
            weight=pooled(weights.weight, self.dtype),
            fan_out=pooled(weights.fan_out, np.int64),
            delays=pooled(self.delays, np.int64),
            list_at=np.array(self.memory.list_at, np.int64),
            list_size=self.memory.list_end,
            initial=self.memory.initial(self.dtype),
            state_width=state_width,
            counters=len(self.counters),
        )


def _place(output: _Output) -> tuple[int, int]:
    if output.at is not None:
        return output.at, -1
    assert output.listed is not None
    return -1, output.listed


def _adds_itself(weights: dict[int, int]) -> bool:
    """Return whether a sum of weights can be added to what lies there already."""
    return weights[lay.FORM] < Form.SYNAPSES and weights[lay.BIAS] < 0
