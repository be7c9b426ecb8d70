"""LIF layers of a torch library, run one after the other, each over all steps."""

from typing import Protocol

import numpy as np
import torch
from protocol import Population, Problem, Projection, Spikes
from torch.nn.functional import linear

torch.set_num_threads(1)
torch.set_grad_enabled(False)


class Layer(Protocol):
    """A layer of neurons; [steps, batch, neurons] in and out, every time from the start."""

    def feedforward(self, drive: torch.Tensor) -> torch.Tensor:
        """Return the spikes that an input gives."""

    def recurrent(self, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the same where the layer's last spikes come back through weights."""


class LayeredPeer:
    """The problem in layers that a function makes of populations."""

    def __init__(self, problem: Problem, layer: type[Layer]) -> None:
        self._inputs = {
            name: torch.from_numpy(np.ascontiguousarray(raster.swapaxes(0, 1), np.float32))
            for name, raster in problem.inputs.items()
        }
        self._layers = {one.name: layer(one) for one in problem.populations}
        self._weights = [(one, torch.from_numpy(one.matrix())) for one in problem.projections]
        self._activity: dict[str, torch.Tensor] = {}

    def run(self) -> None:
        """Run all layers."""
        activity = dict(self._inputs)
        for name, layer in self._layers.items():
            arriving = [(one, weight) for one, weight in self._weights if one.target == name]
            drive = sum(
                linear(activity[one.source], weight)
                for one, weight in arriving
                if not one.delay_steps
            )
            loops = [weight for one, weight in arriving if _is_loop(one)]
            activity[name] = layer.recurrent(drive, *loops) if loops else layer.feedforward(drive)
        self._activity = activity

    def spikes(self) -> Spikes:
        """Return what spiked in the last run."""
        return {
            name: np.argwhere(self._activity[name].numpy().swapaxes(0, 1)) for name in self._layers
        }


def _is_loop(one: Projection) -> bool:
    if one.delay_steps and (one.source != one.target or one.delay_steps > 1):
        raise SystemExit(f"{one.source} -> {one.target}: only a layer's own spikes may come late")
    return bool(one.delay_steps)


def scaled_threshold(population: Population) -> float:
    """Return the threshold for u = (1 − rate)·u + x, which is v / rate."""
    return population.threshold / population.rate
