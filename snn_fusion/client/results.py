"""The service's answers as typed values. Fields that a newer service adds are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from snn_fusion.client.errors import UnreadableReply, Violation

_T = TypeVar("_T")
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


@dataclass(frozen=True, slots=True)
class Population:
    """One node that holds neurons."""

    node: str
    kind: str
    neurons: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model fits one target; `fits` is None where the target's backend cannot be loaded.

    Attributes:
        target: its name.
        available: whether it can be used now, else `reason` and `hint` say why not and what to do.
        reason: why it cannot be used.
        hint: what to do about it.
        fits: whether it can run the model.
        violations: every limit that the model exceeds.
        populations: nodes with neurons.
        neurons: neurons in all.
        synapses: weights that are not 0.
        cores: cores of the chip, where the target has cores.
        memory_bytes: weights and state of one sample.
        run_s: estimated seconds of a run.
        run_s_assumes: what the estimate assumes.
    """

    target: str
    available: bool
    reason: str | None
    hint: str | None
    fits: bool | None
    violations: tuple[Violation, ...] = ()
    populations: tuple[Population, ...] = ()
    neurons: int | None = None
    synapses: int | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    run_s: float | None = None
    run_s_assumes: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How a model fits targets under a contract."""

    model: ModelId
    contract: Contract
    targets: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class PopulationDifference:
    """How one population differs between two targets."""

    node: str
    spikes: tuple[int, int]
    bins: int
    mismatched: int
    lag_steps: int
    mismatched_at_lag: int
    cosine: float
    van_rossum: float


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first spike that differs; each pair holds the first and the second target's value."""

    node: str
    step: int
    neuron: int
    spikes: tuple[int, int]
    v: tuple[float | None, float | None]
    threshold: float | None
    margin: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two targets compared; `divergence` is None if no spike differs."""

    targets: tuple[str, str]
    contract_differences: Mapping[str, tuple[Any, Any]]
    populations: tuple[PopulationDifference, ...]
    divergence: Divergence | None
    decisions_agree: bool | None
    verdict: Literal["identical", "equivalent", "different"]
    tolerance: float


@dataclass(frozen=True, slots=True)
class ComparedTarget:
    """One target's part of a comparison."""

    target: str
    contract: Contract
    label: str | None
    spikes: Mapping[str, int]
    synaptic_events: int
    run_s: float
    energy: Energy | None
    energy_reason: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model and one input on several targets, and every two of them compared.

    `quantisation` is what the model lost, if it was to be quantised.
    """

    model: ModelId
    steps: int
    targets: tuple[ComparedTarget, ...]
    pairs: tuple[Pair, ...]
    quantisation: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A target's queue in the process that answered."""

    running: int
    waiting: int
    threads: int
    max_waiting: int
    estimated_wait_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """One target: what it can do, and whether it can be used now.

    `owner` is the deployment that serves it, None if that is the one that answered; `queue` is None
    if the owner does not answer.
    """

    name: str
    backend: str
    description: str
    default: bool
    available: bool
    reason: str | None
    hint: str | None
    capabilities: Mapping[str, Any]
    max_run_s: float
    queue: Queue | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor of a model; `channels` of an event sensor, `rate_hz` of a sampled one."""

    unit: Literal["events", "samples"]
    shape: tuple[int, ...]
    channels: int | None
    rate_hz: float | None
    encoder: Mapping[str, Any] | None
    description: str


@dataclass(frozen=True, slots=True)
class Head:
    """How one sensor's output becomes log-posteriors."""

    sensor: str
    node: str
    readout: str
    read_at_s: float | None
    temperature: float
    reliability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a model, as the process knows it that answered.

    Attributes:
        name: the model's name.
        version: as its manifest has it, empty for a bare graph.
        digest: names exactly this version.
        source: `models_dir` if it ships, `store` if it was uploaded.
        state: `known`, `loading`, `ready`, `failed`, `damaged` or `unloaded`.
        problem: why the default target cannot run it, or why it cannot be read.
        loaded: whether it is in memory; if not, it is read when it is asked for.
        created: when it was stored, None if it ships.
        size_bytes: size of its stored file, None if it ships.
        aliases: those that lead to it.
    """

    name: str
    version: str
    digest: str
    source: Literal["models_dir", "store"]
    state: str
    problem: str | None
    loaded: bool
    created: datetime | None
    size_bytes: int | None
    aliases: tuple[str, ...]

    @property
    def label(self) -> str:
        """What tells it from other versions of its name."""
        return self.version or self.digest

    @property
    def reference(self) -> str:
        """What a request calls exactly this version."""
        return f"{self.name}:{self.label}"


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions of a model, the oldest first; `aliases` is alias → version."""

    name: str
    versions: tuple[ModelVersion, ...]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias of a model, and the version that it leads to, or led to before it was deleted."""

    name: str
    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(ModelVersion):
    """One model: a version with what its manifest says; `versions` are all of its name."""

    versions: tuple[str, ...]
    default: bool
    description: str
    labels: tuple[str, ...]
    window_s: float | None
    sensors: Mapping[str, Sensor]
    heads: Mapping[str, Head]
    contract: Contract | None


@dataclass(frozen=True, slots=True)
class ShippedSample:
    """A recording that ships with a model; `label` is the right answer."""

    name: str
    label: str
    model: str
    sensors: tuple[str, ...]
    attribution: str


def decode(content: bytes, kind: type[_T]) -> _T:
    """Return JSON content as a typed value, or as it is if bytes are asked for.

    Raises:
        UnreadableReply: if it is not what a service of this interface says.
    """
    if kind is bytes:
        return cast("_T", content)
    try:
        return msgspec.json.decode(content, type=kind, dec_hook=_array)
    except (msgspec.DecodeError, ValueError) as error:
        raise UnreadableReply(f"the reply is not a {kind.__name__}: {error}") from None


def _array(kind: Any, values: object) -> NDArray[Any]:
    """Return a list as the array that a field is annotated with."""
    _, dtype = get_args(kind)
    return np.asarray(values, get_args(dtype)[0])
