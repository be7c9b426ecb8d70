"""Networks of SpikingJelly, exported by `spikingjelly.activation_based.nir_exchange`."""

from functools import partial

import numpy as np
import torch
from common import IMAGE, SIZES, Draw, Made
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch_parts import POOLED, collect, conv, linear


def _neuron(kind: str, draw: Draw) -> torch.nn.Module:
    rng = draw.rng
    threshold = float(draw.rounded(rng.uniform(0.15, 0.4)))
    if kind == "IF":
        return neuron.IFNode(v_threshold=2 * threshold, v_reset=0.0)
    if kind == "CUBALIF":
        decays = [0.5, 0.75, 0.875] if draw.ties else np.linspace(0.5, 0.95, 46)
        c, v = (float(rng.choice(decays)) for _ in range(2))
        return neuron.CUBALIFNode(c_decay=c, v_decay=v, v_threshold=4 * threshold)
    tau = float(rng.choice([2.0, 4.0, 8.0] if draw.ties else np.linspace(1.5, 12, 200)))
    v_reset = float(draw.rounded(rng.uniform(-0.1, 0.1)))
    if kind == "PLIF":
        return neuron.ParametricLIFNode(tau, v_threshold=threshold, v_reset=v_reset)
    return neuron.LIFNode(
        tau, decay_input=kind != "LIF-whole", v_threshold=threshold, v_reset=v_reset
    )


def _run(net: torch.nn.Sequential, raster: np.ndarray) -> Made:
    graph = export_to_nir(net, torch.from_numpy(raster[:1]), dt=1e-4)
    functional.reset_net(net)
    frames = []
    with torch.no_grad():
        for values in raster:
            x, frame = torch.from_numpy(values)[None], {}
            for index, module in enumerate(net):
                x = module(x)
                if isinstance(module, neuron.BaseNode):
                    frame[f"_{index}"] = x
            frames.append(frame)
    return Made(graph, raster, collect(frames))


def layers(kind: str, draw: Draw) -> Made:
    """Return two layers of one kind of neuron."""
    lines, first, second = SIZES
    net = torch.nn.Sequential(
        linear(draw, first, lines, layer.Linear),
        _neuron(kind, draw),
        linear(draw, second, first, layer.Linear),
        _neuron(kind, draw),
    )
    return _run(net, draw.raster(lines))


def convolution(kind: str, draw: Draw) -> Made:
    """Return a convolution with pooling in front of a layer of neurons."""
    net = torch.nn.Sequential(
        conv(draw, layer.Conv2d),
        _neuron(kind, draw),
        layer.AvgPool2d(2),
        layer.Flatten(),
        linear(draw, SIZES[2], POOLED, layer.Linear),
        _neuron(kind, draw),
    )
    return _run(net, draw.raster(*IMAGE))


KINDS = ("LIF", "LIF-whole", "PLIF", "IF", "CUBALIF")
CELLS = {kind: partial(layers, kind) for kind in KINDS} | {
    f"conv-{kind}": partial(convolution, kind) for kind in ("LIF", "IF")
}
