"""How many cores of a chip a network takes, and which limits of a core it exceeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.base import Capabilities
from simulators.violation import Violation

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Wires:
    """Synapses between two nodes.

    Attributes:
        source: presynaptic population, or an input from outside the chip.
        target: postsynaptic population.
        pre: int64 [synapses], presynaptic neuron.
        post: int64 [synapses], postsynaptic neuron.
    """

    source: str
    target: str
    pre: Ints
    post: Ints


@dataclass(slots=True)
class _Core:
    neurons: int = 0
    synapses: int = 0
    senders: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class _Neuron:
    node: str
    synapses: int
    senders: set[int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Neurons packed onto cores, one after the other, a new core begun where one is full.

    Attributes:
        cores: how many it took.
        violations: limits of one core that a neuron or a core exceeds.
    """

    cores: int
    violations: tuple[Violation, ...]


def place(
    populations: Mapping[str, int], wires: Sequence[Wires], capabilities: Capabilities
) -> Placement | None:
    """Return neurons placed on cores; None where the target has no limit on a core.

    Args:
        populations: population → neurons, in the order in which they are placed.
        wires: every synapse.
        capabilities: the limits.
    """
    limits = (
        capabilities.neurons_per_core,
        capabilities.synapses_per_core,
        capabilities.fan_in_per_core,
        capabilities.fan_out_per_core,
    )
    if all(limit is None for limit in limits):
        return None
    numbers = _numbers(populations, wires)
    neurons = list(_neurons(populations, wires, numbers))
    cores, core_of = [_Core()], []
    for neuron in neurons:
        if not _take(cores[-1], neuron, capabilities):
            cores.append(_Core())
            _take(cores[-1], neuron, capabilities, anyhow=True)
        core_of.append(len(cores) - 1)
    found = [*_large_neurons(neurons, capabilities), *_axons(neurons, core_of, capabilities)]
    if capabilities.cores is not None and len(cores) > capabilities.cores:
        largest = max(populations, key=lambda name: populations[name])
        allowed = str(capabilities.cores)
        found.append(
            Violation(largest, "cores of all populations", str(len(cores)), allowed, allowed)
        )
    return Placement(len(cores), tuple(found))


def _take(core: _Core, neuron: _Neuron, limits: Capabilities, *, anyhow: bool = False) -> bool:
    """Put a neuron on a core if it fits, or anyhow."""
    senders = core.senders | neuron.senders
    fits = (
        _within(core.neurons + 1, limits.neurons_per_core)
        and _within(core.synapses + neuron.synapses, limits.synapses_per_core)
        and _within(len(senders), limits.fan_in_per_core)
    )
    if fits or anyhow:
        core.neurons += 1
        core.synapses += neuron.synapses
        core.senders = senders
    return fits or anyhow


def _within(used: int, limit: int | None) -> bool:
    return limit is None or used <= limit


def _numbers(populations: Mapping[str, int], wires: Sequence[Wires]) -> dict[str, int]:
    """Return node → the number of its first neuron: populations first, in order, then inputs."""
    sizes = dict(populations)
    for one in wires:
        if one.source not in populations:
            lines = int(one.pre.max(initial=-1)) + 1
            sizes[one.source] = max(sizes.get(one.source, 0), lines)
    starts = np.cumsum([0, *sizes.values()])
    return dict(zip(sizes, starts.tolist(), strict=False))


def _neurons(
    populations: Mapping[str, int], wires: Sequence[Wires], numbers: Mapping[str, int]
) -> Iterator[_Neuron]:
    for name, size in populations.items():
        mine = [one for one in wires if one.target == name]
        post = np.concatenate([np.zeros(0, np.int64), *(one.post for one in mine)])
        senders = [one.pre + numbers[one.source] for one in mine]
        pre = np.concatenate([np.zeros(0, np.int64), *senders])
        by_neuron = np.split(pre[np.argsort(post, kind="stable")], _ends(post, size))
        for arriving in by_neuron:
            yield _Neuron(name, arriving.size, set(arriving.tolist()))


def _ends(post: Ints, size: int) -> Ints:
    ends: Ints = np.cumsum(np.bincount(post, minlength=size))[:-1]
    return ends


def _large_neurons(neurons: Sequence[_Neuron], limits: Capabilities) -> Iterator[Violation]:
    """Find the worst neuron of every population that no core can hold."""
    names = list(dict.fromkeys(neuron.node for neuron in neurons))
    for name in names:
        mine = [neuron for neuron in neurons if neuron.node == name]
        for limit, used, allowed in (
            ("fan-in of a neuron", max(len(n.senders) for n in mine), limits.fan_in_per_core),
            ("synapses of a neuron", max(n.synapses for n in mine), limits.synapses_per_core),
        ):
            if not _within(used, allowed):
                yield Violation(name, limit, str(used), str(allowed), str(allowed))


def _axons(
    neurons: Sequence[_Neuron], core_of: Sequence[int], limits: Capabilities
) -> Iterator[Violation]:
    """Find the core with the most output axons, if they are too many."""
    if limits.fan_out_per_core is None:
        return
    pairs = {
        (sender, core)
        for neuron, core in zip(neurons, core_of, strict=True)
        for sender in neuron.senders
        if sender < len(neurons)
    }
    axons = np.bincount([core_of[sender] for sender, _ in pairs], minlength=1)
    busiest = int(axons.argmax())
    if axons[busiest] > limits.fan_out_per_core:
        node = neurons[core_of.index(busiest)].node
        allowed = str(limits.fan_out_per_core)
        yield Violation(node, "output axons of a core", str(axons[busiest]), allowed, allowed)
