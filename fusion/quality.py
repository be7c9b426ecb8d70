"""The quality score: how far a fused answer can be leaned on, Q = C·(1 − κ)·V in [0, 1].

Q measures the health of the fusion (sensors present, agreeing and sure), not correctness; publish
the confidence beside it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quality:
    """Q and its parts, each in [0, 1].

    Attributes:
        certainty: C = 1 − H(p)/ln K of the fused posterior.
        conflict: κ, the largest confident disagreement of two sensors.
        coverage: V, the reliability-weighted share of the sensors that were live and on time.
    """

    certainty: float
    conflict: float
    coverage: float

    @property
    def score(self) -> float:
        """Q = C·(1 − κ)·V."""
        return self.certainty * (1.0 - self.conflict) * self.coverage


def certainty(posterior: Array) -> float:
    """Return 1 − H(p)/ln K of a posterior [K]: 0 when uniform, 1 when one label is sure."""
    p = posterior[posterior > 0]
    entropy = -float((p * np.log(p)).sum())
    return min(1.0, max(0.0, 1.0 - entropy / math.log(posterior.size)))


def conflict(posteriors: Mapping[str, Array]) -> float:
    """Return the largest min(c_m, c_n)·(1 − Σ_k √(p_m(k)·p_n(k))) over pairs of sensors.

    The sum is the Bhattacharyya coefficient, 1 for equal and 0 for disjoint posteriors; c is the
    certainty, so two unsure sensors do not conflict.
    """
    worst = 0.0
    sure = {name: certainty(posterior) for name, posterior in posteriors.items()}
    for first, second in combinations(posteriors, 2):
        overlap = min(1.0, float(np.sqrt(posteriors[first] * posteriors[second]).sum()))
        worst = max(worst, min(sure[first], sure[second]) * (1.0 - overlap))
    return worst


def coverage(reliability: Mapping[str, float], live: Mapping[str, float]) -> float:
    """Return Σ w·a / Σ w over the model's sensors.

    Args:
        reliability: sensor → validation accuracy w, in (0, 1].
        live: sensor → share a of the window in which it was live, times the share of its events
            that came in time; a missing sensor is 0.
    """
    total = sum(reliability.values())
    return sum(weight * live.get(name, 0.0) for name, weight in reliability.items()) / total


def assess(
    fused: Array,
    posteriors: Mapping[str, Array],
    reliability: Mapping[str, float],
    live: Mapping[str, float],
) -> Quality:
    """Return the quality of one fused answer; arguments as in the functions above."""
    return Quality(certainty(fused), conflict(posteriors), coverage(reliability, live))
