"""SpikingJelly: `LIFNode`, over all steps at once where there is no loop."""

from functools import partial
from importlib.metadata import version

import torch
from protocol import Population, serve
from spikingjelly.activation_based.neuron import LIFNode
from torch.nn.functional import linear
from torch_layers import LayeredPeer


class NodeLayer:
    """A `LIFNode` that resets to 0."""

    def __init__(self, population: Population) -> None:
        def node(step_mode: str) -> LIFNode:
            made = LIFNode(
                tau=1 / population.rate,
                v_threshold=population.threshold,
                v_reset=0.0,
                step_mode=step_mode,
            )
            return made.eval()

        self._steps, self._step = node("m"), node("s")

    def feedforward(self, drive: torch.Tensor) -> torch.Tensor:
        """Run over the drive."""
        self._steps.reset()
        return self._steps(drive)

    def recurrent(self, drive: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Step over the drive and the last spikes."""
        self._step.reset()
        now = torch.zeros_like(drive[0])
        spikes = []
        for x in drive:
            now = self._step(x + linear(now, weight))
            spikes.append(now)
        return torch.stack(spikes)


serve(partial(LayeredPeer, layer=NodeLayer), f"SpikingJelly {version('spikingjelly')}")
