"""Spiking layers for training, in the arithmetic of the `nir` profile; needs PyTorch."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

DT_S = 0.01
GAIN = 2.0
"""Membrane gain R of every spiking neuron; thresholds are 1 and resets go to 0."""


class _Spikes(torch.autograd.Function):
    """CubaLIF over all steps, with a surrogate gradient at the threshold.

    Steps: i += a·(x − i), v += b·(R·i − v), spike where v > 1, which sets v to 0. The gradient of
    the spike is 1 / (1 + 4·|v − 1|)²; none flows through the reset. Written out by hand because
    automatic differentiation of the loop takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return spikes [steps, batch, *shape] for drive x of that shape."""
        membrane, spikes = torch.empty_like(x), torch.empty_like(x)
        i, v = torch.zeros_like(x[0]), torch.zeros_like(x[0])
        for step in range(len(x)):
            i.lerp_(x[step], a)
            v.lerp_(GAIN * i, b)
            membrane[step] = v
            torch.gt(v, 1.0, out=spikes[step])
            v.masked_fill_(v > 1.0, 0.0)
        ctx.save_for_backward(membrane, spikes, a, b)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the drive."""
        membrane, spikes, a, b = ctx.saved_tensors
        surrogate = (membrane - 1).abs_().mul_(4).add_(1).pow_(-2).mul_(grads[0])
        kept = 1 - spikes
        out = torch.empty_like(membrane)
        dv, di = torch.zeros_like(membrane[0]), torch.zeros_like(membrane[0])
        for step in range(len(membrane) - 1, -1, -1):
            dv.mul_(kept[step]).add_(surrogate[step])
            di.addcmul_(dv, GAIN * b)
            torch.mul(di, a, out=out[step])
            dv.mul_(1 - b)
            di.mul_(1 - a)
        return out, None, None


class Spiking(nn.Module):
    """A population of CubaLIF neurons with fixed random time constants.

    Args:
        shape: one time constant each, broadcast over the rest of the population.
        tau_syn_s: range that synaptic time constants are drawn from, uniform in their logarithm.
        tau_mem_s: the same for the membrane.
    """

    def __init__(
        self,
        shape: Sequence[int],
        tau_syn_s: tuple[float, float],
        tau_mem_s: tuple[float, float],
    ) -> None:
        super().__init__()
        self.a: Tensor
        self.b: Tensor
        self.register_buffer("a", DT_S / _log_uniform(shape, *tau_syn_s))
        self.register_buffer("b", DT_S / _log_uniform(shape, *tau_mem_s))
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes for drive x, both [steps, batch, *shape]."""
        spikes: Tensor = _Spikes.apply(  # type: ignore[no-untyped-call]
            x, self.a.expand_as(x[0]).contiguous(), self.b.expand_as(x[0]).contiguous()
        )
        self.rate = float(spikes.detach().mean())
        return spikes


class Tapped(nn.Module):
    """Weights from every input at several delays, batch-normalised: the drive of a population."""

    def __init__(self, inputs: int, outputs: int, taps: Sequence[int]) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.weights = nn.Linear(inputs * len(self.taps), outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return drive [steps, batch, outputs] from x [steps, batch, inputs]."""
        y = self.weights(torch.cat([delayed(x, tap) for tap in self.taps], -1))
        normed: Tensor = self.norm(y.flatten(0, 1)).view(y.shape)
        return normed


class Convolved(nn.Module):
    """A two-dimensional convolution at every step, batch-normalised."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.weights = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return drive [steps, batch, outputs, h', w'] from x [steps, batch, inputs, h, w]."""
        y: Tensor = self.norm(self.weights(x.flatten(0, 1)))
        return y.view(*x.shape[:2], *y.shape[1:])


class Readout(nn.Module):
    """Logits: the membrane of a leaky integrator at the end, fed by spikes at several delays.

    Args:
        inputs: number of spiking neurons.
        bins: number of delays, multiples of `bin_steps`.
        bin_steps: steps between delays.
        steps: steps until the membrane is read.
        tau_s: time constant of the integrator.
    """

    SCALE = 4.0  # keeps trained weights near 1, where the learning rate suits them

    def __init__(self, inputs: int, bins: int, bin_steps: int, steps: int, tau_s: float) -> None:
        super().__init__()
        self.bins, self.bin_steps, self.steps, self.leak = bins, bin_steps, steps, DT_S / tau_s
        self.weights = nn.Linear(inputs * bins, len("0123456789"))
        age = (steps - 1) - torch.arange(steps) - bin_steps * torch.arange(bins)[:, None]
        trace = torch.where(age >= 0, self.leak * (1 - self.leak) ** age.clamp(min=0), 0.0)
        self.trace: Tensor
        self.register_buffer("trace", trace)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return logits [batch, 10] from spikes [steps, batch, inputs]."""
        filtered = torch.einsum("kt,tbn->bkn", self.trace, spikes[: self.steps])
        logits: Tensor = self.weights(filtered.flatten(1) * self.SCALE)
        return logits


class Drop(nn.Module):
    """Silences neurons of a sample for the whole window while training."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        """Return x [steps, batch, ...] with some neurons silenced and the others scaled up."""
        if not self.training or self.chance <= 0:
            return x
        kept = (torch.rand_like(x[:1]) > self.chance).float() / (1 - self.chance)
        return x * kept


def delayed(x: Tensor, steps: int) -> Tensor:
    """Return x [steps, ...] shifted to later steps, with zeros before."""
    return x if steps == 0 else torch.cat([torch.zeros_like(x[:steps]), x[:-steps]])


def _log_uniform(shape: Sequence[int], low: float, high: float) -> Tensor:
    return torch.exp(torch.empty(tuple(shape)).uniform_(math.log(low), math.log(high)))
