"""From output activity to posteriors, and from posteriors to one answer.

Late fusion by a product of experts: given the class, sensors are taken as independent, so their
log-posteriors under a uniform prior add up (Hinton 2002, products of experts).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion.manifest import Head

Array = NDArray[np.float64]


def read_logits(output: NDArray[np.floating], head: Head, dt_s: float) -> Array:
    """Return a head's logits [batch, labels] from its output [batch, steps, labels].

    `read_at_s` names the number of whole steps that count, at least one: step ⌈read_at/dt⌉ − 1 is
    the last.
    """
    steps = output.shape[1]
    if head.read_at_s is not None:
        steps = min(steps, max(1, int(np.ceil(head.read_at_s / dt_s - 1e-9))))
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
    return _log_softmax(logits / temperature)


def product_of_experts(log_posteriors: Mapping[str, Array], labels: int) -> Array:
    """Return the fused log-posterior [labels]; without any sensor the uniform prior."""
    return _log_softmax(_total(log_posteriors, labels))


def _total(log_posteriors: Mapping[str, Array], labels: int, without: str | None = None) -> Array:
    """Return the sum over all sensors but one."""
    total = np.zeros(labels)
    for name in sorted(log_posteriors):  # a fixed order of addition, whatever the caller's
        if name != without:
            total += log_posteriors[name]
    return total


def _log_softmax(x: Array) -> Array:
    """Return x − log Σ exp x over the last axis, from x less its largest.

    SciPy's does the same, and spends ten times as long on what else it can be given.
    """
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float64)


@dataclass(frozen=True, slots=True)
class Decision:
    """One fused answer.

    Attributes:
        log_posterior: fused log p(label) [labels].
        by_sensor: sensor → its own p(label) [labels], for the sensors that took part.
        contributions: sensor → log p(ŷ | all) − log p(ŷ | all but this one), nats.
    """

    log_posterior: Array
    by_sensor: Mapping[str, Array]
    contributions: Mapping[str, float]

    @property
    def posterior(self) -> Array:
        """Fused p(label) [labels]."""
        return np.asarray(np.exp(self.log_posterior), np.float64)

    @property
    def best(self) -> int:
        """Index ŷ of the most probable label, the first of equals."""
        return int(np.argmax(self.log_posterior))

    @property
    def confidence(self) -> float:
        """Probability of the most probable label."""
        return float(self.posterior[self.best])


def decide(log_posteriors: Mapping[str, Array], labels: int) -> Decision:
    """Fuse the log-posteriors [labels] of the sensors that took part, none included."""
    totals = [_total(log_posteriors, labels, name) for name in (None, *log_posteriors)]
    fused, *rest = _log_softmax(np.array(totals))
    best = int(np.argmax(fused))
    contributions = {
        name: float(fused[best] - others[best])
        for name, others in zip(log_posteriors, rest, strict=True)
    }
    by_sensor = {name: np.exp(value) for name, value in log_posteriors.items()}
    return Decision(fused, by_sensor, contributions)
