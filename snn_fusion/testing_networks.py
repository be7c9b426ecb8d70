"""Small networks that together use every part of NIR, for `snn_fusion.testing`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Network:
    """A network to test with.

    Attributes:
        graph: the network.
        rate: mean number of events on an input line in a step.
    """

    graph: nir.NIRGraph
    rate: float = 0.2

    @property
    def kinds(self) -> set[str]:
        """NIR types it uses."""
        return {type(node).__name__ for node in self.graph.nodes.values()}

    def inputs(self, batch: int, steps: int) -> dict[str, Array]:
        """Return Input node → event counts [batch, steps, *shape], the same at every call."""
        rng = np.random.default_rng(7)
        shapes = {name: node.input_type["input"] for name, node in self.graph.inputs.items()}
        return {
            name: rng.poisson(self.rate, (batch, steps, *shape)).astype(np.float64)
            for name, shape in shapes.items()
        }


def _chain(*nodes: nir.NIRNode) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(*nodes)


def _input(*shape: int) -> nir.Input:
    return nir.Input({"input": np.array(shape)})


def _output(*shape: int) -> nir.Output:
    return nir.Output({"output": np.array(shape)})


def _lif(size: int, threshold: float = 1.0) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(
        tau=one * 0.01, r=one * 2, v_leak=one * 0.05, v_threshold=one * threshold, v_reset=one * 0
    )


def _cuba(size: int) -> nir.CubaLIF:
    one = np.ones(size)
    return nir.CubaLIF(
        tau_syn=one * 0.004,
        tau_mem=one * 0.012,
        r=one,
        v_leak=one * 0,
        v_threshold=one * 0.6,
        v_reset=one * -0.1,
        w_in=np.linspace(0.8, 1.2, size),
    )


def _weights(post: int, pre: int, seed: int, scale: float = 1.0) -> Array:
    return np.random.default_rng(seed).normal(0.6, 1.0, (post, pre)) * scale


def feed_forward() -> Network:
    """Two LIF layers and a leaky readout."""
    readout = nir.LI(tau=np.full(3, 0.02), r=np.ones(3), v_leak=np.zeros(3))
    return Network(
        _chain(
            _input(6),
            nir.Affine(_weights(12, 6, 0, 6.0), np.full(12, 0.1)),
            _lif(12),
            nir.Linear(_weights(9, 12, 1, 4.0)),
            _lif(9),
            nir.Linear(_weights(3, 9, 2)),
            readout,
            _output(3),
        )
    )


def recurrent() -> Network:
    """A CubaLIF population that excites and inhibits itself through a bias."""
    nodes: dict[str, Any] = {
        "in": _input(5),
        "w_in": nir.Linear(_weights(16, 5, 3, 6.0)),
        "cuba": _cuba(16),
        "w_rec": nir.Affine(_weights(16, 16, 4, 0.5) - 0.4, np.full(16, 0.02)),
        "out": _output(16),
    }
    edges = [("in", "w_in"), ("w_in", "cuba"), ("cuba", "w_rec"), ("w_rec", "cuba"),
             ("cuba", "out")]  # fmt: skip
    return Network(nir.NIRGraph(nodes, edges))


def two_sensors() -> Network:
    """Two inputs that meet in one population, and two outputs."""
    nodes: dict[str, Any] = {
        "left": _input(4),
        "right": _input(3),
        "w_left": nir.Linear(_weights(8, 4, 5, 5.0)),
        "w_right": nir.Linear(_weights(8, 3, 6, 5.0)),
        "joint": _lif(8),
        "scale": nir.Scale(np.linspace(0.5, 2, 8)),
        "integrator": nir.I(r=np.ones(8)),
        "spikes": _output(8),
        "sums": _output(8),
    }
    edges = [("left", "w_left"), ("right", "w_right"), ("w_left", "joint"), ("w_right", "joint"),
             ("joint", "spikes"), ("joint", "scale"), ("scale", "integrator"),
             ("integrator", "sums")]  # fmt: skip
    return Network(nir.NIRGraph(nodes, edges))


def convolutional() -> Network:
    """Convolution, pooling and a dense layer on an image of events."""
    kernel = np.random.default_rng(8).normal(0.8, 1.0, (3, 2, 3, 3))
    conv = nir.Conv2d((8, 8), kernel * 5, 1, 1, 1, 1, np.full(3, 0.05))
    image = np.ones((3, 8, 8))
    spiking = nir.IF(r=image * 100, v_threshold=image, v_reset=image * 0)
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    flatten = nir.Flatten({"input": np.array([3, 4, 4])}, start_dim=0, end_dim=-1)
    return Network(
        _chain(
            _input(2, 8, 8), conv, spiking, pool, flatten,
            nir.Linear(_weights(5, 48, 9, 1.5)), _lif(5), _output(5),
        ),
        rate=0.05,
    )  # fmt: skip


def delays_and_thresholds() -> Network:
    """A delay of its own for every line, a threshold without memory, a filtered current."""
    size = 6
    one = np.ones(size)
    filtered = nir.CubaLI(
        tau_syn=one * 0.005, tau_mem=one * 0.01, r=one, v_leak=one * 0, w_in=one * 2
    )
    return Network(
        _chain(
            _input(size),
            nir.Linear(_weights(size, size, 10)),
            nir.Delay(np.arange(size) * 1e-3),
            nir.Threshold(one * 0.7),
            filtered,
            nir.Threshold(one * 0.3),
            _output(size),
        )
    )


NETWORKS: Mapping[str, Callable[[], Network]] = MappingProxyType(
    {
        made.__name__: made
        for made in (feed_forward, recurrent, two_sensors, convolutional, delays_and_thresholds)
    }
)
"""Name → network."""
