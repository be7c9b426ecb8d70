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


class _NeuronStepper(Stepper):
    """Synaptic current, membrane with the new current, spike test, reset: all in one step."""

    def __init__(self, node: PlanNode, plan: Plan, dtype: np.dtype[np.floating]) -> None:
        super().__init__(node, plan, dtype)
        assert isinstance(node.operation, Neuron)
        self.neuron = cast(node.operation, dtype)
        self.v, self.i = f"{node.name}.v", f"{node.name}.i"
        self.increment = plan.contract.arithmetic_form == "increment"

    def initial(self, batch: int) -> dict[str, FloatArray]:
        state: dict[str, FloatArray] = {self.v: np.tile(self.neuron.initial_v, (batch, 1))}
        if self.neuron.synapse is not None:
            state[self.i] = np.zeros((batch, self.size), self.dtype)
        return state

    def step(self, x: FloatArray, held: dict[str, FloatArray]) -> FloatArray:
        if self.neuron.synapse is not None:
            x = held[self.i] = self._current(held[self.i], x)
        v = self._membrane(held[self.v], x)
        spiking = self.neuron.spiking
        if spiking is None:
            held[self.v] = v
            return v
        spikes = _crosses(v, spiking.v_threshold, self.contract.spike_condition)
        to_v_reset = self.contract.reset == "to_v_reset"
        after = spiking.v_reset if to_v_reset else v - spiking.v_threshold
        held[self.v] = np.where(spikes, after, v)
        return spikes.astype(self.dtype)

    def _current(self, i: FloatArray, x: FloatArray) -> FloatArray:
        synapse = self.neuron.synapse
        assert synapse is not None
        if self.increment:
            return i + synapse.rate * (synapse.w_in * x - i)
        return synapse.keep * i + synapse.drive * x

    def _membrane(self, v: FloatArray, x: FloatArray) -> FloatArray:
        leak = self.neuron.leak
        if leak is None:
            return v + self.neuron.gain * x
        if self.increment:
            return v + leak.rate * ((leak.v_leak - v) + self.neuron.gain * x)
        return leak.keep * v + leak.drive * x + leak.rest


def _crosses(v: FloatArray, threshold: FloatArray, condition: str) -> NDArray[np.bool_]:
    return v > threshold if condition == ">" else v >= threshold


STEPPERS: Mapping[type, type[Stepper]] = MappingProxyType(
    {
        Passing: Stepper,
        Weights: _WeightsStepper,
        Scaling: _ScalingStepper,
        Thresholding: _ThresholdStepper,
        Delaying: _DelayStepper,
        Neuron: _NeuronStepper,
    }
)
"""Operation → what steps it."""
