"""Networks of snnTorch, exported by `snntorch.export_nir`."""

from functools import partial

import numpy as np
import snntorch as snn
import torch
from common import IMAGE, SIZES, Draw, Made
from snntorch.export_nir import export_to_nir
from torch_parts import POOLED, SPATIAL, collect, conv, linear, tensor


def _decays(draw: Draw, *shape: int) -> torch.Tensor:
    choices = [0.5, 0.75, 0.875, 0.9375] if draw.ties else np.linspace(0.5, 0.98, 200)
    return torch.from_numpy(draw.rng.choice(choices, shape).astype(np.float32))


def _neuron(kind: str, draw: Draw, shape: tuple[int, ...], **options: object) -> torch.nn.Module:
    options["threshold"] = tensor(draw, draw.rng.uniform(0.8, 1.5, shape))
    options["beta"] = _decays(draw, *shape)
    if kind.endswith("Synaptic"):
        options["alpha"] = _decays(draw, *shape)
    if not kind.startswith("R"):
        return getattr(snn, kind)(**options, init_hidden=True)
    (size,) = shape
    layer = getattr(snn, kind)(**options, init_hidden=True, linear_features=size)
    with torch.no_grad():
        layer.recurrent.weight.copy_(torch.from_numpy(draw.weight(size, size, mean=-0.1)))
        layer.recurrent.bias.copy_(tensor(draw, draw.rng.normal(0, 0.1, size)))
    return layer


def _run(net: torch.nn.Sequential, raster: np.ndarray) -> Made:
    graph = export_to_nir(net, torch.from_numpy(raster[:1]), ignore_dims=[0])
    for module in net:
        if isinstance(module, snn.SpikingNeuron):
            module.reset_mem()  # exporting ran the network, and utils.reset forgets RSynaptic.spk
    frames = []
    with torch.no_grad():
        for values in raster:
            x, frame = torch.from_numpy(values)[None], {}
            for index, module in enumerate(net):
                x = module(x)
                if isinstance(module, snn.SpikingNeuron):
                    recurrent = isinstance(module, snn.RLeaky | snn.RSynaptic)
                    frame[f"{index}.lif" if recurrent else str(index)] = x
            frames.append(frame)
    return Made(graph, raster, collect(frames))


def layers(kind: str, options: dict[str, object], draw: Draw) -> Made:
    """Return two layers of one kind of neuron."""
    lines, first, second = SIZES
    net = torch.nn.Sequential(
        linear(draw, first, lines),
        _neuron(kind, draw, (first,), **options),
        linear(draw, second, first),
        _neuron(kind, draw, (second,), **options),
    )
    return _run(net, draw.raster(lines))


def convolution(options: dict[str, object], draw: Draw) -> Made:
    """Return a convolution with pooling in front of a layer of Leaky."""
    net = torch.nn.Sequential(
        conv(draw),
        _neuron("Leaky", draw, SPATIAL, **options),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        linear(draw, SIZES[2], POOLED),
        _neuron("Leaky", draw, SIZES[2:], **options),
    )
    return _run(net, draw.raster(*IMAGE))


RESETS = {reset: {"reset_mechanism": reset} for reset in ("zero", "subtract")}
KINDS = ("Leaky", "Synaptic", "RLeaky", "RSynaptic")
AT_ONCE = {"reset_mechanism": "zero", "reset_delay": False}

CELLS = (
    {
        f"{kind}-{reset}": partial(layers, kind, options)
        for kind in KINDS
        for reset, options in RESETS.items()
    }
    | {f"conv-{reset}": partial(convolution, options) for reset, options in RESETS.items()}
    | {
        f"{kind}-at-once": partial(layers, kind, AT_ONCE)
        for kind in ("Leaky", "Synaptic", "RLeaky")
    }
)
