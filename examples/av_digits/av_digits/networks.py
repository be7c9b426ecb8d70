"""The two networks that are trained; needs PyTorch. `export` turns them into one NIR graph."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from av_digits.layers import Convolved, Drop, Readout, Spiking, Tapped


@dataclass(frozen=True, slots=True)
class AudioShape:
    """Sizes of the audio network; taps and bins in time steps."""

    lines: int
    hidden: tuple[int, int] = (128, 96)
    first_taps: tuple[int, ...] = (0, 2, 4, 6, 8)
    second_taps: tuple[int, ...] = (0, 4, 8, 12, 16)
    bins: int = 4
    bin_steps: int = 16
    steps: int = 70
    tau_s: float = 0.1
    drop: float = 0.25
    drop_lines: float = 0.05


class AudioNetwork(nn.Module):
    """Count lines → 128 CubaLIF → 96 CubaLIF → logits, with weights at several delays."""

    def __init__(self, shape: AudioShape) -> None:
        super().__init__()
        first, second = shape.hidden
        self.shape = shape
        self.first = Tapped(shape.lines, first, shape.first_taps)
        self.first_spikes = Spiking([first], (0.01, 0.03), (0.02, 0.06))
        self.second = Tapped(first, second, shape.second_taps)
        self.second_spikes = Spiking([second], (0.01, 0.03), (0.02, 0.06))
        self.readout = Readout(second, shape.bins, shape.bin_steps, shape.steps, shape.tau_s)
        self.drop_lines, self.drop = Drop(shape.drop_lines), Drop(shape.drop)

    def forward(self, counts: Tensor) -> Tensor:
        """Return logits [batch, 10] from counts [batch, steps, lines]."""
        x = self.drop_lines(counts.transpose(0, 1))
        x = self.drop(self.first_spikes(self.first(x)))
        x = self.drop(self.second_spikes(self.second(x)))
        logits: Tensor = self.readout(x)
        return logits


@dataclass(frozen=True, slots=True)
class VisionShape:
    """Sizes of the vision network; bins in time steps."""

    channels: tuple[int, int] = (24, 48)
    hidden: int = 128
    bins: int = 3
    bin_steps: int = 10
    steps: int = 32
    tau_s: float = 0.1
    drop: float = 0.3


class VisionNetwork(nn.Module):
    """2 by 17 by 17 counts → two convolutions with CubaLIF → 128 CubaLIF → logits."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        first, second = shape.channels
        self.shape = shape
        self.first = Convolved(2, first, 5, 2)
        self.first_spikes = Spiking([first, 1, 1], (0.01, 0.02), (0.03, 0.08))
        self.second = Convolved(first, second, 3, 2)
        self.second_spikes = Spiking([second, 1, 1], (0.01, 0.02), (0.04, 0.1))
        self.hidden = Tapped(second * 3 * 3, shape.hidden, (0,))
        self.hidden_spikes = Spiking([shape.hidden], (0.01, 0.03), (0.04, 0.1))
        self.readout = Readout(shape.hidden, shape.bins, shape.bin_steps, shape.steps, shape.tau_s)
        self.drop_maps, self.drop = Drop(shape.drop / 2), Drop(shape.drop)

    def forward(self, counts: Tensor) -> Tensor:
        """Return logits [batch, 10] from counts [batch, steps, 2, 17, 17]."""
        x = self.drop_maps(self.first_spikes(self.first(counts.transpose(0, 1))))
        x = self.drop_maps(self.second_spikes(self.second(x)))
        x = self.drop(self.hidden_spikes(self.hidden(x.flatten(2))))
        logits: Tensor = self.readout(x)
        return logits


def spike_rates(network: nn.Module) -> dict[str, float]:
    """Return population → fraction of bins with a spike in the last batch."""
    return {
        name.removesuffix("_spikes"): module.rate
        for name, module in network.named_modules()
        if isinstance(module, Spiking)
    }


@torch.no_grad()
def folded(layer: Tapped | Convolved) -> tuple[Tensor, Tensor]:
    """Return a layer's weights and bias with its batch norm folded in."""
    norm = layer.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weights = layer.weights.weight
    return (
        weights * scale.view(-1, *[1] * (weights.dim() - 1)),
        norm.bias - norm.running_mean * scale,
    )
