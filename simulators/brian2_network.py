"""A plan as a Brian2 network: a NeuronGroup for each node, Synapses for each weight matrix.

No group has differential equations. What the contract asks for in a step is code that runs at one
place of the step, so that a spike passes through every layer within the step. All of it sits in one
slot of Brian2's schedule, ordered by the node's place in the plan; what neurons do that read their
old synaptic current, to take their input last, comes behind all nodes.

Objects are named by kind and number: equal structures then give equal source texts, which share
their compiled modules whatever the sizes and the names of the nodes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.brian2_codegen import FUNCTIONS, CannotCompile, b2, check_compiler, preferences
from simulators.brian2_equations import neuron_code
from simulators.connectivity import Connection
from simulators.draft import Source
from simulators.neurons import Neuron, cast
from simulators.operations import Delaying, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode
from simulators.trace import FloatArray, State

_SLOT = "synapses"
_GATHER, _GATHERED, _SYNAPSES, _UPDATE, _EVENT, _PLACES = range(6)
"""Places of one node in a step, and their number."""


class Brian2Network:
    """A Brian2 network of `copies` independent copies of a plan.

    Its arrays are [copies, neurons], views of Brian2's own memory.

    Attributes:
        activity: node → its output in the step.
        state: `NODE.v` and `NODE.i` → membrane potential and synaptic current.
        lines: state key of a delay line → [copies, steps, neurons], oldest first.
        weighted: node with weights → the activity its synapses see, and the fan-out [n_pre].
        initial: the state of one copy before the first step.
    """

    def __init__(self, plan: Plan, copies: int) -> None:
        self.activity: dict[str, FloatArray] = {}
        self.state: dict[str, FloatArray] = {}
        self.lines: dict[str, FloatArray] = {}
        self.weighted: dict[str, tuple[FloatArray, NDArray[np.int64]]] = {}
        self._plan = plan
        self._copies = copies
        self._dtype = plan.float_type
        self._sizes = {node.name: node.size for node in plan.nodes}
        self._clock = b2.Clock(dt=1 * b2.second, name="steps")
        self._names: Counter[str] = Counter()
        self._groups: dict[str, Any] = {}
        self._objects: list[Any] = []
        self._edges: list[tuple[str, str, FloatArray]] = []
        self._late: list[tuple[PlanNode, str]] = []
        self._base = 0
        with preferences("numpy", self._dtype):
            for place, node in enumerate(plan.nodes):
                self._base = place * _PLACES
                self._groups[node.name] = self._made(node)
                self.activity[node.name] = self._view(self._groups[node.name], "activity")
            self._base = len(plan.nodes) * _PLACES
            for node, take in self._late:
                group = self._groups[node.name]
                _link(group, self._sources(node))
                self._update(group, take, name="take")
        self._network = b2.Network(self._objects)
        self._updaters: list[Any] = []
        self.initial: State = {key: values[:1].copy() for key, values in self.held().items()}

    def prepare(self, target: str, cache: Path | None = None) -> None:
        """Generate, and for the target `cython` compile, the code of every object."""
        with preferences(target, self._dtype, cache):
            if target == "cython":
                check_compiler()
            try:
                self._network.run(0 * b2.second, namespace={})
            except Exception as error:
                if target == "cython":
                    raise CannotCompile(str(error.__cause__ or error)) from error
                raise
        things = self._network.sorted_objects
        self._updaters = [
            thing
            for thing in things
            if thing.active and (thing.code_objects or isinstance(thing, b2.NetworkOperation))
        ]

    def held(self) -> dict[str, FloatArray]:
        """Return the state by key; the arrays change with the next step."""
        return {**self.state, **self.lines}

    def load(self, state: State) -> None:
        """Go on from this state of the first copies; the others start anew, without input."""
        samples = len(next(iter(state.values()), ()))
        for key, values in self.held().items():
            values[:] = self.initial[key]
            values[:samples] = state[key]
        for activity in self.activity.values():
            activity[:] = 0

    def step(self) -> None:
        """Run one step, with the activity of the Input nodes in place."""
        for key, _, arriving in self._edges:
            arriving[:] = self.lines[key][:, 0]
        # Network.run would translate all code anew at each call, which takes longer than most runs.
        for updater in self._updaters:
            updater.run()
        for key, source, _ in self._edges:
            self._push(key, self.activity[source])

    def _push(self, key: str, newest: FloatArray) -> FloatArray:
        """Move a delay line on by a step; return it as it was, with the newest at its end."""
        line = np.concatenate((self.lines[key], newest[:, None]), axis=1)
        self.lines[key] = line[:, 1:]
        return line

    def _made(self, node: PlanNode) -> Any:
        """Return the group whose `activity` is the node's output."""
        if isinstance(node.operation, Neuron):
            return self._neurons(node, node.operation)
        sources = self._sources(node)
        x = _sum(len(sources))
        match node.operation:
            case Passing():
                made = self._gathered(sources, node.size)
            case Weights() as weights:
                made = self._weights(node, weights, sources)
            case Scaling(scale=scale):
                made = self._elementwise("scale", sources, f"scale*({x})", scale=scale)
            case Thresholding(threshold=theta):
                test = f"int(({x}) {self._plan.contract.spike_condition} theta)"
                made = self._elementwise("threshold", sources, test, theta=theta)
            case Delaying(steps=steps):
                made = self._delay(node, steps, sources)
        return made

    def _sources(self, node: PlanNode) -> list[Any]:
        return [self._source(node, source) for source in node.sources]

    def _source(self, node: PlanNode, source: Source) -> Any:
        if not source.delay_steps:
            return self._groups[source.node]
        group = self._group("line", self._sizes[source.node], event=_GATHERED)
        key = f"{source.node}->{node.name}.line"
        self.lines[key] = self._empty_line(source.delay_steps, self._sizes[source.node])
        self._edges.append((key, source.node, self._view(group, "activity")))
        return group

    def _empty_line(self, steps: int, size: int) -> FloatArray:
        return np.zeros((self._copies, steps, size), self._dtype)

    def _gathered(self, sources: Sequence[Any], size: int) -> Any:
        """Return what holds the sum of the sources: the only one itself, an Input without any."""
        if not sources:
            return self._group("input", size)
        if len(sources) == 1:
            return sources[0]
        group = self._group("sum", size, fan_in=len(sources), event=_GATHERED)
        _link(group, sources)
        self._update(group, f"activity = {_sum(len(sources))}", _GATHER)
        return group

    def _elementwise(
        self, kind: str, sources: Sequence[Any], code: str, **values: NDArray[np.float64]
    ) -> Any:
        group = self._group(kind, next(iter(values.values())).size, values, len(sources))
        _link(group, sources)
        self._update(group, f"activity = {code}")
        return group

    def _delay(self, node: PlanNode, steps: NDArray[np.int64], sources: Sequence[Any]) -> Any:
        # Brian2 delays events, not the graded activity at the time of the event.
        source = self._view(self._gathered(sources, node.size), "activity")
        group = self._group("delay", node.size)
        delayed = self._view(group, "activity")
        key, depth, neurons = f"{node.name}.line", int(steps.max(initial=0)), np.arange(node.size)
        self.lines[key] = self._empty_line(depth, node.size)

        def shift() -> None:
            delayed[:] = self._push(key, source)[:, depth - steps, neurons]

        order = self._base + _UPDATE
        name = f"{group.name}_shift"
        self._objects.append(
            b2.NetworkOperation(shift, clock=self._clock, when=_SLOT, order=order, name=name)
        )
        return group

    def _weights(self, node: PlanNode, weights: Weights, sources: Sequence[Any]) -> Any:
        connection = weights.connection
        pre = self._gathered(sources, connection.n_pre)
        values = {"total": np.zeros(connection.n_post)}
        if weights.bias is not None:
            values["bias"] = weights.bias
        post = self._group("weights", connection.n_post, values)
        self._update(post, f"activity = total{' + bias' * ('bias' in values)}\ntotal = 0")
        if connection.weight.size:
            self._connect(connection, pre, post)
        self.weighted[node.name] = self._view(pre, "activity"), connection.fan_out()
        return post

    def _connect(self, connection: Connection, pre: Any, post: Any) -> None:
        """Add the synapses; Brian2 delivers the events of a step by ascending source."""
        synapses = b2.Synapses(
            pre,
            post,
            "w : 1",
            on_pre="total_post += activity_pre*w",
            delay=0 * b2.second,
            dtype=self._dtype.type,
            clock=self._clock,
            namespace={},
            name=self._name("synapses"),
        )
        copy = np.repeat(np.arange(self._copies), connection.pre.size)
        synapses.connect(
            i=np.tile(connection.pre, self._copies) + copy * connection.n_pre,
            j=np.tile(connection.post, self._copies) + copy * connection.n_post,
        )
        weight = connection.weight.astype(self._dtype)
        synapses.variables["w"].set_value(np.tile(weight, self._copies))
        synapses.pre.when, synapses.pre.order = _SLOT, self._base + _SYNAPSES
        pre.thresholder["spike"].active = True
        self._objects.append(synapses)

    def _neurons(self, node: PlanNode, neuron: Neuron) -> Any:
        x = _sum(len(node.sources))
        code = neuron_code(cast(neuron, self._dtype), self._plan.contract, x)
        group = self._group("neurons", node.size, code.values, len(node.sources))
        if self._plan.reads_old_current(neuron):
            # Its input may come from nodes that are not made yet.
            self._late.append((node, code.take))
            self._update(group, code.fire)
        else:
            _link(group, self._sources(node))
            self._update(group, f"{code.take}\n{code.fire}")
        for name, variable in (("v", "v"), ("i", "current")):
            if variable in code.values:
                self.state[f"{node.name}.{name}"] = self._view(group, variable)
        return group

    def _group(
        self,
        kind: str,
        size: int,
        values: Mapping[str, NDArray[np.floating]] = MappingProxyType({}),
        fan_in: int = 0,
        *,
        event: int = _EVENT,
    ) -> Any:
        """Return a group with `activity`, these variables, and x0, x1, … to link to its sources."""
        lines = [f"{name} : 1" for name in ("activity", *values)]
        lines += [f"x{n} : 1 (linked)" for n in range(fan_in)]
        group = b2.NeuronGroup(
            self._copies * size,
            "\n".join(lines),
            dtype=self._dtype.type,
            clock=self._clock,
            namespace=FUNCTIONS,
            name=self._name(kind),
            threshold="activity != 0",
        )
        for name, value in values.items():
            self._view(group, name)[:] = value
        test = group.thresholder["spike"]
        test.when, test.order = _SLOT, self._base + event
        test.active = False  # until it feeds synapses
        self._objects.append(group)
        return group

    def _update(self, group: Any, code: str, place: int = _UPDATE, name: str = "update") -> None:
        order, name = self._base + place, f"{group.name}_{name}"
        group.run_regularly(code, clock=self._clock, when=_SLOT, order=order, name=name)

    def _name(self, kind: str) -> str:
        self._names[kind] += 1
        return f"{kind}_{self._names[kind] - 1}"

    def _view(self, group: Any, name: str) -> FloatArray:
        values: FloatArray = group.variables[name].get_value()
        return values.reshape(self._copies, -1)


def _link(group: Any, sources: Sequence[Any]) -> None:
    """Let the group read the activity of its sources as x0, x1, …"""
    for n, source in enumerate(sources):
        setattr(group, f"x{n}", b2.linked_var(source, "activity"))


def _sum(fan_in: int) -> str:
    return " + ".join(f"x{n}" for n in range(fan_in))
