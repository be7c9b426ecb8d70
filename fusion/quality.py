"""The quality score: how far a fused answer can be leaned on, Q = C·(1 − κ)·V in [0, 1].

Q measures the health of the fusion (sensors present, agreeing and sure), not correctness; publish
the confidence beside it.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fusion.weighing import certainty_of, conflict_of

Array = NDArray[np.float64]


class Quality(Struct, frozen=True):
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
    return certainty_of(posterior)


def conflict(posteriors: Mapping[str, Array]) -> float:
    """Return the largest min(c_m, c_n)·(1 − Σ_k √(p_m(k)·p_n(k))) over pairs of sensors.

    The sum is the Bhattacharyya coefficient, 1 for equal and 0 for disjoint posteriors; c is the
    certainty, so two unsure sensors do not conflict.
    """
    return conflict_of(np.array([*posteriors.values()], np.float64, ndmin=2))


def coverage(reliability: Mapping[str, float], live: Mapping[str, float]) -> float:
    """Return Σ w·a / Σ w over the model's sensors.

    Args:
        reliability: sensor → validation accuracy w, in (0, 1].
        live: sensor → share a of the window in which it was live, times the share of its events
            that came in time; a missing sensor is 0.
    """
    total = sum(reliability.values())
    return sum(weight * live.get(name, 0.0) for name, weight in reliability.items()) / total
