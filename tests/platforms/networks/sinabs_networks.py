"""Networks of sinabs, exported by `sinabs.nir`."""

from functools import partial

import numpy as np
import sinabs.layers as sl
import sinabs.nir
import torch
from common import IMAGE, SIZES, STEPS, Draw, Made
from sinabs.activation import MembraneReset, SingleSpike
from torch_parts import POOLED, SPATIAL, conv, linear, tensor


def _layer(kind: str, draw: Draw, shape: tuple[int, ...]) -> torch.nn.Module:
    threshold = tensor(draw, draw.rng.uniform(0.1, 0.3, shape))
    options: dict[str, object] = {"batch_size": 1, "spike_threshold": threshold}
    if kind == "IAF":
        return sl.IAFSqueeze(**options)
    if kind == "LIF-floor":
        options["min_v_mem"] = -0.25
    if kind == "LIF-single":
        options |= {"spike_fn": SingleSpike, "reset_fn": MembraneReset()}
    if kind == "LIF-unnormalised":
        options["norm_input"] = False
    taus = draw.rng.choice(np.linspace(2, 30, 57), shape).astype(np.float32)
    return sl.LIFSqueeze(tau_mem=torch.from_numpy(taus), **options)


def _run(net: torch.nn.Sequential, raster: np.ndarray) -> Made:
    x = torch.from_numpy(raster)
    with torch.no_grad():
        graph = sinabs.nir.to_nir(net, x)
        graph.infer_types()
        for module in net:
            if isinstance(module, sl.StatefulLayer):
                module.reset_states()  # exporting ran the network
        spikes = {}
        for index, module in enumerate(net):
            x = module(x)
            if isinstance(module, sl.StatefulLayer):
                spikes[str(index)] = x.reshape(STEPS, *module.v_mem.shape[1:]).numpy()
    return Made(graph, raster, spikes)


def layers(kind: str, draw: Draw) -> Made:
    """Return two layers of one kind of neuron."""
    lines, first, second = SIZES
    net = torch.nn.Sequential(
        linear(draw, first, lines),
        _layer(kind, draw, (first,)),
        linear(draw, second, first),
        _layer(kind, draw, (second,)),
    )
    return _run(net, draw.raster(lines))


def convolution(kind: str, draw: Draw) -> Made:
    """Return a convolution with pooling in front of a layer of neurons."""
    net = torch.nn.Sequential(
        conv(draw),
        _layer(kind, draw, SPATIAL),
        sl.SumPool2d(2),
        torch.nn.Flatten(),
        linear(draw, SIZES[2], POOLED),
        _layer(kind, draw, SIZES[2:]),
    )
    return _run(net, draw.raster(*IMAGE))


KINDS = ("LIF", "LIF-unnormalised", "LIF-floor", "LIF-single", "IAF")
CELLS = {kind: partial(layers, kind) for kind in KINDS} | {
    f"conv-{kind}": partial(convolution, kind) for kind in ("LIF", "IAF")
}
