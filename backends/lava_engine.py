"""Networks of Loihi's integers in Lava: the witness that our own engine has to agree with."""

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.host import Answer, ChildHost
from simulators.loihi import Kept, LoihiEngine
from simulators.loihi_connections import Conv, Dense, Sparse
from simulators.loihi_network import LoihiNetwork
from simulators.trace import Raster, State, Trace

_KINDS = {Dense: "dense", Sparse: "sparse", Conv: "conv"}
MODULE = "backends.lava.child:open_program"


def lava_host(
    name: str,
    python: str,
    module: str = MODULE,
    *,
    environment: Mapping[str, str] | None = None,
    open_s: float = 120.0,
) -> ChildHost:
    """Return the host of a child in Lava's environment, for one program.

    Args:
        name: whom errors name.
        python: the interpreter of an environment with Lava 0.10.0.
        module: what the child runs.
        environment: variables to set for the child.
        open_s: seconds in which Lava has to build a network and start it.
    """
    return ChildHost(
        name, module, python=python, environment=environment, open_s=open_s, shares_memory=True
    )


class LavaEngine(LoihiEngine):
    """Steps a network of integers in Lava, in a child process of its own.

    Args:
        network: the network.
        host: a child's host that runs nothing else.
        runtime: whether Lava's runtime runs the network, or its process models are stepped without
            it, which starts no further processes.

    Raises:
        RunFailed: if Lava cannot open it.
    """

    def __init__(self, network: LoihiNetwork, host: ChildHost, *, runtime: bool = True) -> None:
        super().__init__(network)
        self._host = host
        self._number = host.open(
            {"arithmetic": "fixed", "runtime": runtime, **network_parts(network)}
        )

    def run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float = 60.0,
    ) -> Trace:
        """Step the network; see `LoihiEngine.run` and `ChildHost.run`."""
        return self.timed_run(inputs, state, record, deadline_s)[0]

    def timed_run(
        self,
        inputs: Mapping[str, Raster],
        state: State | None,
        record: Collection[str],
        deadline_s: float,
    ) -> tuple[Trace, float]:
        """Step the network and say how many seconds it took in the child.

        Lava does not say what overflowed.

        Raises:
            InvalidInput: naming the input, state or record that does not fit.
            RunTimeout, RunFailed: as `ChildHost.run`.
        """
        drive, held, kept = self._begin(inputs, state, record)
        batch, steps = next(iter(drive.values())).shape[:2]
        if not batch or not steps:
            return kept.trace(held), 0.0
        answer = self._asked(drive, held, record, deadline_s)
        reply = answer.reply
        self._keep(kept, drive, reply["spikes"], reply["recorded"])
        after = {key: _integers(reply["state"][key], held[key]) for key in held}
        return kept.trace(after), answer.wall_s

    def _keep(
        self,
        kept: Kept,
        drive: Mapping[str, NDArray[np.int64]],
        spikes: Mapping[str, NDArray[Any]],
        recorded: Mapping[str, NDArray[Any]],
    ) -> None:
        """Keep a whole run, as our engine keeps it step by step."""
        sent = {**drive, **{name: values.astype(np.int64) for name, values in spikes.items()}}
        for step in range(next(iter(drive.values())).shape[1]):
            now = {name: values[:, step] for name, values in sent.items()}
            for connection in self.network.connections:
                events = self._synapses[connection.name].events(now[connection.source])
                kept.synaptic_events += events
            kept.take(step, now, {key: values[:, step] for key, values in recorded.items()})
        kept.overflows.clear()

    def _asked(
        self,
        drive: Mapping[str, NDArray[np.int64]],
        state: State,
        record: Collection[str],
        deadline_s: float,
    ) -> Answer:
        reads = {one.source for one in self.network.outputs if one.reads == "v"}
        request = {
            "inputs": {name: values.astype(np.int32) for name, values in drive.items()},
            "state": dict(state),
            "record": sorted(reads | {one.name for one in self._recorded(record)}),
        }
        return self._host.run(self._number, request, deadline_s)

    def forget(self) -> None:
        """Drop the network; the child frees it before the next call."""
        self._host.forget(self._number)


def network_parts(network: LoihiNetwork) -> dict[str, Any]:
    """Return a network as the child takes it."""
    return {
        "inputs": [_tree(one) | {"size": one.size} for one in network.inputs],
        "populations": [_tree(one) | {"size": one.size} for one in network.populations],
        "connections": [_tree(one) | {"kind": _KINDS[type(one)]} for one in network.connections],
    }


def _tree(node: Any) -> dict[str, Any]:
    values = {field.name: getattr(node, field.name) for field in fields(node)}
    return {key: _tree(value) if is_dataclass(value) else value for key, value in values.items()}


def _integers(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Return what Lava gave as floats in the type of the engine's state, wrapped as Lava does."""
    return values.astype(np.int64).astype(like.dtype)
