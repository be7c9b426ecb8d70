"""Stepping of synapses in Loihi's integers: from spikes to the registers that neurons read.

A synapse reads the spikes of a step and writes registers; a neuron reads them one step later, with
a delay of d as many steps later again. Equations: `PyDenseModelBitAcc`, `PyDelayDenseModelBitAcc`,
their sparse twins and `PyConvModelFixed` of lava-nc 0.10.0.
"""

import math
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from simulators.connectivity import Window, convolution
from simulators.loihi_arithmetic import (
    Ints,
    clipped_weights,
    shifted,
    sign_mode_of,
    stored_weights,
    wrapped,
)
from simulators.loihi_connections import Connection, Conv, Dense, Sparse

CONV_BITS = 24
"""Lava wraps the sums of a convolution to 24 bits, all others to the 32 of its registers."""


class Synapses:
    """Steps one connection.

    Attributes:
        slots: registers of a postsynaptic neuron, one for every delay up to the largest.
        fan_out: int64 [n_pre], synapses with a stored weight other than 0.
        clipped: weights that were out of the range of their sign mode.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        n_post, n_pre = connection.sizes
        pre, post, weight, delay = stored_synapses(connection)
        self.clipped = _count_clipped(connection)
        delays = None if isinstance(connection, Conv) else connection.delays
        self.slots = 1 + (0 if delays is None else int(delays.max(initial=0)))
        self.fan_out: Ints = np.bincount(pre, minlength=n_pre)
        shape = self.slots * n_post, n_pre
        self._matrix: Any = csr_array((weight, (delay * n_post + post, pre)), shape=shape)
        if weight.size * 10 >= math.prod(shape):
            self._matrix = self._matrix.toarray()

    def sums(self, spikes: Ints) -> tuple[Ints, Ints]:
        """Return the new registers and how many sums left their width.

        Args:
            spikes: int64 [batch, n_pre], 1 or the payload where a neuron spiked, else 0.

        Returns:
            int64 [batch, slots, n_post], and int64 [batch].
        """
        connection = self._connection
        exact: Ints = (self._matrix @ spikes.T).T.reshape(len(spikes), self.slots, -1)
        if isinstance(connection, Conv):
            written = wrapped(exact, CONV_BITS)
        else:
            summed = exact if _sums_in_64_bits(connection) else wrapped(exact, 32)
            exact = shifted(exact, connection.weight_exp)
            written = wrapped(shifted(summed, connection.weight_exp), 32)
        return written, np.count_nonzero(written != exact, axis=(1, 2))

    def events(self, spikes: Ints) -> Ints:
        """Return the synapses, int64 [batch], that carried a spike."""
        carried: Ints = (spikes != 0).astype(np.int64) @ self.fan_out
        return carried


def _sums_in_64_bits(connection: Dense | Sparse) -> bool:
    """Return whether Lava sums without wrapping; it does so by the habits of NumPy and SciPy."""
    graded = connection.num_message_bits > 0
    return not graded or (isinstance(connection, Dense) and connection.delays is not None)


def stored_synapses(connection: Connection) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the synapses whose stored weight is not 0.

    Returns:
        int64 [synapses] each: presynaptic neuron, postsynaptic neuron, weight, delay.
    """
    pre, post, weight, delay = _all_synapses(connection)
    stored = weight != 0
    return pre[stored], post[stored], weight[stored], delay[stored]


def _all_synapses(connection: Connection) -> tuple[Ints, Ints, Ints, Ints]:
    if isinstance(connection, Conv):
        window = Window(
            connection.stride, connection.padding, connection.padding, connection.dilation
        )
        kernel = connection.weights.astype(np.float64)
        shapes = connection.input_shape, connection.output_shape
        taps = convolution(kernel, *shapes, window, connection.groups)
        return taps.pre, taps.post, taps.weight.astype(np.int64), np.zeros_like(taps.pre)
    weights = stored_weights(connection.weights, connection.sign_mode, connection.num_weight_bits)
    delays = np.zeros_like(weights) if connection.delays is None else connection.delays
    if isinstance(connection, Dense):
        post, pre = np.indices(weights.shape, np.int64).reshape(2, -1)
    else:
        pre, post = connection.pre.astype(np.int64), connection.post.astype(np.int64)
    return pre, post, weights.ravel(), delays.ravel().astype(np.int64)


def _count_clipped(connection: Connection) -> int:
    if isinstance(connection, Conv):
        return 0
    mode = connection.sign_mode or sign_mode_of(connection.weights)
    return int(np.count_nonzero(clipped_weights(connection.weights, mode) != connection.weights))
