"""The fused answer of a request, and what its parts have in common with other answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Contract = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelId:
    """A model by name, version and the digest that names exactly this one."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class SensorAnswer:
    """What one sensor said; `posterior` and `contribution` are None if it did not take part.

    Attributes:
        posterior: label → probability.
        contribution: nats that it adds to the answer.
        events: events that drove the network.
        outside_window: events behind the window's end.
        onset_us: when the encoder's trigger found the stimulus.
        live: whether it took part.
    """

    posterior: Mapping[str, float] | None
    contribution: float | None
    events: int
    outside_window: int
    onset_us: int | None
    live: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Health of the fusion, each in [0, 1]; not a probability of being right."""

    score: float
    certainty: float
    conflict: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Window:
    """The fused answer of one window, whose times are microseconds."""

    start_us: int
    end_us: int
    label: str
    posterior: Mapping[str, float]
    confidence: float
    sensors: Mapping[str, SensorAnswer]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Spikes:
    """Spikes of one population: entry k is a spike of `neurons[k]` in step `steps[k]`."""

    steps: NDArray[np.int64]
    neurons: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Membrane potential and synaptic current [steps, neurons], None where there is none."""

    v: NDArray[np.float64] | None = None
    i: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Work that a chip would have had to do; spikes, and integers out of range, by population."""

    synaptic_events: int
    neuron_updates: int
    spikes: Mapping[str, int]
    overflows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one run: what it was estimated by or measured with, and what is not in it."""

    kind: Literal["estimate", "measured"]
    joules: float
    model: str
    formula: str
    excludes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds spent: decoding, waiting for the target, in the engine, and in all."""

    decode_s: float
    queue_s: float
    run_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class FuseAnswer:
    """The fused answer, with everything that is needed to get it again.

    Attributes:
        request_id: the request's, as the service's log knows it.
        model: the model.
        target: where it ran.
        contract: how it was stepped.
        seed: the caller's.
        steps: time steps run.
        dt_s: seconds a step.
        windows: the fused windows; one for a whole recording.
        spikes: population → spikes.
        recorded: node → traces, for the nodes asked for.
        counts: work done.
        energy: what the run took, None where it is not known, for `energy_reason`.
        energy_reason: why it is not known.
        timing: seconds spent.
        quantisation: what the model lost, if it was to be quantised.
        warnings: what was left out.
    """

    request_id: str
    model: ModelId
    target: str
    contract: Contract
    seed: int | None
    steps: int
    dt_s: float
    windows: tuple[Window, ...]
    spikes: Mapping[str, Spikes]
    recorded: Mapping[str, Trace]
    counts: Counts
    energy: Energy | None
    energy_reason: str | None
    timing: Timing
    quantisation: Mapping[str, Any] | None
    warnings: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable label of the last window."""
        return self.windows[-1].label
