"""What a run of an engine gives back."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from fusion.sparse_raster import SparseRaster
from simulators.neurons import Neuron
from simulators.operations import Shape
from simulators.plan import Plan

FloatArray = NDArray[np.floating]
Raster = NDArray[np.generic] | SparseRaster
"""Activity of an Input node, [batch, steps, *shape]; dense, or as lists of what is active."""
State = Mapping[str, NDArray[Any]]
"""State key → array [batch, ...]: `NODE.v`, `NODE.i`, and the line of a delay, `NODE.line` or
`SOURCE->TARGET.line`, [batch, steps, neurons], oldest first."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a chip would have had to do, for every sample of a batch.

    Attributes:
        synaptic_events: int64 [batch], synapses that carried a non-zero activity.
        neuron_updates: neurons stepped for one sample.
        spikes: node → int64 [batch]; a neuron may spike more than once in a step.
    """

    synaptic_events: NDArray[np.int64]
    neuron_updates: int
    spikes: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A run's outputs, records, final state and counts.

    Attributes:
        outputs: Output node → [batch, steps, *shape].
        recorded: `NODE.spikes` (int32), `NODE.v`, `NODE.i` → [batch, steps, *shape].
        state: state after the last step.
        counts: work done.
        overflows: `NODE.REGISTER` → int64 [batch], how often integers left their range, for
            registers where any did.
    """

    outputs: Mapping[str, FloatArray]
    recorded: Mapping[str, NDArray[np.generic]]
    state: State
    counts: Counts
    overflows: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


