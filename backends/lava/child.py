"""Networks in Lava 0.10.0: in its runtime, or its process models stepped in threads without it.

One program lives in one child. Lava has no time limits of its own: whoever started the child sets
them, and kills it and all of Lava's processes when one passes.
"""

import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.lava.network import SHARED_MEMORY, LavaNetwork  # before anything of Lava
from backends.lava.runtime import InRuntime
from backends.lava.threads import InThreads

from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs  # isort: skip

Array = NDArray[Any]

_LONGEST_PAD = 2000
"""Steps that are run to bring periodic resets in phase rather than start Lava anew."""


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
        engine = InRuntime if self._parts["runtime"] else InThreads
        self._engine: InRuntime | InThreads = engine(network, self._parts["arithmetic"])
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
