"""From output activity to posteriors, and from posteriors to one answer.

Late fusion by a product of experts: given the class, sensors are taken as independent, so their
log-posteriors under a uniform prior add up (Hinton 2002, products of experts).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from fusion.manifest import Head

Array = NDArray[np.float64]


def read_logits(output: NDArray[np.floating], head: Head, dt_s: float) -> Array:
    """Return a head's logits [batch, labels] from its output [batch, steps, labels].

    `read_at_s` names the number of whole steps that count: step ⌈read_at/dt⌉ − 1 is the last.
    """
    steps = output.shape[1]
    if head.read_at_s is not None:
        steps = min(steps, int(np.ceil(head.read_at_s / dt_s - 1e-9)))
    seen = output[:, :steps].astype(np.float64)
    if head.readout == "last":
        return seen[:, -1]
    if head.readout == "max":
        return np.asarray(seen.max(axis=1), np.float64)
    if head.readout == "mean":
        return np.asarray(seen.mean(axis=1), np.float64)
    if head.readout == "count":
        return np.asarray(seen.sum(axis=1), np.float64)
    fired = seen != 0
    return -np.where(fired.any(axis=1), fired.argmax(axis=1), steps).astype(np.float64)


def log_posterior(logits: Array, temperature: float) -> Array:
    """Return log p(label) from logits [..., labels], after dividing by the temperature."""
    return np.asarray(log_softmax(logits / temperature, axis=-1), np.float64)


def product_of_experts(log_posteriors: Mapping[str, Array], labels: int) -> Array:
    """Return the fused log-posterior [labels]; without any sensor the uniform prior."""
    total = np.zeros(labels)
    for name in sorted(log_posteriors):  # a fixed order of addition, whatever the caller's
        total = total + log_posteriors[name]
    return np.asarray(log_softmax(total), np.float64)


@dataclass(frozen=True, slots=True)
class Decision:
    """One fused answer.

    Attributes:
        posterior: fused p(label) [labels].
        by_sensor: sensor → its own p(label) [labels], for the sensors that took part.
        contributions: sensor → log p(ŷ | all) − log p(ŷ | all but this one), nats.
    """

    posterior: Array
    by_sensor: Mapping[str, Array]
    contributions: Mapping[str, float]

    @property
    def best(self) -> int:
        """Index ŷ of the most probable label, the first of equals."""
        return int(np.argmax(self.posterior))

    @property
    def confidence(self) -> float:
        """Probability of the most probable label."""
        return float(self.posterior[self.best])


def decide(log_posteriors: Mapping[str, Array], labels: int) -> Decision:
    """Fuse the log-posteriors [labels] of the sensors that took part, none included."""
    fused = product_of_experts(log_posteriors, labels)
    best = int(np.argmax(fused))
    contributions = {}
    for name in log_posteriors:
        rest = {other: value for other, value in log_posteriors.items() if other != name}
        contributions[name] = float(fused[best] - product_of_experts(rest, labels)[best])
    by_sensor = {name: np.exp(value) for name, value in log_posteriors.items()}
    return Decision(np.exp(fused), by_sensor, contributions)