def recordable(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return node → the quantities it can record."""
    quantities = {}
    for node in plan.nodes:
        names = ["spikes"] * node.spikes
        if isinstance(node.operation, Neuron):
            names += ["v"] + ["i"] * (node.operation.synapse is not None)
        if names:
            quantities[node.name] = tuple(names)
    return quantities


def checked_record(plan: Plan, record: Collection[str]) -> list[tuple[str, str, int]]:
    """Return what to record as (node, quantity, neurons); `all` stands for every node that can.

    Raises:
        InvalidInput: naming a node that does not exist or has nothing to record.
    """
    possible = recordable(plan)
    wanted = possible if "all" in record else record
    for name in wanted:
        if name not in possible:
            raise InvalidInput("record", f"{name!r} records nothing", ", ".join(possible))
    sizes = {node.name: node.size for node in plan.nodes}
    return [(name, what, sizes[name]) for name in dict.fromkeys(wanted) for what in possible[name]]


def checked_state(state: State, fresh: State) -> dict[str, NDArray[Any]]:
    """Return a state to go on from, after comparing it with a fresh one.

    Raises:
        InvalidInput: naming the key that is missing, unknown or of another shape or type.
    """
    for key in [*state, *fresh]:
        if key not in fresh or key not in state:
            raise InvalidInput(
                f"state.{key}", "is missing" if key in fresh else "is unknown", ", ".join(fresh)
            )
        given, wanted = state[key], fresh[key]
        if given.shape != wanted.shape or given.dtype != wanted.dtype:
            raise InvalidInput(
                f"state.{key}",
                f"is {given.dtype} {list(given.shape)}",
                f"{wanted.dtype} {list(wanted.shape)}",
            )
    return {key: state[key] for key in fresh}


def checked_inputs(
    plan: Plan, inputs: Mapping[str, Raster], dtype: np.dtype[np.floating]
) -> dict[str, FloatArray]:
    """Return the inputs as [batch, steps, neurons] in the contract's float type.

    Raises:
        InvalidInput: for a missing or unknown node, a wrong shape, differing batch or steps, or a
            value that is not finite.
    """
    return checked_rasters(input_shapes(plan), inputs, dtype)


def input_shapes(plan: Plan) -> dict[str, Shape]:
    """Return Input node → its shape, by name."""
    return {node.name: node.shape for node in plan.of_kind("Input")}


def checked_rasters(
    shapes: Mapping[str, Shape], inputs: Mapping[str, Raster], dtype: np.dtype[np.floating]
) -> dict[str, FloatArray]:
    """Return the inputs of nodes of these shapes; else as `checked_inputs`."""
    return {
        name: finite_floats(f"inputs.{name}", np.asarray(raster), dtype)
        for name, raster in fitting_rasters(shapes, inputs).items()
    }


def fitting_rasters(shapes: Mapping[str, Shape], inputs: Mapping[str, Raster]) -> dict[str, Raster]:
    """Return Input node → raster as it was given, in the order of the shapes.

    Raises:
        InvalidInput: for a missing or unknown node, a wrong shape, differing batch or steps, or
            what holds no numbers.
    """
    for name in inputs:
        if name not in shapes:
            raise InvalidInput(f"inputs.{name}", "is no Input node", ", ".join(shapes))
    rasters = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise InvalidInput(f"inputs.{name}", "is missing", f"[batch, steps, {shape}]")
        rasters[name] = _fitting(f"inputs.{name}", inputs[name], shape)
    _same_lead(rasters)
    return rasters


def _fitting(field: str, given: Raster, shape: Shape) -> Raster:
    raster = given if isinstance(given, SparseRaster) else np.asarray(given)
    found = raster.shape
    if len(found) < 2 or found[2:] != shape:
        wanted = ", ".join(["batch", "steps", *map(str, shape)])
        raise InvalidInput(field, f"has shape {list(found)}", f"[{wanted}]")
    if isinstance(raster, np.ndarray) and raster.dtype.kind not in "biuf":
        raise InvalidInput(field, f"must hold numbers, got {raster.dtype}")
    return raster


def finite_floats(
    field: str, raster: NDArray[np.generic], dtype: np.dtype[np.floating]
) -> FloatArray:
    """Return a raster as [batch, steps, neurons] in a float type.

    Raises:
        InvalidInput: naming the first value that is not finite.
    """
    values = raster.astype(dtype).reshape(*raster.shape[:2], math.prod(raster.shape[2:]))
    if not np.all(np.isfinite(values)):
        where = np.argwhere(~np.isfinite(values))[0].tolist()
        raise InvalidInput(f"{field}{where}", "is not a finite number")
    values += 0  # −0 becomes 0: lists of active lines, which hold neither, cannot tell them apart
    return values


def _same_lead(rasters: Mapping[str, Raster]) -> None:
    leads = {name: raster.shape[:2] for name, raster in rasters.items()}
    first = next(iter(leads))
    for name, lead in leads.items():
        if lead != leads[first]:
            raise InvalidInput(
                f"inputs.{name}",
                f"has {list(lead)} samples and steps, but {first} has {list(leads[first])}",
            )


class Keeper:
    """Collects what a run of an engine gives back, step by step.

    Attributes:
        synaptic_events: int64 [batch], for the engine to count up.
    """

    def __init__(
        self,
        plan: Plan,
        record: Collection[str],
        batch: int,
        steps: int,
        dtype: np.dtype[np.floating],
    ) -> None:
        self.synaptic_events = np.zeros(batch, np.int64)
        self._shapes = {node.name: node.shape for node in plan.nodes}
        self._neurons = sum(n.size for n in plan.nodes if isinstance(n.operation, Neuron))
        self._spikes = {n.name: np.zeros(batch, np.int64) for n in plan.nodes if n.spikes}
        self._steps = steps
        self._outputs = {
            node.name: np.zeros((batch, steps, node.size), dtype) for node in plan.of_kind("Output")
        }
        self._recorded: dict[str, NDArray[Any]] = {}
        for name, quantity, size in checked_record(plan, record):
            kind = np.dtype(np.int32) if quantity == "spikes" else dtype
            self._recorded[f"{name}.{quantity}"] = np.zeros((batch, steps, size), kind)

    def take(self, step: int, now: State, held: State) -> None:
        """Keep what was asked for of a step: `now` is node → output, `held` the state."""
        for name, output in self._outputs.items():
            output[:, step] = now[name]
        for name in self._spikes:
            self._spikes[name] += now[name].sum(axis=1).astype(np.int64)
        for key, record in self._recorded.items():
            name, quantity = key.rsplit(".", 1)
            record[:, step] = now[name] if quantity == "spikes" else held[key]

    def trace(self, held: State) -> Trace:
        """Return everything, with the state after the last step."""
        counts = Counts(self.synaptic_events, self._neurons * self._steps, self._spikes)
        return Trace(self._shaped(self._outputs), self._shaped(self._recorded), held, counts)

    def _shaped(self, flat: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        shaped = {}
        for key, values in flat.items():
            name = key if key in self._shapes else key.rsplit(".", 1)[0]
            shaped[key] = values.reshape(*values.shape[:2], *self._shapes[name])
        return shaped
