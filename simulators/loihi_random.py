"""Random networks of Loihi's integers with inputs, for trying one engine against another."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulators.loihi import LoihiEngine
from simulators.loihi_connections import SIGN_MODES, Connection, Conv, Dense, Sparse
from simulators.loihi_fields import IntArray
from simulators.loihi_network import (
    THRESHOLD_MAX,
    InputNode,
    LifPopulation,
    LoihiNetwork,
    OutputNode,
    PeriodicReset,
)

Inputs = Mapping[str, NDArray[np.int64]]
Ends = tuple[str, str, str]
"""A connection's name, source and target."""

LOW, HIGH = 0.01, 0.5
"""Share of its bins in which a population is meant to spike."""


def random_network(seed: int, *, batch: int = 2, steps: int = 40) -> tuple[LoihiNetwork, Inputs]:
    """Return a random network and inputs for it, input → [batch, steps, *shape].

    Over the seeds there are feed-forward and recurrent networks, every kind of connection, with
    and without delays and graded spikes, all sign modes, exponents and numbers of bits, weights
    beyond their range, biases of both signs, periodic resets, initial states, and inputs that
    wrap u or clip v. Thresholds are chosen so that populations spike in 1 to 50 % of their bins
    where any threshold does that.

    Args:
        seed: the same seed gives the same network and inputs.
        batch: samples.
        steps: time steps.
    """
    rng = np.random.default_rng(seed)
    network = _Maker(rng).network()
    inputs = {
        one.name: _raster(rng, (batch, steps, *one.shape), network.payload_limit(one.name))
        for one in network.inputs
    }
    return _with_thresholds(network, inputs), inputs


def _raster(rng: np.random.Generator, shape: tuple[int, ...], limit: int) -> NDArray[np.int64]:
    spikes = rng.random(shape) < rng.uniform(0.05, 0.6)
    payload = rng.integers(1, limit, shape, endpoint=True)
    return np.where(spikes, payload, 0).astype(np.int64)


def _with_thresholds(network: LoihiNetwork, inputs: Inputs) -> LoihiNetwork:
    """Return the network with thresholds moved, one population after the other, into activity."""
    for index, population in enumerate(network.populations):
        low, high = 0, THRESHOLD_MAX
        while low < high:
            middle = (low + high) // 2
            raised = np.minimum(population.vth + middle, THRESHOLD_MAX)
            network = _with(network, index, vth=raised.astype(np.int32))
            counts = LoihiEngine(network).run(inputs).counts
            bins = population.size * next(iter(inputs.values())).shape[1]
            share = float(np.mean(counts.spikes[population.name]) / bins)
            if LOW <= share <= HIGH:
                break
            low, high = (middle + 1, high) if share > HIGH else (low, middle)
    return network


def _with(network: LoihiNetwork, index: int, **changes: Any) -> LoihiNetwork:
    populations = list(network.populations)
    populations[index] = replace(populations[index], **changes)
    return replace(network, populations=tuple(populations))


