"""Targets compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from snn_fusion.client.answers import Contract, Energy, ModelId


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
