"""Trained networks as one NIR graph with an Input and an Output per sensor; needs PyTorch."""

from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from av_digits.layers import DT_S, GAIN, Readout, Spiking
from av_digits.networks import AudioNetwork, VisionNetwork, folded

Array32 = NDArray[np.float32]


class GraphBuilder:
    """Collects nodes and edges; several edges into one node add up."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: nir.NIRNode, *sources: str) -> str:
        """Add a node fed by `sources` and return its name."""
        self.nodes[name] = node
        self.edges.extend((source, name) for source in sources)
        return name

    def delayed(self, source: str, size: int, steps: int) -> str:
        """Return the name of `source` delayed by whole steps, made once."""
        if steps == 0:
            return source
        name = f"{source}_after_{round(steps * DT_S * 1000)}ms"
        if name not in self.nodes:
            # float64: the delay must be a whole number of steps to within a millionth.
            self.add(name, nir.Delay(np.full(size, steps * DT_S)), source)
        return name

    def tapped(
        self, source: str, name: str, taps: Sequence[int], weights: Array32, bias: Array32
    ) -> list[str]:
        """Add one weight node per tap and return their names; the first holds the bias.

        Args:
            source: node whose activity is weighted.
            name: start of the new nodes' names.
            taps: delays in steps.
            weights: [taps, outputs, inputs].
            bias: [outputs].
        """
        size = weights.shape[2]
        made: list[str] = []
        for tap, part in zip(taps, weights, strict=True):
            contiguous = np.ascontiguousarray(part)
            node = nir.Linear(contiguous) if made else nir.Affine(contiguous, bias)
            made.append(self.add(f"{name}_{tap}", node, self.delayed(source, size, tap)))
        return made


def export(audio: Sequence[AudioNetwork], vision: Sequence[VisionNetwork]) -> nir.NIRGraph:
    """Return one graph; networks of one sensor share its input and their logits are averaged."""
    build = GraphBuilder()
    build.add("audio", nir.Input({"input": np.array([audio[0].shape.lines])}))
    build.add("vision", nir.Input({"input": np.array([2, 17, 17])}))
    parts = [
        part for n, one in enumerate(audio) for part in _audio(build, one, f"audio{n}", len(audio))
    ]
    _output(build, "audio", parts, audio[0].readout)
    parts = [
        part
        for n, one in enumerate(vision)
        for part in _vision(build, one, f"vision{n}", len(vision))
    ]
    _output(build, "vision", parts, vision[0].readout)
    return nir.NIRGraph(build.nodes, build.edges)


def _audio(build: GraphBuilder, network: AudioNetwork, name: str, share: int) -> list[str]:
    source = "audio"
    for number, layer, spikes in (
        (1, network.first, network.first_spikes),
        (2, network.second, network.second_spikes),
    ):
        weights, bias = (_array(part) for part in folded(layer))
        split = _by_tap(weights, len(layer.taps))
        drive = build.tapped(source, f"{name}_w{number}", layer.taps, split, bias)
        source = build.add(f"{name}_lif{number}", _neurons(spikes, (len(bias),)), *drive)
    return _readout(build, network.readout, source, name, share)


def _vision(build: GraphBuilder, network: VisionNetwork, name: str, share: int) -> list[str]:
    source, side = "vision", 17
    for number, layer, spikes in (
        (1, network.first, network.first_spikes),
        (2, network.second, network.second_spikes),
    ):
        weights, bias = (_array(part) for part in folded(layer))
        convolution = nir.Conv2d((side, side), weights, 2, "valid", 1, 1, bias)
        side = (side - weights.shape[2]) // 2 + 1
        drive = build.add(f"{name}_conv{number}", convolution, source)
        neurons = _neurons(spikes, (len(bias), side, side))
        source = build.add(f"{name}_lif{number}", neurons, drive)
    shape = np.array([network.shape.channels[1], side, side])
    source = build.add(f"{name}_flat", nir.Flatten({"input": shape}, start_dim=0), source)
    weights, bias = (_array(part) for part in folded(network.hidden))
    drive = build.add(f"{name}_w3", nir.Affine(weights, bias), source)
    neurons = _neurons(network.hidden_spikes, (len(bias),))
    source = build.add(f"{name}_lif3", neurons, drive)
    return _readout(build, network.readout, source, name, share)


def _readout(
    build: GraphBuilder, readout: Readout, source: str, name: str, share: int
) -> list[str]:
    weights = _array(readout.weights.weight) * (readout.SCALE / share)
    # A constant input x has brought the integrator to x·(1 − (1 − leak)^steps) when it is read.
    settled = 1 - (1 - readout.leak) ** readout.steps
    bias = _array(readout.weights.bias) / (share * settled)
    taps = [readout.bin_steps * k for k in range(readout.bins)]
    split = _by_tap(weights, readout.bins)
    return build.tapped(source, f"{name}_out", taps, split, bias.astype(np.float32))


def _output(build: GraphBuilder, sensor: str, parts: Sequence[str], readout: Readout) -> None:
    ones = np.ones(10, np.float32)
    tau = ones * np.float32(DT_S / readout.leak)
    build.add(f"{sensor}_logits", nir.LI(tau=tau, r=ones, v_leak=0 * ones), *parts)
    build.add(f"{sensor}_out", nir.Output({"output": np.array([10])}), f"{sensor}_logits")


def _neurons(spikes: Spiking, shape: tuple[int, ...]) -> nir.CubaLIF:
    def filled(values: Array32 | float) -> Array32:
        return np.array(np.broadcast_to(values, shape), np.float32)

    return nir.CubaLIF(
        tau_syn=filled(DT_S / _array(spikes.a)),
        tau_mem=filled(DT_S / _array(spikes.b)),
        r=filled(GAIN),
        v_leak=filled(0.0),
        v_threshold=filled(1.0),
        v_reset=filled(0.0),
        w_in=filled(1.0),
    )


def _by_tap(weights: Array32, taps: int) -> Array32:
    """Return [taps, outputs, inputs] from weights [outputs, taps * inputs]."""
    return np.moveaxis(weights.reshape(len(weights), taps, -1), 1, 0)


def _array(values: Tensor) -> Array32:
    return values.detach().numpy().astype(np.float32)
