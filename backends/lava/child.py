"""Networks in Lava 0.10.0: in its runtime, or its process models stepped in threads without it.

One program lives in one child. Lava has no time limits of its own: whoever started the child sets
them, and kills it and all of Lava's processes when one passes.
"""

import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from multiprocessing import shared_memory
from pathlib import Path
from queue import SimpleQueue
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

from lava.magma.compiler.compiler import Compiler  # isort: skip
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs  # isort: skip
from lava.magma.core.process.ports.ports import create_port_id  # isort: skip
from lava.magma.core.run_conditions import RunSteps  # isort: skip
from lava.magma.core.run_configs import Loihi2SimCfg  # isort: skip

Array = NDArray[Any]

_LONGEST_PAD = 2000
"""Steps that are run to bring periodic resets in phase rather than start Lava anew."""
_POLL_S = 0.05
_SAY_S = 0.5
"""Seconds in which Lava may say by itself why a process of it ended."""
_LOST = 70
"""Exit code of a child whose Lava process ended or raised."""


class SharedMemoryTooSmall(Exception):
    """The channels of the network do not fit into shared memory, where Lava would hang."""


def open_program(parts: dict[str, Any]) -> Any:
    """Return a function that runs a network.

    Args:
        parts: what `LavaNetwork` takes, and `arithmetic`, `fixed` or `float`, and `runtime`,
            whether Lava's runtime runs the network or its process models are stepped in threads.

    The function takes {"inputs": name → [batch, steps, lines], "state": None or key → [batch, …],
    "record": names} and returns {"spikes": population → [batch, steps, neurons], "recorded":
    `NAME.i` (u), `NAME.v` → the same, "state": key → [batch, …]}. The state is `NAME.i`, `NAME.v`,
    `CONNECTION.line` (what arrives, [steps from now, neurons]) and `step`.

    Raises:
        SharedMemoryTooSmall: if the channels would not fit.
    """
    _name_segments()
    _search_models_once()
    return _Runner(parts).run


def _search_models_once() -> None:
    """Have Lava look for the models of a process once a kind: it executes whole folders for it."""
    search = ProcGroupDiGraphs._find_proc_models
    if isinstance(search, _Remembered):
        return
    ProcGroupDiGraphs._find_proc_models = _Remembered(search)


class _Remembered:
    def __init__(self, search: Callable[[Any], Any]) -> None:
        self._search = search
        self._found: dict[type, Any] = {}

    def __call__(self, proc: Any) -> Any:
        kind = type(proc)
        if kind not in self._found:
            self._found[kind] = self._search(proc)
        return self._found[kind]


def _name_segments() -> None:
    """Have Lava's shared memory and sockets bear the host's prefix, by which it removes them.

    The sockets, which multiprocessing keeps in a folder for temporary files, go there too: the
    usual place may be read-only, and what a killed process has there would stay.
    """
    prefix = os.environ.get("SNN_FUSION_SHM_PREFIX")
    if prefix is not None:
        make = "_make_filename"  # the standard library has no public way
        setattr(shared_memory, make, lambda: f"/{prefix}{secrets.token_hex(4)}")
        folder = Path(SHARED_MEMORY, f"{prefix}sockets")
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(folder)


class _Runner:
    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = parts
        self._start()

    def _start(self) -> None:
        network = LavaNetwork(self._parts)
        engine = _InRuntime if self._parts["runtime"] else _InThreads
        self._engine: _InRuntime | _InThreads = engine(network, self._parts["arithmetic"])
        self._network = network

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run every sample of a batch; see `open_program`."""
        inputs, state = request["inputs"], request["state"]
        batch, steps = next(iter(inputs.values())).shape[:2]
        samples = []
        for sample in range(batch):
            rows = {name: values[sample] for name, values in inputs.items()}
            begin = None if state is None else {key: v[sample] for key, v in state.items()}
            samples.append(self._one(rows, steps, begin))
        return _joined(samples, request["record"])

    def _one(self, inputs: dict[str, Array], steps: int, state: Any) -> tuple[Any, Any]:
        first = 0 if state is None else int(state.get("step", 0))
        self._align(first)
        begin = self._network.fresh() if state is None else self._network.laid_out(state)
        self._engine.set(begin)
        shown = self._engine.run(self._given(inputs), steps)
        after = self._network.given_back(self._engine.get()) | {"step": np.array(first + steps)}
        return shown, after

    def _align(self, first: int) -> None:
        """Bring Lava's count of steps, which only grows, in phase with the periodic resets."""
        missing = (first - self._engine.step) % self._network.period
        if missing > _LONGEST_PAD and self._engine.step > 1:
            self._engine.close()
            self._start()
            missing = (first - self._engine.step) % self._network.period
        if missing:
            self._engine.run(self._given({}), missing)

    def _given(self, inputs: Mapping[str, Array]) -> dict[str, Array | None]:
        """Return the values of every feed; None stands for zeros."""
        return {name: inputs.get(name) for name in self._network.inputs}


def _joined(samples: list[tuple[Any, Any]], record: Collection[str]) -> dict[str, Any]:
    def stacked(name: str, row: int) -> Array:
        return np.stack([shown[name][:, row] for shown, _ in samples])

    names = samples[0][0]
    recorded = {
        f"{name}.{what}": stacked(name, row)
        for name in names
        if name in record
        for row, what in ((1, "i"), (2, "v"))
    }
    return {
        "spikes": {name: stacked(name, 0) for name in names},
        "recorded": recorded,
        "state": {key: np.stack([after[key] for _, after in samples]) for key in samples[0][1]},
    }


def _configuration(arithmetic: str) -> Any:
    fixed = arithmetic == "fixed"
    models = {
        ShownLIF: ShownLifFixed if fixed else ShownLifFloat,
        ShownLIFReset: ShownLifResetFixed if fixed else ShownLifResetFloat,
    }
    tag = "fixed_pt" if fixed else "floating_pt"
    return Loihi2SimCfg(select_tag=tag, exception_proc_model_map=models)


class _InRuntime:
    """A network in Lava's runtime: an operating-system process for each Lava process."""

    def __init__(self, network: LavaNetwork, arithmetic: str) -> None:
        _check_room(network.shared_memory_bytes())
        self._network = network
        self.step = 0
        self._first = next(iter(network.populations.values()))
        self._watching = _Watch(self._first)
        with self._watching:
            self._first.create_runtime(run_cfg=_configuration(arithmetic))
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
    os._exit(_LOST)


def _check_room(needed: int) -> None:
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise SharedMemoryTooSmall(
            f"Lava's channels need {needed / 2**20:.1f} MiB of {SHARED_MEMORY}, "
            f"{free / 2**20:.1f} MiB are free; give a container more with --shm-size"
        )


class _InThreads:
    """A network in Lava's process models without its runtime: one thread each, no processes."""

    def __init__(self, network: LavaNetwork, arithmetic: str) -> None:
        self._network = network
        self.step = 0
        first = next(iter(network.populations.values()))
        executable = Compiler().compile(first, _configuration(arithmetic))
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
        os._exit(_LOST)


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
