"""How the reference engine steps each operation, in the contract's float type."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simulators.connectivity import Propagator
from simulators.neurons import Neuron, cast
from simulators.operations import Delaying, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode
from simulators.trace import FloatArray


class Stepper:
    """One node's step; the base hands its input on.

    Steppers hold nothing that a run changes, so one engine serves several threads at once.
    """

    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        self.name = node.name
        self.size = node.size
        self.contract = plan.contract
        self.dtype = dtype

    def initial(self, _batch: int) -> dict[str, FloatArray]:
        """Return the node's state before the first step, by state key."""
        return {}

    def step(self, x: FloatArray, _held: dict[str, FloatArray]) -> FloatArray:
        """Return the output [batch, neurons] for the input x, and replace the node's state."""
        return x

    def synaptic_events(self, x: FloatArray) -> NDArray[np.int64]:
        """Return how many synapses the activity x uses, int64 [batch]."""
        return np.zeros(x.shape[0], np.int64)


class _WeightsStepper(Stepper):
    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Weights)
        self.propagator = Propagator(node.operation.connection, dtype)
        bias = node.operation.bias
        self.bias = None if bias is None else bias.astype(dtype)

    def step(self, x: FloatArray, _held: dict[str, FloatArray]) -> FloatArray:
        y = self.propagator.sums(x)
        return y if self.bias is None else y + self.bias

    def synaptic_events(self, x: FloatArray) -> NDArray[np.int64]:
        events: NDArray[np.int64] = (x != 0) @ self.propagator.fan_out
        return events


class _ScalingStepper(Stepper):
    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Scaling)
        self.scale = node.operation.scale.astype(dtype)

    def step(self, x: FloatArray, _held: dict[str, FloatArray]) -> FloatArray:
        return self.scale * x


class _ThresholdStepper(Stepper):
    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Thresholding)
        self.threshold = node.operation.threshold.astype(dtype)

    def step(self, x: FloatArray, _held: dict[str, FloatArray]) -> FloatArray:
        return _crosses(x, self.threshold, self.contract.spike_condition).astype(self.dtype)


class _DelayStepper(Stepper):
    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Delaying)
        self.steps = node.operation.steps
        self.depth = int(self.steps.max(initial=0))
        self.key = f"{node.name}.line"

    def initial(self, batch: int) -> dict[str, FloatArray]:
        return {self.key: np.zeros((batch, self.depth, self.size), self.dtype)}

    def step(self, x: FloatArray, held: dict[str, FloatArray]) -> FloatArray:
        line = np.concatenate((held[self.key], x[:, None]), axis=1)
        held[self.key] = line[:, 1:]
        return line[:, self.depth - self.steps, np.arange(self.size)]


class NeuronStepper(Stepper):
    """Synaptic current, membrane with the new current, spike test, reset: all in one step.

    Where the membrane reads the old current, `fire` gives the step's spikes before the input is
    known, and `take` moves the synaptic current on when it is.
    """

    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Neuron)
        self.neuron = cast(node.operation, dtype)
        self.v, self.i = f"{node.name}.v", f"{node.name}.i"
        self.increment = plan.contract.arithmetic_form == "increment"
        v_min = plan.contract.v_min
        self.v_min = None if v_min is None else dtype.type(v_min)

    def initial(self, batch: int) -> dict[str, FloatArray]:
        """Return the membrane, and the synaptic current if there is one."""
        state: dict[str, FloatArray] = {self.v: np.tile(self.neuron.initial_v, (batch, 1))}
        if self.neuron.synapse is not None:
            state[self.i] = np.zeros((batch, self.size), self.dtype)
        return state

    def step(self, x: FloatArray, held: dict[str, FloatArray]) -> FloatArray:
        """Step with the new current; see `Stepper.step`."""
        if self.neuron.synapse is None:
            return self._advance(x, held)
        self.take(x, held)
        return self.fire(held)

    def fire(self, held: dict[str, FloatArray]) -> FloatArray:
        """Return the step's output from the synaptic current as it stands."""
        return self._advance(held[self.i], held)

    def take(self, x: FloatArray, held: dict[str, FloatArray]) -> None:
        """Move the synaptic current on by the step's input."""
        held[self.i] = self._current(held[self.i], x)

    def _advance(self, x: FloatArray, held: dict[str, FloatArray]) -> FloatArray:
        timing = self.contract.reset_timing
        # A membrane whose reset is still due is one that crossed its threshold a step ago.
        before = held[self.v]
        if timing == "next_step_before_input":
            before = self._reset(before, self._spikes(before))
        v = self._membrane(before, x)
        if timing == "next_step_after_input":
            v = self._reset(v, self._spikes(before))
        spikes = self._spikes(v)
        if timing == "same_step":
            v = self._reset(v, spikes)
        if self.v_min is not None:
            # Not np.maximum, which leaves open which of two zeros it returns.
            v = np.where(v < self.v_min, self.v_min, v)
        held[self.v] = v
        return v if self.neuron.spiking is None else spikes

    def _current(self, i: FloatArray, x: FloatArray) -> FloatArray:
        synapse = self.neuron.synapse
        assert synapse is not None
        if self.contract.synapse_order == "add_then_decay":
            if not self.increment:
                return synapse.keep * (i + synapse.drive * x)
            i = i + (x if self.neuron.direct else synapse.rate * (synapse.w_in * x))
            return i - synapse.rate * i
        if not self.increment:
            return synapse.keep * i + synapse.drive * x
        if self.neuron.direct:
            return (i - synapse.rate * i) + x
        return i + synapse.rate * (synapse.w_in * x - i)

    def _membrane(self, v: FloatArray, x: FloatArray) -> FloatArray:
        leak = self.neuron.leak
        if leak is None:
            return v + self.neuron.gain * x
        if not self.increment:
            return leak.keep * v + leak.drive * x + leak.rest
        if self.neuron.direct and self.neuron.synapse is None:
            return (v + leak.rate * (leak.v_leak - v)) + x
        return v + leak.rate * ((leak.v_leak - v) + self.neuron.gain * x)

    def _spikes(self, v: FloatArray) -> FloatArray:
        """Return how often each neuron spikes at v; nothing for a population that never does."""
        spiking = self.neuron.spiking
        if spiking is None:
            return np.zeros_like(v)
        crossed = _crosses(v, spiking.v_threshold, self.contract.spike_condition)
        if self.contract.spikes_per_step == "one":
            return crossed.astype(self.dtype)
        # A quotient rounds to 1 or more exactly where v reaches the threshold.
        return np.where(crossed, np.floor(v / spiking.v_threshold), self.dtype.type(0))

    def _reset(self, v: FloatArray, spikes: FloatArray) -> FloatArray:
        spiking = self.neuron.spiking
        if spiking is None:
            return v
        to_v_reset = self.contract.reset == "to_v_reset"
        after = spiking.v_reset if to_v_reset else v - spikes * spiking.v_threshold
        return np.where(spikes != 0, after, v)


def _crosses(v: FloatArray, threshold: FloatArray, condition: str) -> NDArray[np.bool_]:
    return v > threshold if condition == ">" else v >= threshold


STEPPERS: Mapping[type, type[Stepper]] = MappingProxyType(
    {
        Passing: Stepper,
        Weights: _WeightsStepper,
        Scaling: _ScalingStepper,
        Thresholding: _ThresholdStepper,
        Delaying: _DelayStepper,
        Neuron: NeuronStepper,
    }
)
"""Operation → what steps it."""
