"""A network in Lava's runtime: a process of the operating system for each of Lava's."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.lava.network import SHARED_MEMORY, LavaNetwork
from backends.lava.processes import (  # before anything of Lava
    AHEAD,
    ShownLIF,
    ShownLifFixed,
    ShownLifFloat,
    ShownLIFReset,
    ShownLifResetFixed,
    ShownLifResetFloat,
)

from lava.magma.core.run_conditions import RunSteps  # isort: skip
from lava.magma.core.run_configs import Loihi2SimCfg  # isort: skip

Array = NDArray[Any]

_POLL_S = 0.05
_SAY_S = 0.5
"""Seconds in which Lava may say by itself why a process of it ended."""
LOST = 70
"""Exit code of a child whose Lava process ended or raised."""


class SharedMemoryTooSmall(Exception):
    """The channels of the network do not fit into shared memory, where Lava would hang."""


def configuration(arithmetic: str) -> Any:
    """Return which of Lava's models run, for `fixed` or `float`."""
    fixed = arithmetic == "fixed"
    models = {
        ShownLIF: ShownLifFixed if fixed else ShownLifFloat,
        ShownLIFReset: ShownLifResetFixed if fixed else ShownLifResetFloat,
    }
    tag = "fixed_pt" if fixed else "floating_pt"
    return Loihi2SimCfg(select_tag=tag, exception_proc_model_map=models)


class InRuntime:
    """A network, running until the child ends.

    Args:
        network: the network.
        arithmetic: `fixed` or `float`.

    Raises:
        SharedMemoryTooSmall: if its channels would not fit.
    """

    def __init__(self, network: LavaNetwork, arithmetic: str) -> None:
        check_room(network.shared_memory_bytes())
        self._network = network
        self.step = 0
        self._first = next(iter(network.populations.values()))
        self._watching = _Watch(self._first)
        with self._watching:
            self._first.create_runtime(run_cfg=configuration(arithmetic))
            # Before a first run Lava sets no variable.
            self.run(dict.fromkeys(network.inputs), 1)

    def run(self, given: Mapping[str, Array | None], steps: int) -> dict[str, Array]:
        """Return population → [steps, 3, neurons]: spikes, u, v."""
        self.step += steps
        with self._watching:
            self._first.run(condition=RunSteps(num_steps=steps, blocking=False))
            shown: dict[str, list[Array]] = {name: [] for name in self._network.populations}
            for step in range(steps + AHEAD // 2):
                if step < steps:
                    self._send(given, step)
                if step >= AHEAD // 2:
                    self._receive(shown)
            self._first.wait()
        return {name: np.array(rows) for name, rows in shown.items()}

    def _send(self, given: Mapping[str, Array | None], step: int) -> None:
        for name, feed in self._network.inputs.items():
            values = given[name]
            row = np.zeros(feed.given.shape) if values is None else values[step]
            feed.given.external_pipe_csp_send_port.send(row)

    def _receive(self, shown: Mapping[str, list[Array]]) -> None:
        for name, population in self._network.populations.items():
            shown[name].append(population.shown.external_pipe_csp_recv_port.recv())

    def set(self, state: Mapping[str, Array]) -> None:
        """Set the network's state."""
        with self._watching:
            for key, values in state.items():
                self._network.state[key].set(values)

    def get(self) -> dict[str, Array]:
        """Return the network's state."""
        with self._watching:
            return {key: variable.get() for key, variable in self._network.state.items()}

    def close(self) -> None:
        """End Lava's processes."""
        self._first.stop()


class _Watch:
    """While entered, ends this process if one of Lava's has ended, for which Lava would wait."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._entered = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> None:
        self._entered.set()

    def __exit__(self, *_: object) -> None:
        self._entered.clear()

    def _watch(self) -> None:
        while True:
            self._entered.wait()
            runtime = getattr(self._process, "_runtime", None)
            infrastructure = getattr(runtime, "_messaging_infrastructure", None)
            for actor in list(getattr(infrastructure, "actors", ())):
                if not actor.is_alive():
                    time.sleep(_SAY_S)
                    if self._entered.is_set():
                        _leave(actor)
            time.sleep(_POLL_S)


def _leave(actor: Any) -> None:
    print(f"Lava's process {actor.name} ended with exit code {actor.exitcode}", file=sys.stderr)
    if actor.exception:
        print(actor.exception[1], file=sys.stderr)
    sys.stderr.flush()
    os._exit(LOST)


def check_room(needed: int) -> None:
    """Refuse what does not fit into shared memory."""
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise SharedMemoryTooSmall(
            f"Lava's channels need {needed / 2**20:.1f} MiB of {SHARED_MEMORY}, "
            f"{free / 2**20:.1f} MiB are free; give a container more with --shm-size"
        )
