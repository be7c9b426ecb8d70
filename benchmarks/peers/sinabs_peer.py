"""sinabs: `LIF` and `LIFRecurrent`, which take all steps at once."""

import math
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from protocol import Population, serve
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.layers import LIF, LIFRecurrent
from torch_layers import LayeredPeer, scaled_threshold


class LifLayer:
    """A `LIF` that resets to 0; sinabs puts the batch first."""

    def __init__(self, population: Population) -> None:
        self._choices: dict[str, Any] = {
            "tau_mem": -1 / math.log1p(-population.rate),
            "spike_threshold": torch.tensor(scaled_threshold(population)),
            "spike_fn": SingleSpike,
            "reset_fn": MembraneReset(),
            "norm_input": False,
        }
        self._layer = LIF(**self._choices)
        self._loop: LIFRecurrent | None = None

    def feedforward(self, drive: torch.Tensor) -> torch.Tensor:
        """Run over the drive."""
        self._layer.reset_states()
        return self._layer(drive.transpose(0, 1)).transpose(0, 1)

    def recurrent(self, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Run over the drive and the last spikes."""
        if self._loop is None:
            connect = torch.nn.Linear(len(weight), len(weight), bias=False)
            connect.weight.copy_(weight)
            self._loop = LIFRecurrent(rec_connect=connect, **self._choices)
        self._loop.reset_states()
        return self._loop(drive.transpose(0, 1)).transpose(0, 1)


serve(partial(LayeredPeer, layer=LifLayer), f"sinabs {version('sinabs')}")
