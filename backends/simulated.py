"""Programs that run in a child process, and what crosses to it: plans, inputs and traces."""

import weakref
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.errors import RunFailed
from backends.host import ChildHost
from fusion.contract import ExecutionContract
from fusion.errors import InvalidInput
from simulators.connectivity import Connection
from simulators.draft import Source
from simulators.neurons import Leak, Neuron, Spiking, Synapse
from simulators.operations import Delaying, Passing, Scaling, Thresholding, Weights
from simulators.plan import Plan, PlanNode
from simulators.trace import Counts, Raster, State, Trace

_KIND = "~kind"
_KINDS: Mapping[str, Any] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            *(Plan, PlanNode, Source, ExecutionContract),
            *(Passing, Weights, Connection, Scaling, Thresholding, Delaying),
            *(Neuron, Leak, Synapse, Spiking),
            *(Trace, Counts),
        )
    }
)


def to_tree(value: Any) -> Any:
    """Return a plan or a trace as a tree of plain values and arrays, for `backends.wire`."""
    if is_dataclass(value):
        named = {field.name: to_tree(getattr(value, field.name)) for field in fields(value)}
        return {_KIND: type(value).__name__, **named}
    if isinstance(value, Mapping):
        return {key: to_tree(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [to_tree(part) for part in value]
    return value


def from_tree(tree: Any) -> Any:
    """Return the plan or trace that `to_tree` turned into this tree."""
    if isinstance(tree, list):
        return tuple(from_tree(part) for part in tree)
    if not isinstance(tree, dict):
        return tree
    parts = {key: from_tree(part) for key, part in tree.items() if key != _KIND}
    return _KINDS[tree[_KIND]](**parts) if _KIND in tree else parts


class HostedProgram(Program):
    """A program in a child process.

    Args:
        host: the child's host.
        parts: what the child's engine makes the program of.
        max_run_s: deadline of a run that names none.

    Raises:
        InvalidModel: as the engine raised it.
        RunFailed: if the engine cannot open the program.
    """

    def __init__(self, host: ChildHost, parts: Any, max_run_s: float) -> None:
        self._host = host
        self._max_run_s = max_run_s
        self._number = host.open(parts)
        self._close = weakref.finalize(self, host.forget, self._number)

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,
    ) -> RunResult:
        """Run the network; see `Program.run`."""
        if not self._close.alive:
            raise RunFailed("the program is closed")
        inputs = _numbers("inputs", batch)
        request = {
            "inputs": inputs,
            "state": None if state is None else _numbers("state", state),
            "record": [str(name) for name in record],
        }
        answer = self._host.run(
            self._number, request, self._max_run_s if deadline_s is None else deadline_s
        )
        trace: Trace = from_tree(answer.reply)
        steps = next(iter(inputs.values())).shape[1]
        return RunResult(
            trace.outputs, trace.recorded, trace.state, steps, trace.counts, answer.wall_s, None
        )

    def close(self) -> None:
        """Free the program in the child."""
        self._close()


def _numbers(field: str, arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    made = {name: np.asarray(values) for name, values in arrays.items()}
    for name, values in made.items():
        if values.dtype.kind not in "biuf":
            raise InvalidInput(f"{field}.{name}", f"must hold numbers, got {values.dtype}")
    return made
