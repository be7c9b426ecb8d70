"""What a run took in energy: measured, estimated from published figures, or unknown and why."""

from dataclasses import dataclass
from typing import Literal

from backends.base import Target


@dataclass(frozen=True, slots=True)
class SampleEnergy:
    """Energy of one sample.

    Attributes:
        kind: `estimate` from published figures, or `measured` on the chip.
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


def sample_energy(
    target: Target, synaptic_events: int, neuron_updates: int, measured: SampleEnergy | None
) -> SampleEnergy | None:
    """Return the energy of one sample: what was measured, else the target's estimate, else None."""
    model = target.energy
    if measured is not None or model is None:
        return measured
    picojoules = (
        model.pj_per_synaptic_event * synaptic_events + model.pj_per_neuron_update * neuron_updates
    )
    formula = (
        f"{model.pj_per_synaptic_event:g} pJ x {synaptic_events} synaptic events + "
        f"{model.pj_per_neuron_update:g} pJ x {neuron_updates} neuron updates"
    )
    return SampleEnergy("estimate", picojoules * 1e-12, model.model, formula, model.excludes)
