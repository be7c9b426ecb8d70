"""The readable reference engine: one step after the other, in NumPy, in the defined order.

Every other engine is held to the bits of this one, so it is written to be read, not to be fast.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion.contract import CHOICES, FLOATS
from simulators.plan import Plan, PlanNode
from simulators.steppers import STEPPERS, NeuronStepper
from simulators.trace import (
    FloatArray,
    Keeper,
    Raster,
    State,
    Trace,
    checked_inputs,
    checked_state,
)

SUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType({**CHOICES, "arithmetic": FLOATS})
"""Contract field → the values this engine implements: all but a chip's integers; `exact: false`
runs exactly."""


class ReferenceEngine:
    """Steps a plan in plain NumPy, with a batch of independent samples.

    Args:
        plan: the graph in execution order.

    Raises:
        InvalidContract: if the contract's arithmetic is a chip's.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._dtype = plan.float_type
        self._steppers = {
            node.name: STEPPERS[type(node.operation)](node, plan, self._dtype)
            for node in plan.nodes
        }
        self._late = {
            name: stepper
            for name, stepper in self._steppers.items()
            if isinstance(stepper, NeuronStepper) and plan.reads_old_current(stepper.neuron)
        }
        self._lines = {
            f"{source.node}->{node.name}.line": source
            for node in plan.nodes
            for source in node.sources
            if source.delay_steps
        }

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
    ) -> Trace:
        """Step the network over the inputs.

        Args:
            inputs: Input node → [batch, steps, *shape], finite activity per step (spike counts).
            state: state to go on from, as an earlier run of this model gave it; None starts anew.
            record: nodes to record, or `all`.

        Raises:
            InvalidInput: naming the input, state or record that does not fit.
        """
        drive = checked_inputs(self.plan, inputs, self._dtype)
        batch, steps = next(iter(drive.values())).shape[:2]
        held = self._begin(batch, state)
        keeper = Keeper(self.plan, record, batch, steps, self._dtype)
        # A diverging membrane overflows to infinity; the caller sees that in the record.
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                now = {name: values[:, step] for name, values in drive.items()}
                self._step(now, held, keeper)
                keeper.take(step, now, held)
        return keeper.trace(held)

    def _step(
        self, now: dict[str, FloatArray], held: dict[str, FloatArray], keeper: Keeper
    ) -> None:
        """Compute every node's output of this step into `now`, from the inputs already there.

        Neurons that read their old synaptic current spike in their turn and take their input last.
        """
        for node in self.plan.nodes:
            if node.kind == "Input":
                continue
            if node.name in self._late:
                now[node.name] = self._late[node.name].fire(held)
                continue
            x = _gather(node, now, held)
            stepper = self._steppers[node.name]
            now[node.name] = stepper.step(x, held)
            keeper.synaptic_events += stepper.synaptic_events(x)
        for node in self.plan.nodes:
            if node.name in self._late:
                self._late[node.name].take(_gather(node, now, held), held)
        for key, source in self._lines.items():
            held[key] = np.concatenate((held[key][:, 1:], now[source.node][:, None]), axis=1)

    def _begin(self, batch: int, state: State | None) -> dict[str, FloatArray]:
        fresh: dict[str, FloatArray] = {}
        for stepper in self._steppers.values():
            fresh.update(stepper.initial(batch))
        sizes = {node.name: node.size for node in self.plan.nodes}
        for key, source in self._lines.items():
            shape = (batch, source.delay_steps, sizes[source.node])
            fresh[key] = np.zeros(shape, self._dtype)
        return fresh if state is None else checked_state(state, fresh)


def _gather(node: PlanNode, now: State, held: State) -> FloatArray:
    """Add what the node's sources deliver, in their order."""
    arriving = [
        held[f"{source.node}->{node.name}.line"][:, 0] if source.delay_steps else now[source.node]
        for source in node.sources
    ]
    total = arriving[0]
    for part in arriving[1:]:
        total = total + part
    return total
