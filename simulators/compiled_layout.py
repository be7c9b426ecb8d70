"""What a compiled program looks like in memory: operations as rows of numbers, and pools.

Everything that a step reads or writes of one sample lies in one array, the memory: state first,
the activity of nodes behind it. Places in it are offsets; every place is padded to whole words of
64 elements, and the padding of activity is always zero.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 64
"""Elements to which places are padded; one bit each fits a uint64."""


class Kind(IntEnum):
    """What an operation does."""

    SPREAD = 0
    GATHER = 1
    SCAN = 2
    WEIGHTS = 3
    SCALE = 4
    THRESHOLD = 5
    DELAY = 6
    NEURON = 7
    PUSH = 8
    PUSH_LIST = 9


class Form(IntEnum):
    """How weights are stored: rows of floats or of int8, or synapses.

    `EQUAL` synapses take the one weight that all synapses of their presynaptic neuron have.
    """

    ROWS = 0
    INTEGERS = 1
    SYNAPSES = 2
    EQUAL = 3


class Loop(IntEnum):
    """Which loop steps neurons: one of constants, or that of every choice."""

    ANY = 0
    LIF = 1
    CUBA = 2


_column = count()

KIND = next(_column)
SIZE = next(_column)
"""Elements of the output."""
X = next(_column)
"""Where the input lies; of `SPREAD`, `WEIGHTS`: nothing, they read a list."""
OUT = next(_column)
"""Where the output goes; of spikes that are wanted as a list alone: -1."""
X_LIST = next(_column)
"""The list of active inputs."""
LIST = next(_column)
"""The list to write the active outputs to, or -1."""
COUNTER = next(_column)
"""The counter of spikes, or -1."""

_own = next(_column)

# GATHER: a range of `parts`; ADDS as for weights.
FIRST, PARTS = _own + 1, _own + 2
# WEIGHTS. ADDS: whether to add to what the output holds, CLEAN: whether it holds zeros already.
# WEIGHT is an offset into the pool of the form, of synapses into `start`; PLACE what their weights'
# offsets differ by, NARROW whether their targets are in `near`. FAN_OUT is an offset into
# `fan_out`, -1 where all have FAN_EACH. ROW_SUMS is as many rows as int16 can add up, SCRATCH room
# for a sum of its own.
ADDS, FORM, WEIGHT, PLACE, NARROW, STRIDE, FAN_OUT, FAN_EACH, BIAS, SCALING, ROW_SUMS = range(
    _own, _own + 11
)
SCRATCH, CLEAN = range(_own + 11, _own + 13)
# SCALE, THRESHOLD: an offset into `coefficients`.
FACTOR = _own
# DELAY, PUSH: a ring of DEPTH slots in the memory; STEPS an offset into `delays`.
RING, DEPTH, STEPS = range(_own, _own + 3)
# NEURON. FIRES and TAKES: whether the membrane and whether the synaptic current moves on; CLEARS:
# whether to leave zeros where the input was; LOOP: one of `Loop`.
MEMBRANE, CURRENT, FIRES, TAKES, LEAKS, DIRECT, SPIKING, CLEARS, LOOP = range(_own, _own + 9)
COEFFICIENT = _own + 9
"""The first of pairs: offset into `coefficients`, and 0 if all neurons share the value, else 1."""

SYNAPSE_1, SYNAPSE_2, LEAK_1, LEAK_2, LEAK_3, THETA, V_RESET = range(
    COEFFICIENT, COEFFICIENT + 14, 2
)
"""`decay`: keep, drive; keep, drive, rest. `increment`: rate, w_in; rate, v_leak, gain."""

COLUMNS = COEFFICIENT + 14

# Columns of `parts`: where, and the slots of a ring (0 for activity of the same step).
PART_AT, PART_DEPTH = range(2)
PART_COLUMNS = 2

# Columns of `rings`: place, slots, padded width; the list that stands in for a single slot, or -1.
RING_AT, RING_DEPTH, RING_WIDTH, RING_LIST = range(4)
RING_COLUMNS = 4

# Columns of `records`: from where in memory, elements, to where in the floats or the counts, and
# the list to read instead of the memory, or -1.
RECORD_FROM, RECORD_SIZE, RECORD_TO, RECORD_COUNTS, RECORD_LIST = range(5)
RECORD_COLUMNS = 5

# Entries of `rules`: the contract's choices.
DECAY_FORM, ADD_FIRST, TIMING, SUBTRACT, AT_THRESHOLD, SEVERAL, BOUNDED = range(7)
RULES = 7
SAME_STEP, BEFORE_INPUT, AFTER_INPUT = range(3)
PLAIN = (0, 0, SAME_STEP, 0, 0, 0, 0)
"""Those of profile `nir`, constants of loops in which nothing of the other choices is left."""

# How a membrane leaks: not at all; with the gain R; or with its input added as it is.
KEEPS, DECAYS, ADDS_INPUT = range(3)

# What a list of active neurons holds: ones, other finite numbers, or infinities and NaN.
ONES, FINITE, ANY = range(3)


def padded(size: int) -> int:
    """Return a number of elements rounded up to whole words."""
    return -(-size // WORD) * WORD


def aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Return zeros [size] that begin at a cache line."""
    kind = np.dtype(dtype)
    raw = np.zeros(size * kind.itemsize + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    return raw[start : start + size * kind.itemsize].view(kind)


def aligned_copy(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a copy that begins at a cache line."""
    copy = aligned(values.size, values.dtype)
    copy[:] = values
    return copy


@dataclass(frozen=True, slots=True)
class Program:
    """A plan as the kernel takes it.

    Attributes:
        operations: int64 [operations, COLUMNS], in the order of a step.
        parts: int64 [parts, 2], what `GATHER` adds.
        rings: int64 [rings, RING_COLUMNS], every delay line.
        rules: int64, the contract's choices.
        v_min: lower bound of membranes.
        coefficients: parameters of neurons, biases, scales, thresholds.
        rows: dense weights, float.
        integers: dense weights, a byte each; see `compiled_rows.interleaved`.
        start: where the synapses of each presynaptic neuron start.
        near: postsynaptic neuron of each synapse, where 16 bits hold all of a connection.
        post: the same of other connections.
        weight: weight of each synapse, or of all synapses of a presynaptic neuron.
        fan_out: synapses of each presynaptic neuron.
        delays: steps of `Delay` nodes.
        list_at: where each list lies behind the lists of the inputs.
        list_size: length of all of these together.
        initial: memory before the first step.
        state_width: elements of the memory that are state.
        counters: number of counters of spikes.
    """

    operations: NDArray[np.int64]
    parts: NDArray[np.int64]
    rings: NDArray[np.int64]
    rules: NDArray[np.int64]
    v_min: np.floating
    coefficients: NDArray[np.floating]
    rows: NDArray[np.floating]
    integers: NDArray[np.uint8]
    start: NDArray[np.int64]
    near: NDArray[np.uint16]
    post: NDArray[np.int32]
    weight: NDArray[np.floating]
    fan_out: NDArray[np.int64]
    delays: NDArray[np.int64]
    list_at: NDArray[np.int64]
    list_size: int
    initial: NDArray[np.floating]
    state_width: int
    counters: int
