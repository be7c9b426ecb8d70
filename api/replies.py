"""The shapes of the service's replies: built by the code, published in the OpenAPI document."""

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from backends.base import EnergyModel, Violation
from backends.compare import PairComparison
from backends.energy import SampleEnergy
from backends.fit import PopulationSize
from backends.quantisation_file import QuantisationFile

if TYPE_CHECKING:  # arrays are encoded as they are; a reader of the reply sees lists
    Ints = list[int] | NDArray[np.integer]
    Rows = NDArray[np.generic]
else:
    Ints = list[int]
    Rows = list[list[float]]


class ModelName(TypedDict):
    """A model by name, version and the digest that names exactly this one."""

    name: str
    version: str
    digest: str


class SensorReply(TypedDict):
    """What one sensor said; `posterior` and `contribution` are null if it did not take part."""

    posterior: dict[str, float] | None
    contribution: float | None
    events: int
    outside_window: int
    onset_us: int | None
    live: bool


class QualityReply(TypedDict):
    """Health of the fusion, each in [0, 1]; not a probability of being right."""

    score: float
    certainty: float
    conflict: float
    coverage: float


class WindowReply(TypedDict):
    """The fused answer of one window."""

    start_us: int
    end_us: int
    label: str
    posterior: dict[str, float]
    confidence: float
    sensors: dict[str, SensorReply]
    quality: QualityReply


class SpikesReply(TypedDict):
    """Spikes of one population: entry k is a spike of neuron `neurons[k]` in step `steps[k]`."""

    steps: Ints
    neurons: Ints


class TraceReply(TypedDict):
    """Membrane potential v and synaptic current i, [steps][neurons]."""

    v: NotRequired[Rows]
    i: NotRequired[Rows]


class CountsReply(TypedDict):
    """Work that a chip would have had to do, and how often its integers left their range."""

    synaptic_events: int
    neuron_updates: int
    spikes: dict[str, int]
    overflows: dict[str, int]


class TimingReply(TypedDict):
    """Seconds spent: decoding, waiting for the target, in the engine, and in all."""

    decode_s: float
    queue_s: float
    run_s: float
    total_s: float


class FuseReply(TypedDict):
    """The answer to a fuse request, with the contract it was computed under."""

    request_id: str
    model: ModelName
    target: str
    contract: dict[str, Any]
    seed: int | None
    steps: int
    dt_s: float
    windows: list[WindowReply]
    spikes: dict[str, SpikesReply]
    recorded: dict[str, TraceReply]
    counts: CountsReply
    energy: SampleEnergy | None
    energy_reason: str | None
    timing: TimingReply
    quantisation: QuantisationFile | None
    warnings: list[str]


class QueueReply(TypedDict):
    """A target's queue in the process that answers."""

    running: int
    waiting: int
    threads: int
    max_waiting: int
    estimated_wait_s: float


class AvailabilityReply(TypedDict):
    """Whether a target can be used now; if not, why, and what to do."""

    available: bool
    reason: str | None
    hint: str | None


class TargetReply(AvailabilityReply):
    """One target: what it can do and whether it can be used now.

    `owner` is the deployment that serves it, null if that is the one that answers; `queue` is null
    if the owner does not answer.
    """

    name: str
    backend: str
    description: str
    default: bool
    capabilities: dict[str, Any]
    max_run_s: float
    energy: EnergyModel | None
    queue: QueueReply | None
    owner: str | None


class TargetsReply(TypedDict):
    """The targets that can be asked for here."""

    targets: list[TargetReply]


class FitReply(AvailabilityReply):
    """How a model fits one target; `fits` is null, the rest absent, if its backend cannot load."""

    target: str
    fits: bool | None
    violations: NotRequired[tuple[Violation, ...]]
    populations: NotRequired[tuple[PopulationSize, ...]]
    neurons: NotRequired[int]
    synapses: NotRequired[int]
    cores: NotRequired[int | None]
    memory_bytes: NotRequired[int]
    run_s: NotRequired[float | None]
    run_s_assumes: NotRequired[str]


class CheckReply(TypedDict):
    """How a model fits targets under a contract; nothing was run."""

    model: ModelName
    contract: dict[str, Any]
    targets: list[FitReply]


class ComparedReply(TypedDict):
    """One target's part of a comparison; `run_s` is the time of its run."""

    target: str
    contract: dict[str, Any]
    label: str | None
    spikes: dict[str, int]
    synaptic_events: int
    run_s: float
    energy: SampleEnergy | None
    energy_reason: str | None


class ComparisonReply(TypedDict):
    """One model and one input on several targets, and every two of them compared."""

    model: ModelName
    steps: int
    targets: list[ComparedReply]
    pairs: list[PairComparison]
    quantisation: QuantisationFile | None


class SensorDescription(TypedDict):
    """One sensor of a model."""

    unit: str
    shape: list[int]
    channels: int | None
    rate_hz: float | None
    encoder: dict[str, Any] | None
    description: str


class HeadDescription(TypedDict):
    """How one sensor's output becomes log-posteriors."""

    sensor: str
    node: str
    readout: str
    read_at_s: float | None
    temperature: float
    reliability: float


class VersionReply(TypedDict):
    """One version of a model; `state`, `problem` and `loaded` are of the process that answers.

    `source` is `models_dir` for a model that ships, else `store`. `state` is `known` before it was
    compiled for the default target, `loading` meanwhile, `ready` afterwards, `failed` where that
    target cannot run it, `damaged` where it cannot be read, or `unloaded`. `loaded` says whether it
    is in memory; if not, it is read when it is asked for.
    """

    name: str
    version: str
    digest: str
    source: str
    state: str
    problem: str | None
    loaded: bool
    created: str | None
    size_bytes: int | None
    aliases: list[str]


class ModelReply(VersionReply):
    """One model: the version that was asked for, or that the name alone means."""

    versions: list[str]
    default: bool
    description: str
    labels: list[str]
    window_s: float | None
    sensors: dict[str, SensorDescription]
    heads: dict[str, HeadDescription]
    contract: dict[str, Any] | None


class VersionsReply(TypedDict):
    """All versions of a model, the oldest first, and the aliases that lead to them."""

    name: str
    versions: list[VersionReply]
    aliases: dict[str, str]


class AliasReply(TypedDict):
    """An alias, and the version that it leads to or led to."""

    name: str
    alias: str
    version: str


class DeletedReply(TypedDict):
    """What was deleted."""

    name: str
    versions: list[str]


class UnreadableModel(TypedDict):
    """A model that cannot be read, and why."""

    path: str
    field: str
    problem: str


class ListedModelReply(ModelReply):
    """One model of a list; `owner` is the deployment that has it, null for the one that answers."""

    owner: str | None


class ModelsReply(TypedDict):
    """The models, each as its name alone means it; a deployment that lists none is a problem."""

    models: list[ListedModelReply]
    problems: list[UnreadableModel]


class SampleReply(TypedDict):
    """A recording that ships: name it as `sample` of the sensors listed.

    `owner` is the deployment that has it, null for the one that answers.
    """

    name: str
    label: str
    model: str
    sensors: list[str]
    attribution: str
    owner: str | None


class SamplesReply(TypedDict):
    """The recordings that ship with the models."""

    samples: list[SampleReply]


class HealthReply(TypedDict):
    """The answer to a probe; `reasons` says why it is not `ok`, `problems` what else is wrong."""

    ok: bool
    reasons: list[str]
    problems: NotRequired[dict[str, str]]


class RootReply(TypedDict):
    """Where to go from here."""

    name: str
    version: str
    docs: str
    openapi: str
