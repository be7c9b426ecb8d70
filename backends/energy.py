"""What a run took in energy: measured, estimated from published figures, or unknown and why."""

from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from backends.base import RunResult, Target


@dataclass(frozen=True, slots=True)
class SampleEnergy:
    """Energy of one sample.

    Attributes:
        kind: `estimate` from published figures of single operations, or `measured` on the chip.
        joules: how much.
        model: what the estimate goes by, or what measured it.
        formula: how the joules came about.
        excludes: what is not in them.
    """

    kind: Literal["estimate", "measured"]
    joules: float
    model: str
    formula: str
    excludes: tuple[str, ...]


class EnergyReport(Struct, frozen=True):
    """The energy of one sample, or None and the reason why it is not known."""

    energy: SampleEnergy | None
    reason: str | None


def measured_energy(result: RunResult, index: int) -> SampleEnergy | None:
    """Return what a run's target measured for one sample of the batch, None if it did not."""
    one = result.energy
    if one is None:
        return None
    return SampleEnergy(one.kind, float(one.joules[index]), one.model, one.formula, one.excludes)


def energy_report(
    target: Target, synaptic_events: int, neuron_updates: int, measured: SampleEnergy | None
) -> EnergyReport:
    """Return the energy of one sample: what was measured, else the target's estimate.

    Args:
        target: where it ran.
        synaptic_events: of the sample.
        neuron_updates: of the sample.
        measured: by the target, or None.
    """
    if measured is not None:
        return EnergyReport(measured, None)
    model = target.energy
    if model is None:
        return EnergyReport(None, f"target {target.name!r}: {target.energy_unknown}")
    picojoules = (
        model.pj_per_synaptic_event * synaptic_events + model.pj_per_neuron_update * neuron_updates
    )
    joules = picojoules * 1e-12
    told = SampleEnergy("estimate", joules, model.model, model.formula, model.excludes)
    return EnergyReport(told, None)
