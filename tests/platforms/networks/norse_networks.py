"""Networks of Norse, exported by `norse.torch.to_nir`."""

from functools import partial

import nir
import norse.torch as norse
import numpy as np
import torch
from common import IMAGE, SIZES, Draw, Made
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.functional.reset import reset_subtract
from torch_parts import SPATIAL, collect, conv, linear, tensor

CELL_DT = 1e-3


def _inverse(draw: Draw, *shape: int) -> torch.Tensor:
    """Return inverse time constants of 2 to 30 steps."""
    choices = 2.0 ** np.arange(5, 9) if draw.ties else 1e3 / np.linspace(2, 30, 100)
    return torch.from_numpy(draw.rng.choice(choices, shape).astype(np.float32))


def _cell(kind: str, draw: Draw, shape: tuple[int, ...]) -> torch.nn.Module:
    threshold = tensor(draw, draw.rng.uniform(0.1, 0.3, shape))
    zeros = torch.zeros(shape)
    if kind == "IAF":
        return norse.IAFCell(IAFParameters(v_th=threshold * 4, v_reset=zeros))
    mem = _inverse(draw, *shape)
    if kind == "LIF":
        syn = _inverse(draw, *shape)
        p = LIFParameters(syn, mem, v_leak=zeros, v_th=threshold * 4, v_reset=zeros)
        return norse.LIFCell(p, dt=CELL_DT)
    p = LIFBoxParameters(mem, v_leak=zeros, v_th=threshold, v_reset=zeros)
    if kind == "LIFBox-subtract":
        p = p._replace(reset_method=reset_subtract)
    return norse.LIFBoxCell(p, dt=CELL_DT)


def _run(net: torch.nn.Module, raster: np.ndarray) -> Made:
    graph = norse.to_nir(net, torch.from_numpy(raster[0]), dt=1.0)
    graph.infer_types()
    _name_what_is_lost(graph, net)
    state, frames = [None] * len(net), []
    with torch.no_grad():
        for values in raster:
            x, frame = torch.from_numpy(values)[None], {}
            for index, module in enumerate(net):
                if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                    x = module(x)
                    continue
                x, state[index] = module(x, state[index])
                frame[str(index)] = x
            frames.append(frame)
    return Made(graph, raster, collect(frames))


def _name_what_is_lost(graph: nir.NIRGraph, net: torch.nn.Module) -> None:
    """Declare the input weight of a LIFCell, which adds its input unscaled: w_in = τ_syn/dt."""
    for name, node in graph.nodes.items():
        if isinstance(node, nir.CubaLIF):
            tau = 1.0 / net[int(name)].p.tau_syn_inv.double().numpy()
            node.w_in = tau / CELL_DT


def layers(kind: str, draw: Draw) -> Made:
    """Return two layers of one kind of cell."""
    lines, first, second = SIZES
    cells = [_cell(kind, draw, (size,)) for size in (first, second)]
    weights = [linear(draw, first, lines), linear(draw, second, first)]
    net = norse.SequentialState(weights[0], cells[0], weights[1], cells[1])
    return _run(net, draw.raster(lines))


def convolution(kind: str, draw: Draw) -> Made:
    """Return a convolution in front of a layer of cells; Norse exports no Flatten behind it."""
    net = norse.SequentialState(conv(draw), _cell(kind, draw, SPATIAL))
    return _run(net, draw.raster(*IMAGE))


CELLS = {kind: partial(layers, kind) for kind in ("LIFBox", "LIFBox-subtract", "IAF", "LIF")} | {
    f"conv-{kind}": partial(convolution, kind) for kind in ("LIFBox", "IAF")
}
