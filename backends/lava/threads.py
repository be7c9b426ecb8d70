"""A network in Lava's process models without its runtime: a thread for each, no processes."""

import os
import sys
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.lava.network import LavaNetwork
from backends.lava.runtime import LOST, configuration

from lava.magma.compiler.compiler import Compiler  # isort: skip
from lava.magma.core.process.ports.ports import create_port_id  # isort: skip

Array = NDArray[Any]


class InThreads:
    """A network whose models Lava's compiler and builders made.

    Args:
        network: the network.
        arithmetic: `fixed` or `float`.
    """

    def __init__(self, network: LavaNetwork, arithmetic: str) -> None:
        self._network = network
        self.step = 0
        first = next(iter(network.populations.values()))
        executable = Compiler().compile(first, configuration(arithmetic))
        self._models: dict[Any, Any] = {}
        self._pipes: dict[Any, _Channel] = {}
        builders = executable.proc_builders
        for channel in executable.channel_builders:
            made = _Channel(channel.src_port_initializer, channel.dst_port_initializer.name)
            builders[channel.src_process].set_csp_ports([made.sending])
            builders[channel.dst_process].set_csp_ports([made.receiving])
            source = create_port_id(channel.src_process.id, channel.src_port_initializer.name)
            builders[channel.dst_process].add_csp_port_mapping(source, made.receiving)
        for process, builder in builders.items():
            for name, port in builder.py_ports.items():
                if getattr(process, name).external_pipe_flag:
                    made = self._pipes[process] = _Channel(port, name)
                    outgoing = name == "shown"
                    builder.set_csp_ports([made.sending if outgoing else made.receiving])
            self._models[process] = builder.build()

    def run(self, given: Mapping[str, Array | None], steps: int) -> dict[str, Array]:
        """Return population → [steps, 3, neurons]: spikes, u, v."""
        self.step += steps
        for name, feed in self._network.inputs.items():
            values = given[name]
            for step in range(steps):
                row = np.zeros(feed.given.shape) if values is None else values[step]
                self._pipes[feed].sending.send(row)
        threads = [
            threading.Thread(target=_stepped, args=(model, steps), daemon=True)
            for model in self._models.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            name: np.array([self._pipes[population].receiving.recv() for _ in range(steps)])
            for name, population in self._network.populations.items()
        }

    def set(self, state: Mapping[str, Array]) -> None:
        """Set the network's state."""
        for key, values in state.items():
            self._variable(key)[...] = values

    def get(self) -> dict[str, Array]:
        """Return the network's state."""
        return {key: self._variable(key).copy() for key in self._network.state}

    def close(self) -> None:
        """Do nothing: no process runs."""

    def _variable(self, key: str) -> Array:
        variable = self._network.state[key]
        found: Array = getattr(self._models[variable.process], variable.name)
        return found


def _stepped(model: Any, steps: int) -> None:
    try:
        for _ in range(steps):
            model.time_step += 1
            model.run_spk()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(LOST)


class _Channel:
    """What a channel of Lava's runtime does to a value: casts and copies it."""

    def __init__(self, source: Any, target: str) -> None:
        self._values: SimpleQueue[Array] = SimpleQueue()
        self.sending = _End(source.name, self)
        self.receiving = _End(target, self)
        self._like = np.empty(source.shape, source.d_type)

    def send(self, values: Array) -> None:
        """Put a value in."""
        if values.shape != self._like.shape:
            raise ValueError(f"{values.shape} sent into a channel of {self._like.shape}")
        kept = np.empty_like(self._like)
        kept[:] = values[:]
        self._values.put(kept)

    def recv(self) -> Array:
        """Take a value out, waiting for it."""
        return self._values.get()


class _End:
    """One end of a channel, by the name of the port it belongs to."""

    def __init__(self, name: str, channel: _Channel) -> None:
        self.name = name
        self.send = channel.send
        self.recv = channel.recv
