"""Parts that the PyTorch platforms share."""

from collections.abc import Mapping

import numpy as np
import torch
from common import IMAGE, Draw

KERNELS = 4
SPATIAL = (KERNELS, IMAGE[1] - 2, IMAGE[2] - 2)
POOLED = SPATIAL[0] * (SPATIAL[1] // 2) * (SPATIAL[2] // 2)


def tensor(draw: Draw, values: np.ndarray) -> torch.Tensor:
    """Return values as a float32 tensor, as multiples of 1/64 in a network of ties."""
    return torch.from_numpy(draw.rounded(values))


def linear(draw: Draw, out: int, into: int, make: type = torch.nn.Linear) -> torch.nn.Module:
    """Return a linear layer with drawn weights and bias."""
    layer = make(into, out)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(draw.weight(out, into)))
        layer.bias.copy_(tensor(draw, draw.rng.normal(0.05, 0.1, out)))
    return layer


def conv(draw: Draw, make: type = torch.nn.Conv2d) -> torch.nn.Module:
    """Return a 3 x 3 convolution of the image with drawn weights and a bias."""
    layer = make(IMAGE[0], KERNELS, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(draw.weight(KERNELS, IMAGE[0], 3, 3)))
        layer.bias.copy_(tensor(draw, np.full(KERNELS, 0.1)))
    return layer


def collect(frames: list[Mapping[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """Return node → spikes [steps, *shape] of frames with a batch of one."""
    return {
        name: np.stack([frame[name][0].detach().numpy() for frame in frames]) for name in frames[0]
    }
