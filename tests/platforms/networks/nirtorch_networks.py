"""Networks of a cell of one's own, exported by `nirtorch.torch_to_nir` with a map of one's own."""

import nir
import nirtorch
import numpy as np
import torch
from common import SIZES, Draw, Made
from torch_parts import collect, linear, tensor

DT = 1e-3


class Cell(torch.nn.Module):
    """A leaky neuron, v += dt/τ·((0 − v) + x), that spikes above its threshold."""

    def __init__(self, tau: torch.Tensor, threshold: torch.Tensor) -> None:
        super().__init__()
        self.tau, self.threshold = tau, threshold
        self.rate = (DT / tau.double()).float()

    def forward(self, x, state=None):
        v = torch.zeros_like(self.tau) if state is None else state
        v = v + self.rate * (x - v)
        spikes = (v > self.threshold).float()
        return spikes, torch.where(spikes > 0, torch.zeros_like(v), v)


class Net(torch.nn.Module):
    """Two layers of cells."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        lines, first, second = SIZES
        self.w1, self.w2 = linear(draw, first, lines), linear(draw, second, first)
        self.c1, self.c2 = _cell(draw, first), _cell(draw, second)

    def forward(self, x, state=None):
        first, s1 = self.c1(self.w1(x), None if state is None else state[0])
        second, s2 = self.c2(self.w2(first), None if state is None else state[1])
        return second, (first, s1, s2)


class Forward(torch.nn.Module):
    """The same layers as the tracer wants them: a chain without state."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.w1, self.c1, self.w2, self.c2 = net.w1, net.c1, net.w2, net.c2

    def forward(self, x):
        first, _ = self.c1(self.w1(x))
        second, _ = self.c2(self.w2(first))
        return second


def _cell(draw: Draw, size: int) -> Cell:
    steps = draw.rng.choice([2, 4, 8, 16] if draw.ties else np.linspace(2, 30, 100), size)
    tau = torch.from_numpy((steps * DT).astype(np.float32))
    return Cell(tau, tensor(draw, draw.rng.uniform(0.1, 0.3, size)))


def _node(cell: Cell) -> nir.LIF:
    tau = cell.tau.numpy()
    return nir.LIF(tau=tau, r=np.ones_like(tau), v_leak=tau * 0, v_threshold=cell.threshold.numpy())


def layers(draw: Draw) -> Made:
    """Return two layers of cells."""
    net, raster = Net(draw), draw.raster(SIZES[0])
    graph = nirtorch.torch_to_nir(Forward(net), {Cell: _node}, stateful_modules={Cell})
    state, frames = None, []
    with torch.no_grad():
        for values in raster:
            second, (first, *voltages) = net(torch.from_numpy(values)[None], state)
            state = voltages
            frames.append({"c1": first, "c2": second})
    return Made(graph, raster, collect(frames))


CELLS = {"own-cell": layers}
