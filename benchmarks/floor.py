"""The memory floor: how long what a run must read and write takes to pass through the L2 cache.

That is every weight that a spike asks for, as the number that the contract computes in, and, in a
sparse matrix, the four bytes that say where it goes; and in every step each neuron's input, current
and membrane, read and written. An engine that stores smaller numbers, or whose neurons fit the L1
cache, may be faster than this.
"""

from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.networks import Network
from benchmarks.timing import seconds
from simulators.compiled_weights import SYNAPSES_BELOW
from simulators.neurons import Neuron
from simulators.operations import Weights

_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_PASSES, _TIMES = 50, 15


def floor_ms(network: Network, synaptic_events: int, batch: int = 1) -> float:
    """Return the milliseconds within which L2 can deliver the weights of so many events.

    With them the state of all neurons, in each step of each sample.
    """
    number = network.plan.float_type.itemsize
    weights = synaptic_events * (number + 4 * _sparse(network))
    state = sum(
        2 * node.size * number * (2 + (node.operation.synapse is not None))
        for node in network.plan.nodes
        if isinstance(node.operation, Neuron)
    )
    passing = weights + state * network.steps * batch
    return passing / l2_bytes_per_s() * 1e3


def _sparse(network: Network) -> bool:
    """Return whether most weights of the network lie in a matrix of mostly zeros."""
    connections = [
        node.operation.connection
        for node in network.plan.nodes
        if isinstance(node.operation, Weights)
    ]
    pairs = sum(one.n_pre * one.n_post for one in connections)
    return sum(one.weight.size for one in connections) < SYNAPSES_BELOW * pairs


def l2_bytes_per_s() -> float:
    """Measure how fast one core reads a block of half its L2 cache, again and again."""
    block = np.ones(_l2_bytes() // 2 // 4, np.float32)
    _read(block, 1)
    reading = partial(_read, block, _PASSES)
    return block.nbytes * _PASSES / median(seconds(reading) for _ in range(_TIMES))


def _l2_bytes() -> int:
    text = _L2.read_text().strip() if _L2.exists() else "1024K"
    return int(text.removesuffix("K")) * 1024


@njit(fastmath=True)  # the order of additions is free, so that the sum is vectorised
def _read(block: NDArray[np.float32], passes: int) -> float:
    total = np.float32(0)
    for turn in range(passes):
        block[0] = turn  # else one pass would do for all
        for n in range(block.size):
            total += block[n]
    return float(total)
