"""snnTorch: `Leaky`, which is stepped by hand; its weights are applied to all steps at once."""

from functools import partial
from importlib.metadata import version

import snntorch
import torch
from protocol import Population, serve
from torch.nn.functional import linear
from torch_layers import LayeredPeer, scaled_threshold


class LeakyLayer:
    """A `Leaky` that resets to 0 in the step of the spike."""

    def __init__(self, population: Population) -> None:
        self._cell = snntorch.Leaky(
            beta=1 - population.rate,
            threshold=scaled_threshold(population),
            reset_mechanism="zero",
            reset_delay=False,
        )

    def feedforward(self, drive: torch.Tensor) -> torch.Tensor:
        """Step over the drive."""
        mem = torch.zeros_like(drive[0])
        spikes = []
        for x in drive:
            now, mem = self._cell(x, mem)
            spikes.append(now)
        return torch.stack(spikes)

    def recurrent(self, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Step over the drive and the last spikes."""
        mem = now = torch.zeros_like(drive[0])
        spikes = []
        for x in drive:
            now, mem = self._cell(x + linear(now, weight), mem)
            spikes.append(now)
        return torch.stack(spikes)


serve(partial(LayeredPeer, layer=LeakyLayer), f"snnTorch {version('snntorch')}")
