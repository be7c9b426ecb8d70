"""What a peer's process is told and answers; imports nothing of the project, only NumPy.

A process gets a folder with `network.json`, `network.npz` and `inputs.npz`, and a descriptor to
write answers to as lines of JSON, since libraries print as they please. It builds its network, says
so, and then obeys the lines of its standard input: `run` runs once and answers with the seconds,
`spikes` writes the last run's spikes into `spikes.npz`. End of input ends it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Spikes = dict[str, NDArray[np.int64]]
"""Population → [spikes, 3]: sample, step, neuron."""


@dataclass(frozen=True, slots=True)
class Population:
    """LIF neurons: v += rate·(x − v), a spike where v > threshold, v = 0 behind it.

    With a `synapse_rate`, v += rate·((bias − v) + i) with the current
    i += synapse_rate·(synapse_gain·x − i).
    """

    name: str
    size: int
    rate: float
    threshold: float
    synapse_rate: float | None
    synapse_gain: float
    bias: float


@dataclass(frozen=True, slots=True)
class Projection:
    """Synapses between two populations, or from an input, `delay_steps` late."""

    source: str
    target: str
    delay_steps: int
    pre: NDArray[np.int64]
    post: NDArray[np.int64]
    weight: NDArray[np.float64]
    shape: tuple[int, int]

    def matrix(self) -> NDArray[np.float32]:
        """Return the weights [n_post, n_pre]."""
        dense = np.zeros(self.shape, np.float32)
        dense[self.post, self.pre] = self.weight
        return dense


@dataclass(frozen=True, slots=True)
class Problem:
    """A network and its inputs.

    Attributes:
        folder: where it was read, and where a peer may build.
        steps: steps of a run, each of `dt_s`.
        populations: in the order in which a spike passes through them within a step.
        inputs: input → spikes uint8 [batch, steps, lines].
        initial: population → membrane before the first step, where it is not 0.
    """

    folder: Path
    steps: int
    dt_s: float
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    inputs: dict[str, NDArray[np.uint8]]
    initial: dict[str, NDArray[np.float64]]


class Peer(Protocol):
    """A network that a peer has built."""

    def run(self) -> float | None:
        """Run once from the start; return seconds, or None to be timed from outside."""

    def spikes(self) -> Spikes:
        """Return the spikes of the last run."""


def load(folder: Path) -> Problem:
    """Read a problem."""
    told = json.loads((folder / "network.json").read_text())
    arrays = np.load(folder / "network.npz")
    projections = tuple(
        Projection(
            **(entry | {"shape": tuple(entry["shape"])}),
            **{part: arrays[f"{part}{n}"] for part in ("pre", "post", "weight")},
        )
        for n, entry in enumerate(told["projections"])
    )
    return Problem(
        folder,
        told["steps"],
        told["dt_s"],
        tuple(Population(**entry) for entry in told["populations"]),
        projections,
        dict(np.load(folder / "inputs.npz")),
        {name[8:]: arrays[name] for name in arrays.files if name.startswith("initial.")},
    )


def serve(build: Callable[[Problem], Peer], version: str) -> None:
    """Build the network of the folder on the command line and obey standard input."""
    with os.fdopen(int(sys.argv[2]), "w") as answers:

        def answer(**fields: Any) -> None:
            answers.write(json.dumps(fields) + "\n")
            answers.flush()

        folder = Path(sys.argv[1])
        peer = build(load(folder))
        answer(version=version)
        for line in sys.stdin:
            if line == "run\n":
                started = time.perf_counter()
                seconds = peer.run()
                answer(seconds=time.perf_counter() - started if seconds is None else seconds)
            else:
                np.savez(folder / "spikes.npz", **peer.spikes())  # type: ignore[arg-type]  # of allow_pickle, says NumPy
                answer(file="spikes.npz")
