"""Brian2 as an engine: the contract's steps in code that Brian2 generates, bit for bit.

It is the second opinion on what the reference engine computes. Brian2 keeps global state, so a
service runs this engine in a process of its own.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.brian2_codegen import CannotCompile, Codegen, cache_folder
from simulators.brian2_network import Brian2Network
from simulators.operations import Weights
from simulators.plan import Plan
from simulators.trace import (
    Counts,
    FloatArray,
    Keeper,
    Raster,
    State,
    Trace,
    checked_inputs,
    checked_record,
    checked_state,
)

_MAX_SYNAPSES = 4_000_000
_MAX_COPIES = 64
_KEPT_NETWORKS = 3
_MAX_COMPILED_NODES = 8
"""Brian2 compiles modules of its own for every node, some seconds each, before the first run."""

_log = logging.getLogger(__name__)


class Brian2Engine:
    """Steps a plan in Brian2, with a batch of independent samples.

    A batch runs as independent copies in one network, large networks in several parts. A network is
    kept for the next run; runs from several threads take turns.

    Args:
        plan: the graph in execution order.
        codegen: `numpy`, `cython`, or `auto`: cython where it compiles and the graph has at most
            8 nodes, so that a cold start takes about a minute at most; else numpy.
        cache_dir: folder for compiled modules; see `cache_folder`.

    Raises:
        InvalidContract: if the plan's contract asks for a chip's integers.
        CannotCompile: if `cython` was asked for and nothing compiles here.
    """

    def __init__(
        self, plan: Plan, *, codegen: Codegen = "auto", cache_dir: Path | None = None
    ) -> None:
        self.plan = plan
        self._dtype = plan.float_type
        large = len(plan.nodes) > _MAX_COMPILED_NODES
        self._codegen = "numpy" if codegen == "auto" and large else codegen
        self._cache = None if self._codegen == "numpy" else cache_folder(cache_dir)
        self._networks: OrderedDict[int, Brian2Network] = OrderedDict()
        self._lock = threading.Lock()
        synapses = sum(
            n.operation.connection.weight.size
            for n in plan.nodes
            if isinstance(n.operation, Weights)
        )
        self._widest = max(1, min(_MAX_COPIES, _MAX_SYNAPSES // max(1, synapses)))
        self._network(1)  # now rather than in the first run: building and compiling takes long

    @property
    def codegen(self) -> str:
        """How the code is generated in fact, `cython` or `numpy`."""
        return self._codegen

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
        checked_record(self.plan, record)
        batch = next(iter(drive.values())).shape[0]
        with self._lock:
            width = min(self._widest, 1 << max(0, batch - 1).bit_length())
            network = self._network(width)
            fresh = {key: row.repeat(batch, axis=0) for key, row in network.initial.items()}
            held = fresh if state is None else checked_state(state, fresh)
            parts = []
            for start in range(0, max(batch, 1), width):
                part = slice(start, start + width)
                parts.append(self._run_part(network, _cut(drive, part), _cut(held, part), record))
        return _joined(parts)

    def _run_part(
        self,
        network: Brian2Network,
        drive: Mapping[str, FloatArray],
        held: State,
        record: Collection[str],
    ) -> Trace:
        samples, steps = next(iter(drive.values())).shape[:2]
        keeper = Keeper(self.plan, record, samples, steps, self._dtype)
        network.load(held)
        now = _cut(network.activity, slice(samples))
        # A diverging membrane overflows to infinity; the caller sees that in the record.
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                for name, values in drive.items():
                    now[name][:] = values[:, step]
                network.step()
                for activity, fan_out in network.weighted.values():
                    keeper.synaptic_events += (activity[:samples] != 0) @ fan_out
                keeper.take(step, now, _cut(network.held(), slice(samples)))
        return keeper.trace(
            {key: values[:samples].copy() for key, values in network.held().items()}
        )

    def _network(self, copies: int) -> Brian2Network:
        if copies not in self._networks:
            self._networks[copies] = self._prepared(copies)
            if len(self._networks) > _KEPT_NETWORKS:
                self._networks.popitem(last=False)
        self._networks.move_to_end(copies)
        return self._networks[copies]

    def _prepared(self, copies: int) -> Brian2Network:
        if self._codegen != "numpy":
            assert self._cache is not None
            network = Brian2Network(self.plan, copies)
            try:
                network.prepare("cython", self._cache)
            except CannotCompile as error:
                if self._codegen == "cython":
                    raise
                _log.warning("Brian2 runs without compiled code: %s", error)
            else:
                self._codegen = "cython"
                return network
        self._codegen = "numpy"
        network = Brian2Network(self.plan, copies)
        network.prepare("numpy")
        return network


def _cut(arrays: Mapping[str, FloatArray], part: slice) -> dict[str, FloatArray]:
    return {key: values[part] for key, values in arrays.items()}


def _joined(parts: Sequence[Trace]) -> Trace:
    """Put the traces of the parts of a batch together."""
    if len(parts) == 1:
        return parts[0]

    def joined(of: Callable[[Trace], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        return {key: np.concatenate([of(part)[key] for part in parts]) for key in of(parts[0])}

    events = np.concatenate([part.counts.synaptic_events for part in parts])
    spikes = joined(lambda part: part.counts.spikes)
    return Trace(
        joined(lambda part: part.outputs),
        joined(lambda part: part.recorded),
        joined(lambda part: part.state),
        Counts(events, parts[0].counts.neuron_updates, spikes),
    )
