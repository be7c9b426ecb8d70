"""How a model fits targets."""

from dataclasses import dataclass

from snn_fusion.client.answers import Contract, ModelId
from snn_fusion.client.errors import Violation


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
