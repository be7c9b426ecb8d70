"""What the networks of every platform share: weights, input rasters, and the files they write.

Runs in the environment of the platforms, not in the project's own.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

STEPS, NETWORKS = 250, 8
SIZES = (12, 24, 16)
"""Lines of the input, neurons of the two layers."""
IMAGE = (2, 10, 10)


@dataclass
class Made:
    """One network, exported, with what the platform gave for a raster.

    Attributes:
        graph: what the platform's exporter wrote.
        raster: [steps, *shape].
        spikes: node of the graph → [steps, *shape].
    """

    graph: Any
    raster: np.ndarray
    spikes: dict[str, np.ndarray]


class Draw:
    """Random weights of one network: `tie` weights are multiples of 1/64, `gauss` any float32."""

    def __init__(self, cell: str, weights: str, seed: int) -> None:
        self.rng = np.random.default_rng(zlib.crc32(f"{cell} {weights} {seed}".encode()))
        self.ties = weights == "tie"

    def weight(self, *shape: int, mean: float = 0.1, spread: float = 1.0) -> np.ndarray:
        """Return float32 weights, smaller the more inputs a neuron has."""
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        values = self.rng.normal(mean, spread, shape) * 1.5 / np.sqrt(fan_in)
        return self.rounded(values)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Return the values as float32, as multiples of 1/64 in a network of ties."""
        values = np.asarray(values)
        return (np.round(values * 64) / 64 if self.ties else values).astype(np.float32)

    def raster(self, *shape: int, rate: float = 0.3) -> np.ndarray:
        """Return float32 spikes [steps, *shape]."""
        return (self.rng.random((STEPS, *shape)) < rate).astype(np.float32)


Cell = Callable[[Draw], Made]


def write(folder: Path, cells: dict[str, Cell]) -> Iterator[str]:
    """Write `CELL.WEIGHTS.SEED.nir` and `.npz` for every cell, and give each one's name."""
    for cell, make in cells.items():
        for weights in ("tie", "gauss"):
            for seed in range(NETWORKS):
                made = make(Draw(cell, weights, seed))
                name = f"{cell}.{weights}.{seed}"
                nir.write(folder / f"{name}.nir", made.graph)
                arrays = {f"spikes.{node}": s for node, s in made.spikes.items()}
                np.savez(folder / f"{name}.npz", raster=made.raster, **arrays)
                yield name
