"""From output activity to posteriors, and from posteriors to one answer.

Late fusion by a product of experts: given the class, sensors are taken as independent, so their
log-posteriors under a uniform prior add up (Hinton 2002, products of experts).
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fusion.machine_code import machine_code
from fusion.manifest import Head
from fusion.weighing import weigh

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
        return np.asarray(np.add.reduce(seen, axis=1))
    fired = seen != 0
    return -np.where(fired.any(axis=1), fired.argmax(axis=1), steps).astype(np.float64)


class Decision(Struct, frozen=True):
    """One fused answer.

    Attributes:
        log_posterior: fused log p(label) [labels].
        posterior: fused p(label) [labels].
        by_sensor: sensor → its own p(label) [labels], for the sensors that took part.
        contributions: sensor → log p(ŷ | all) − log p(ŷ | all but this one), nats.
        best: index ŷ of the most probable label, the first of equals.
        certainty: of the fused posterior, see `fusion.quality.certainty`.
        conflict: of the sensors, see `fusion.quality.conflict`.
    """

    log_posterior: Array
    posterior: Array
    by_sensor: Mapping[str, Array]
    contributions: Mapping[str, float]
    best: int
    certainty: float
    conflict: float

    @property
    def confidence(self) -> float:
        """Probability of the most probable label."""
        return float(self.posterior[self.best])


def decide(scores: Mapping[str, Array], labels: int) -> Decision:
    """Fuse what the sensors that took part say, none included: then the answer is uniform.

    Args:
        scores: sensor → log p(label) [labels], finite, up to a constant: logits divided by their
            temperature.
        labels: how many there are.
    """
    code = machine_code()
    names = sorted(scores)  # a fixed order of addition, whatever the caller's
    rows = np.array([scores[name] for name in names], np.float64).reshape(-1, labels)
    fused, contributions = np.empty(labels), np.empty(len(names))
    posteriors = np.empty((1 + len(names), labels))
    fuse = weigh if code is None else code.weigh
    best, certainty, conflict = fuse(rows, fused, posteriors, contributions)
    place = {name: number for number, name in enumerate(names)}
    own = {name: posteriors[1 + place[name]] for name in scores}
    shares = {name: float(contributions[place[name]]) for name in scores}
    parts = best, float(certainty), float(conflict)
    return Decision(fused, posteriors[0], own, shares, *parts)
