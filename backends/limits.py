"""What a process that prepares models can hold."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the service's supervisor reads limits, and does without NumPy
    from backends.base import Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimits:
    """What a process that prepares models can hold, whatever their target.

    A neuron takes about 100 bytes while a model is prepared, a synapse 100, a value of a delay 16.

    Attributes:
        neurons: neurons in one model.
        synapses: weights that are not 0 in one model.
        values: values that all nodes of one model put out in a step.
        delay_values: values that all delays of one model hold back.
    """

    neurons: int = 1_000_000
    synapses: int = 20_000_000
    values: int = 10_000_000
    delay_values: int = 2_000_000

    def of(self, own: "Capabilities") -> "Capabilities":
        """Return a target's capabilities within these limits."""
        return replace(
            own,
            max_neurons=_least(own.max_neurons, self.neurons),
            max_synapses=_least(own.max_synapses, self.synapses),
            max_values=_least(own.max_values, self.values),
            max_delay_values=_least(own.max_delay_values, self.delay_values),
        )


def _least(own: int | None, limit: int) -> int:
    return limit if own is None else min(own, limit)


DEFAULT_SIZES = SizeLimits()
