"""A network of Loihi's integers: what the emulator and Lava run, whatever it was made from.

Parameters are those of lava-nc 0.10.0's processes LIF, LIFReset, Dense, DelayDense, Sparse,
DelaySparse and Conv, in the widths of their registers. Neurons are counted in C order of their
population's shape. Making a network checks it: whatever exists can be run.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from simulators.loihi_connections import Connection
from simulators.loihi_fields import (
    IntArray,
    Shape,
    check_choice,
    check_name,
    check_real,
    check_whole,
    checked_ints,
    checked_shape,
    fault,
    set_field,
)

DECAY_MAX = 2**12 - 1
THRESHOLD_MAX = 2**17 - 1
STATE_MAX = 2**23 - 1


@dataclass(frozen=True, slots=True)
class PeriodicReset:
    """Sets u and v to 0 before the update of every step with (1 + step) % interval == offset.

    Steps are counted from 0; Lava counts them from 1 (LIFReset).
    """

    interval: int
    offset: int = 0

    def __post_init__(self) -> None:
        check_whole("reset.interval", self.interval, 1, 2**31 - 1)
        check_whole("reset.offset", self.offset, 0, self.interval - 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LifPopulation:
    """Leaky integrate-and-fire compartments (Lava's LIF, with `reset` LIFReset).

    Lava's own LIF has one du, dv and vth for a population; its arithmetic takes one for each
    neuron. A single number given here holds for all of them.

    Attributes:
        name: unique among inputs and populations.
        shape: shape of the population.
        du: int32 [neurons], decay of the synaptic current u, 0 to 4095: u keeps (4095 − du)/4096 a
            step.
        dv: int32 [neurons], decay of the membrane v, 0 to 4095: v keeps (4096 − dv)/4096 a step.
        vth: int32 [neurons], threshold, 0 to 2^17 − 1; a neuron spikes where v > 64·vth.
        bias_mant: int32 [neurons], mantissa of the bias, 16 bits.
        bias_exp: int32 [neurons], exponent of the bias, -15 to 15.
        u: int32 [neurons], synaptic current before the first step, within ±(2^23 − 1).
        v: int32 [neurons], membrane before the first step, within ±(2^23 − 1).
        reset: when u and v are set to 0, or None.
    """

    name: str
    shape: Shape
    du: IntArray
    dv: IntArray
    vth: IntArray
    bias_mant: IntArray
    bias_exp: IntArray
    u: IntArray
    v: IntArray
    reset: PeriodicReset | None = None

    def __post_init__(self) -> None:
        check_name("populations", self.name)
        place = f"populations.{self.name}"
        set_field(self, "shape", checked_shape(f"{place}.shape", self.shape))
        for field, low, high in (
            ("du", 0, DECAY_MAX),
            ("dv", 0, DECAY_MAX),
            ("vth", 0, THRESHOLD_MAX),
            ("bias_mant", -(2**15), 2**15 - 1),
            ("bias_exp", -15, 15),
            ("u", -STATE_MAX, STATE_MAX),
            ("v", -STATE_MAX, STATE_MAX),
        ):
            given = getattr(self, field)
            set_field(self, field, checked_ints(f"{place}.{field}", given, (self.size,), low, high))
        if not isinstance(self.reset, PeriodicReset | None):
            raise fault(
                f"{place}.reset", f"is {self.reset!r}", "an interval and an offset, or null"
            )

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class InputNode:
    """Where spikes from outside come in; `name` is the graph's Input node."""

    name: str
    shape: Shape

    def __post_init__(self) -> None:
        check_name("inputs", self.name)
        set_field(self, "shape", checked_shape(f"inputs.{self.name}.shape", self.shape))

    @property
    def size(self) -> int:
        """Number of lines."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputNode:
    """What the network gives back; `name` is the graph's Output node.

    Attributes:
        name: unique among outputs.
        source: population.
        shape: shape of the output, with as many elements as the population.
        reads: `spikes`, or the membrane `v` after the step.
        scale: what one unit of `reads` stands for.
        offset: what 0 stands for; the output is offset + scale · reads, in float64.
    """

    name: str
    source: str
    shape: Shape
    reads: Literal["spikes", "v"] = "spikes"
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_name("outputs", self.name)
        place = f"outputs.{self.name}"
        check_name(f"{place}.source", self.source)
        set_field(self, "shape", checked_shape(f"{place}.shape", self.shape))
        check_choice(f"{place}.reads", self.reads, ("spikes", "v"))
        check_real(f"{place}.scale", self.scale)
        check_real(f"{place}.offset", self.offset)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LoihiNetwork:
    """A whole network. Every connection delivers one step after the spike, plus its delays.

    Attributes:
        dt_s: seconds that one step stands for.
        inputs: where spikes come in.
        populations: in the order in which they are recorded; the order changes no result.
        connections: synapses; what arrives at a population is the sum over all of them.
        outputs: what is given back.

    Raises:
        InvalidModel: naming the entry that is out of range, of another shape, unknown or double.
    """

    dt_s: float
    inputs: tuple[InputNode, ...]
    populations: tuple[LifPopulation, ...]
    connections: tuple[Connection, ...]
    outputs: tuple[OutputNode, ...]

    def __post_init__(self) -> None:
        check_real("dt_s", self.dt_s, positive=True)
        for field in ("inputs", "populations", "outputs"):
            if not getattr(self, field):
                raise fault(field, "is empty", "one at least")
        _check_unique(
            "populations", [one.name for one in self.inputs] + [p.name for p in self.populations]
        )
        _check_unique("connections", [one.name for one in self.connections])
        _check_unique("outputs", [one.name for one in self.outputs])
        sizes = {one.name: one.size for one in self.populations}
        for output in self.outputs:
            place = f"outputs.{output.name}"
            _check_size(f"{place}.source", output.source, math.prod(output.shape), sizes)
        for connection in self.connections:
            place = f"connections.{connection.name}"
            n_post, n_pre = connection.sizes
            _check_size(f"{place}.target", connection.target, n_post, sizes)
            senders = sizes | {one.name: one.size for one in self.inputs}
            _check_size(f"{place}.source", connection.source, n_pre, senders)

    def payload_limit(self, name: str) -> int:
        """Return the largest value a line of the input `name` may carry in one step.

        1 where one of its connections takes binary spikes, else what its message bits hold.
        """
        bits = [one.num_message_bits for one in self.connections if one.source == name]
        return (1 << max(min(bits, default=1), 1)) - 1


def _check_unique(place: str, names: list[str]) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise fault(place, f"{name!r} occurs {count} times", "a name of its own for each")


def _check_size(place: str, name: str, wanted: int, sizes: dict[str, int]) -> None:
    if name not in sizes:
        raise fault(place, f"{name!r} is unknown", ", ".join(list(sizes)[:20]))
    if sizes[name] != wanted:
        raise fault(place, f"{name!r} has {sizes[name]} elements", f"{wanted}, as here")
