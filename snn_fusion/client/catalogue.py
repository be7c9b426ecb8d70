"""What there is: targets, models with their versions and aliases, samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from snn_fusion.client.answers import Contract


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
