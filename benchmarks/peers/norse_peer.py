"""Norse: `LIFBoxCell`, which is stepped by hand; its weights are applied to all steps at once."""

from functools import partial
from importlib.metadata import version

import norse.torch as norse
import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters
from protocol import Population, serve
from torch.nn.functional import linear
from torch_layers import LayeredPeer


class BoxLayer:
    """A `LIFBoxCell` in time steps of 1."""

    def __init__(self, population: Population) -> None:
        rate, threshold = torch.tensor(population.rate), torch.tensor(population.threshold)
        self._cell = norse.LIFBoxCell(LIFBoxParameters(tau_mem_inv=rate, v_th=threshold), dt=1.0)

    def feedforward(self, drive: torch.Tensor) -> torch.Tensor:
        """Step over the drive."""
        state = LIFBoxFeedForwardState(v=torch.zeros_like(drive[0]))
        spikes = []
        for x in drive:
            now, state = self._cell(x, state)
            spikes.append(now)
        return torch.stack(spikes)

    def recurrent(self, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Step over the drive and the last spikes."""
        now = torch.zeros_like(drive[0])
        state = LIFBoxFeedForwardState(v=now)
        spikes = []
        for x in drive:
            now, state = self._cell(x + linear(now, weight), state)
            spikes.append(now)
        return torch.stack(spikes)


serve(partial(LayeredPeer, layer=BoxLayer), f"Norse {version('norse')}")
