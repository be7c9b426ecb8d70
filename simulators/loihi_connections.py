"""Synapses in Loihi's integers: dense, sparse and convolutional, as lava-nc 0.10.0 has them.

Every synapse delivers one step after the spike. What the weights become before they are stepped,
and the sums, stand in `simulators.loihi_synapses`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulators.loihi_fields import (
    IntArray,
    Shape,
    check_choice,
    check_name,
    check_whole,
    checked_ints,
    checked_shape,
    fault,
    set_field,
)

SignMode = Literal["mixed", "excitatory", "inhibitory"]
SIGN_MODES: tuple[SignMode, ...] = ("mixed", "excitatory", "inhibitory")

DELAY_MAX = 63
MESSAGE_BITS_MAX = 23
WEIGHT_RANGE = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """All-to-all synapses (Lava's Dense, with `delays` DelayDense).

    Attributes:
        name: unique among connections.
        source: presynaptic input or population.
        target: postsynaptic population.
        weights: int32 [n_post, n_pre], as given: stepping clips and truncates them first.
        delays: int32 [n_post, n_pre], steps on top of the one that every synapse takes, 0 to 63;
            None for none.
        weight_exp: exponent of the weights, −8 to 7.
        num_weight_bits: bits that are kept of a weight, 1 to 8.
        sign_mode: how the bits are read; None lets the weights decide, as Lava does.
        num_message_bits: 0 for binary spikes; else bits of a graded spike's payload, unsigned.
    """

    name: str
    source: str
    target: str
    weights: IntArray
    delays: IntArray | None = None
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: SignMode | None = None
    num_message_bits: int = 0

    def __post_init__(self) -> None:
        _check_ends(self)
        place = f"connections.{self.name}"
        given = checked_ints(f"{place}.weights", self.weights, (-1, -1), *WEIGHT_RANGE)
        set_field(self, "weights", given)
        _check_delays(self, given.shape)
        _check_format(self)

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of postsynaptic and presynaptic neurons."""
        return self.weights.shape[0], self.weights.shape[1]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sparse:
    """Synapses one by one (Lava's Sparse, with `delays` DelaySparse); else as `Dense`.

    Attributes:
        pre: int32 [synapses], presynaptic neuron.
        post: int32 [synapses], postsynaptic neuron; no pair occurs twice.
        weights: int32 [synapses].
        delays: int32 [synapses] or None.
        n_pre: number of presynaptic neurons.
        n_post: number of postsynaptic neurons.
    """

    name: str
    source: str
    target: str
    pre: IntArray
    post: IntArray
    weights: IntArray
    n_pre: int
    n_post: int
    delays: IntArray | None = None
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: SignMode | None = None
    num_message_bits: int = 0

    def __post_init__(self) -> None:
        _check_ends(self)
        place = f"connections.{self.name}"
        for field in ("n_pre", "n_post"):
            check_whole(f"{place}.{field}", getattr(self, field), 1, 2**24)
        given = checked_ints(f"{place}.weights", self.weights, (-1,), *WEIGHT_RANGE)
        set_field(self, "weights", given)
        for field, size in (("pre", self.n_pre), ("post", self.n_post)):
            ends = checked_ints(f"{place}.{field}", getattr(self, field), given.shape, 0, size - 1)
            set_field(self, field, ends)
        pairs = self.pre.astype(np.int64) * self.n_post + self.post
        if np.unique(pairs).size != pairs.size:
            raise fault(place, "connects two neurons twice", "one synapse a pair")
        _check_delays(self, given.shape)
        _check_format(self)

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of postsynaptic and presynaptic neurons."""
        return self.n_post, self.n_pre


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv:
    """A two-dimensional convolution (Lava's Conv), laid out as NIR does: channels, rows, columns.

    Lava knows no exponent, bits or sign mode here and steps the weights as they are; a network for
    the chip gives weights of 8 bits times one power of two. Taps are correlated, as in NIR:
    output[y, x] = Σ weights[j, i] · input[y·stride + j·dilation − padding, ...].

    Attributes:
        weights: int32 [out channels, in channels / groups, rows, columns].
        input_shape: [channels, rows, columns] of the presynaptic neurons.
        stride: of rows and columns; padding (both sides) and dilation likewise.
        groups: number of channel groups.
        num_message_bits: as in `Dense`; so few that no sum can leave 32 bits, beyond which Lava's
            result depends on the processor.
    """

    name: str
    source: str
    target: str
    weights: IntArray
    input_shape: Shape
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    num_message_bits: int = 0

    def __post_init__(self) -> None:
        _check_ends(self)
        place = f"connections.{self.name}"
        given = checked_ints(f"{place}.weights", self.weights, (-1,) * 4, -(2**15), 2**15 - 1)
        set_field(self, "weights", given)
        set_field(self, "input_shape", checked_shape(f"{place}.input_shape", self.input_shape, 3))
        for field, low in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = checked_shape(f"{place}.{field}", getattr(self, field), 2, low)
            for extent in pair:
                check_whole(f"{place}.{field}", extent, low, 127)
            set_field(self, field, pair)
        check_whole(f"{place}.groups", self.groups, 1, 127)
        check_whole(f"{place}.num_message_bits", self.num_message_bits, 0, MESSAGE_BITS_MAX)
        _check_convolution(self)

    @property
    def output_shape(self) -> Shape:
        """[channels, rows, columns] of the postsynaptic neurons."""
        spatial = zip(
            self.input_shape[1:], self.weights.shape[2:], self.stride, self.padding, self.dilation,
            strict=True,
        )  # fmt: skip
        return self.weights.shape[0], *(
            (size + 2 * padding - dilation * (extent - 1) - 1) // stride + 1
            for size, extent, stride, padding, dilation in spatial
        )

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of postsynaptic and presynaptic neurons."""
        return math.prod(self.output_shape), math.prod(self.input_shape)


Connection = Dense | Sparse | Conv


def _check_convolution(conv: Conv) -> None:
    place = f"connections.{conv.name}"
    out_channels, per_group, *kernel = conv.weights.shape
    if per_group * conv.groups != conv.input_shape[0] or out_channels % conv.groups:
        raise fault(
            f"{place}.groups",
            f"{conv.groups} do not fit {conv.input_shape[0]} channels in, {out_channels} out, "
            f"and kernels over {per_group}",
        )
    if min(conv.output_shape) < 1 or not conv.weights.size:
        problem = f"a kernel of {kernel} does not fit into {list(conv.input_shape[1:])}"
        raise fault(f"{place}.weights", problem)
    reach = int(np.abs(conv.weights.astype(np.int64)).sum(axis=(1, 2, 3)).max())
    if reach << conv.num_message_bits >= 2**31:
        fitting = (2**31 - 1).bit_length() - reach.bit_length()
        problem = f"{conv.num_message_bits} bits could drive a sum out of 32 bits"
        raise fault(f"{place}.num_message_bits", problem, f"at most {fitting}")


def _check_ends(connection: Connection) -> None:
    check_name("connections", connection.name)
    check_name(f"connections.{connection.name}.source", connection.source)
    check_name(f"connections.{connection.name}.target", connection.target)


def _check_delays(connection: Dense | Sparse, shape: Shape) -> None:
    if connection.delays is not None:
        place = f"connections.{connection.name}.delays"
        delays = checked_ints(place, connection.delays, shape, 0, DELAY_MAX)
        set_field(connection, "delays", delays)


def _check_format(connection: Dense | Sparse) -> None:
    place = f"connections.{connection.name}"
    check_whole(f"{place}.weight_exp", connection.weight_exp, -8, 7)
    check_whole(f"{place}.num_weight_bits", connection.num_weight_bits, 1, 8)
    check_choice(f"{place}.sign_mode", connection.sign_mode, (*SIGN_MODES, None))
    check_whole(f"{place}.num_message_bits", connection.num_message_bits, 0, MESSAGE_BITS_MAX)