class _Maker:
    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def network(self) -> LoihiNetwork:
        rng = self._rng
        shapes = [self._shape() for _ in range(self._int(2, 4))]
        names = ["input", *(f"lif{number}" for number in range(1, len(shapes)))]
        graded = int(rng.choice([0, 0, 1, 4, 8, 16, 23]))
        connections: list[Connection] = []
        for number in range(1, len(shapes)):
            source = self._int(0, number - 1) if rng.random() < 0.3 else number - 1
            bits = graded if source == 0 else int(rng.choice([0, 0, 0, 1, 8]))
            ends = (f"{names[source]}->{names[number]}", names[source], names[number])
            made, shapes[number] = self._connection(ends, shapes[source], shapes[number], bits)
            connections.append(made)
        for _ in range(self._int(0, 2)):
            source, target = self._int(1, len(shapes) - 1), self._int(1, len(shapes) - 1)
            ends = (f"loop{len(connections)}", names[source], names[target])
            connections.append(
                self._synapses(ends, _size(shapes[source]), _size(shapes[target]), 0)
            )
        pairs = list(zip(names, shapes, strict=True))[1:]
        return LoihiNetwork(
            dt_s=1e-3,
            inputs=(InputNode("input", shapes[0]),),
            populations=tuple(self._population(name, shape) for name, shape in pairs),
            connections=tuple(connections),
            outputs=tuple(self._output(name, shape) for name, shape in pairs),
        )

    def _output(self, name: str, shape: tuple[int, ...]) -> OutputNode:
        reads: Literal["spikes", "v"] = "v" if self._rng.random() < 0.3 else "spikes"
        return OutputNode(name=f"{name}.out", source=name, shape=shape, reads=reads)

    def _shape(self) -> tuple[int, ...]:
        rng = self._rng
        if rng.random() < 0.5:
            return (int(rng.integers(1, 13)),)
        return tuple(rng.integers(1, [4, 7, 7]).tolist())

    def _population(self, name: str, shape: tuple[int, ...]) -> LifPopulation:
        rng, size = self._rng, _size(shape)
        interval = self._int(1, 29)
        return LifPopulation(
            name=name,
            shape=shape,
            du=self._decays(size),
            dv=self._decays(size),
            vth=self._ints(0, 4095 if rng.random() < 0.25 else 0, size),
            bias_mant=self._around_zero(size, [0, 0, 10, 1000, 2**15 - 1]),
            bias_exp=self._ints(*((-15, 15) if rng.random() < 0.2 else (0, 7)), size),
            u=self._around_zero(size, [0, 0, 2**10, 2**23 - 1]),
            v=self._around_zero(size, [0, 0, 2**10, 2**23 - 1]),
            reset=PeriodicReset(interval, self._int(0, interval - 1))
            if rng.random() < 0.25
            else None,
        )

    def _int(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high, endpoint=True))

    def _ints(self, low: int, high: int, shape: int | tuple[int, ...]) -> IntArray:
        return self._rng.integers(low, high, shape, endpoint=True).astype(np.int32)

    def _around_zero(self, size: int, reaches: list[int]) -> IntArray:
        reach = int(self._rng.choice(reaches))
        return self._ints(-reach, reach, size)

    def _decays(self, size: int) -> IntArray:
        """Return decays [size], mostly one for all, as Lava's own LIF has it."""
        if self._rng.random() < 0.25:
            return self._ints(0, 4095, size)
        one = (0, 1, 4095, self._int(0, 4095), self._int(0, 4095))[self._int(0, 4)]
        return np.full(size, one, np.int32)

    def _connection(
        self, ends: Ends, n_pre: tuple[int, ...], n_post: tuple[int, ...], bits: int
    ) -> tuple[Connection, tuple[int, ...]]:
        """Return a connection and the shape of its target, which a convolution decides."""
        if len(n_pre) == 3 and self._rng.random() < 0.6:
            conv = self._convolution(ends, n_pre, bits)
            return conv, conv.output_shape
        return self._synapses(ends, _size(n_pre), _size(n_post), bits), n_post

    def _synapses(self, ends: Ends, n_pre: int, n_post: int, bits: int) -> Dense | Sparse:
        rng = self._rng
        span = int(rng.choice([3, 40, 255, 255, 300]))
        low, high = [(-span, span), (0, span), (-span, 0)][rng.integers(0, 3)]
        weights = self._ints(low, high, (n_post, n_pre))
        delays = self._ints(0, int(rng.choice([0, 2, 11, 63])), weights.shape)
        common: dict[str, Any] = {
            **_named(ends),
            "weight_exp": int(rng.integers(-8, 8)),
            "num_weight_bits": int(rng.choice([8, 8, self._int(1, 8)])),
            "sign_mode": [None, None, *SIGN_MODES][rng.integers(0, 5)],
            "num_message_bits": bits,
        }
        delayed = rng.random() < 0.4
        if rng.random() < 0.5:
            return Dense(weights=weights, delays=delays if delayed else None, **common)
        post, pre = np.argwhere(rng.random(weights.shape) < 0.4).astype(np.int32).T
        return Sparse(
            pre=pre, post=post, weights=weights[post, pre], n_pre=n_pre, n_post=n_post,
            delays=delays[post, pre] if delayed else None, **common,
        )  # fmt: skip

    def _convolution(self, ends: Ends, shape: tuple[int, ...], bits: int) -> Conv:
        rng = self._rng
        channels = shape[0]
        groups = int(rng.choice([one for one in (1, 2, 3) if channels % one == 0]))
        out_channels = groups * int(rng.integers(1, 3))
        kernel = [self._int(1, min(extent, 3)) for extent in shape[1:]]
        span = int(rng.choice([20, 255, 255 << 7]))
        dilations = [
            self._int(1, 2) if extent >= 2 * size else 1
            for extent, size in zip(shape[1:], kernel, strict=True)
        ]
        reach = span * channels // groups * kernel[0] * kernel[1]
        return Conv(
            **_named(ends),
            weights=self._ints(-span, span, (out_channels, channels // groups, *kernel)),
            input_shape=shape,
            stride=(self._int(1, 2), self._int(1, 2)),
            padding=(self._int(0, 2), self._int(0, 2)),
            dilation=(dilations[0], dilations[1]),
            groups=groups,
            num_message_bits=min(bits, 31 - reach.bit_length()),
        )


def _named(ends: Ends) -> dict[str, str]:
    return dict(zip(("name", "source", "target"), ends, strict=True))


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
