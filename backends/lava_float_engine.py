"""NIR graphs in Lava's floating-point process models, stepped by a child."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.host import ChildHost
from backends.lava_float import FEED, POPULATION, FloatNetwork, float_network
from simulators.plan import Plan
from simulators.trace import (
    Counts,
    Raster,
    State,
    Trace,
    checked_inputs,
    checked_record,
    checked_state,
)

_FLOAT = np.dtype(np.float64)


class LavaFloatEngine:
    """Steps a plan in Lava's float models, in a child process of its own.

    Lava sums in an order of its own, so a membrane may differ from the reference's in its last
    bits; spikes do where it is that near to its threshold. Its state is Lava's own: u and v of all
    neurons, and what is under way to them.

    Args:
        plan: a plan without `float_violations`, under a contract of `SUPPORTED` choices.
        host: a child's host that runs nothing else.
        runtime: as for `LavaEngine`.

    Raises:
        RunFailed: if Lava cannot open it.
    """

    def __init__(self, plan: Plan, host: ChildHost, *, runtime: bool = True) -> None:
        self._plan = plan
        self._host = host
        self._network: FloatNetwork = float_network(plan)
        self._nodes = {node.name: node for node in plan.nodes}
        self._fan_out = _fan_out(self._network.parts)
        self._number = host.open({"runtime": runtime, **self._network.parts})

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float = 60.0,
    ) -> Trace:
        """Step the network; see `ReferenceEngine.run` and `ChildHost.run`."""
        return self.timed_run(inputs, state, record, deadline_s)[0]

    def timed_run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None,
        record: Collection[str],
        deadline_s: float,
    ) -> tuple[Trace, float]:
        """Step the network and say how many seconds it took in the child.

        Raises:
            InvalidInput: naming the input, state or record that does not fit.
            RunTimeout, RunFailed: as `ChildHost.run`.
        """
        drive = checked_inputs(self._plan, inputs, _FLOAT)
        wanted = checked_record(self._plan, record)
        batch, steps = next(iter(drive.values())).shape[:2]
        begin: State = self._fresh(batch)
        begin = begin if state is None else checked_state(state, begin)
        lines = np.ones((batch, steps, self._network.parts["inputs"][0]["size"]))
        for name, lines_of in self._network.inputs.items():
            lines[:, :, lines_of] = drive[name]
        if not batch or not steps:
            shown = np.zeros((3, batch, steps, self._size))
            return self._trace(shown, begin, wanted, lines), 0.0
        shown, after, wall_s = self._asked(lines, begin, deadline_s)
        return self._trace(shown, after, wanted, lines), wall_s

    @property
    def _size(self) -> int:
        size: int = self._network.parts["populations"][0]["size"]
        return size

    def _asked(
        self, lines: NDArray[np.float64], begin: State, deadline_s: float
    ) -> tuple[NDArray[np.float64], State, float]:
        request = {
            "inputs": {FEED: lines},
            "state": dict(begin),
            "record": [POPULATION],
        }
        answer = self._host.run(self._number, request, deadline_s)
        reply = answer.reply
        registers = (reply["recorded"][f"{POPULATION}.{what}"] for what in ("i", "v"))
        shown = np.stack([reply["spikes"][POPULATION], *registers])
        return shown, {key: reply["state"][key] for key in begin}, answer.wall_s

    def _fresh(self, batch: int) -> dict[str, NDArray[Any]]:
        (population,) = self._network.parts["populations"]
        fresh = {
            f"{POPULATION}.i": np.zeros((batch, self._size)),
            f"{POPULATION}.v": np.tile(population["v"], (batch, 1)),
        }
        for connection in self._network.parts["connections"]:
            fresh[f"{connection['name']}.line"] = np.tile(connection["line"], (batch, 1, 1))
        return fresh

    def _trace(
        self,
        shown: NDArray[np.float64],
        state: State,
        wanted: list[tuple[str, str, int]],
        lines: NDArray[np.float64],
    ) -> Trace:
        spikes, u, v = shown
        v = v + self._network.v_reset
        with np.errstate(divide="ignore", invalid="ignore"):
            i = u / self._network.drive
        values: dict[str, NDArray[Any]] = {"spikes": spikes, "v": v, "i": i}

        def of(node: str, what: str) -> NDArray[Any]:
            cut: NDArray[Any] = values[what][..., self._network.neurons[node]]
            return cut.reshape(*cut.shape[:2], *self._nodes[node].shape)

        outputs = {}
        for output in self._plan.of_kind("Output"):
            source = output.sources[0].node
            read = of(source, "spikes" if self._nodes[source].spikes else "v")
            outputs[output.name] = read.reshape(*read.shape[:2], *output.shape)
        recorded = {
            f"{node}.{what}": of(node, what).astype(np.int32 if what == "spikes" else _FLOAT)
            for node, what, _ in wanted
        }
        return Trace(outputs, recorded, state, self._counts(spikes, lines))

    def _counts(self, spikes: NDArray[np.float64], lines: NDArray[np.float64]) -> Counts:
        events: NDArray[np.int64] = ((lines != 0) @ self._fan_out[FEED]).sum(axis=1)
        events += ((spikes != 0) @ self._fan_out[POPULATION]).sum(axis=1)
        by_node = {
            name: spikes[..., part].sum(axis=(1, 2)).astype(np.int64)
            for name, part in self._network.neurons.items()
            if self._nodes[name].spikes
        }
        return Counts(events, self._size * spikes.shape[1], by_node)

    def forget(self) -> None:
        """Drop the network; the child frees it before the next call."""
        self._host.forget(self._number)


def _fan_out(parts: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    sizes = {entry["name"]: entry["size"] for entry in (*parts["inputs"], *parts["populations"])}
    fan_out = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    for connection in parts["connections"]:
        source = connection["source"]
        fan_out[source] += np.bincount(connection["pre"], minlength=sizes[source])
    return fan_out
