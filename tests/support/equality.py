"""Comparison of traces, bit for bit."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simulators.trace import Trace


def differences(one: Trace, other: Trace) -> list[str]:
    """Return where two traces differ in any bit, shape, type or key."""
    found = []
    for part in ("outputs", "recorded", "state"):
        found += _differing(part, getattr(one, part), getattr(other, part))
    found += _differing("counts.spikes", one.counts.spikes, other.counts.spikes)
    events = "synaptic_events"
    if not np.array_equal(one.counts.synaptic_events, other.counts.synaptic_events):
        found.append(f"counts.{events}")
    if one.counts.neuron_updates != other.counts.neuron_updates:
        found.append("counts.neuron_updates")
    return found


def _differing(
    part: str, one: Mapping[str, NDArray[np.generic]], other: Mapping[str, NDArray[np.generic]]
) -> list[str]:
    if set(one) != set(other):
        return [f"{part}: {sorted(set(one) ^ set(other))}"]
    return [
        f"{part}.{key}"
        for key in one
        if one[key].dtype != other[key].dtype
        or one[key].shape != other[key].shape
        or one[key].tobytes() != other[key].tobytes()
    ]
