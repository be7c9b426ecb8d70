"""The arithmetic of an answer, in plain loops over arrays of float64.

Written so that an engine which compiles can make machine code of it: see
`simulators.compiled_weighing`. Both call the C library's `exp` and `log`, and give the same bits.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def normalise(scores: Array) -> None:
    """Turn log p(label) [labels], each up to a constant, into log-posteriors: x − log Σ exp x."""
    largest = scores[0]
    for score in scores:
        largest = max(largest, score)
    total = 0.0
    for label in range(scores.size):
        scores[label] -= largest
        total += math.exp(scores[label])
    log_total = math.log(total)
    for label in range(scores.size):
        scores[label] -= log_total


def multiply(log_posteriors: Array, without: int, fused: Array) -> None:
    """Write the product of all experts but one, or of all for −1, as a log-posterior [labels]."""
    fused[:] = 0.0
    for sensor in range(log_posteriors.shape[0]):
        if sensor != without:
            for label in range(fused.size):
                fused[label] += log_posteriors[sensor, label]
    normalise(fused)


def certainty_of(posterior: Array) -> float:
    """Return 1 − H(p)/ln K of a posterior [K]."""
    entropy = 0.0
    for p in posterior:
        if p > 0.0:
            entropy -= p * math.log(p)
    return min(1.0, max(0.0, 1.0 - entropy / math.log(posterior.size)))


def conflict_of(posteriors: Array) -> float:
    """Return the largest confident disagreement of two of the posteriors [sensors, labels]."""
    worst = 0.0
    for first in range(posteriors.shape[0]):
        for second in range(first):
            overlap = 0.0
            for label in range(posteriors.shape[1]):
                overlap += math.sqrt(posteriors[first, label] * posteriors[second, label])
            sure = min(certainty_of(posteriors[first]), certainty_of(posteriors[second]))
            worst = max(worst, sure * (1.0 - min(1.0, overlap)))
    return worst


def weigh(
    scores: Array, fused: Array, posteriors: Array, contributions: Array
) -> tuple[int, float, float]:
    """Fuse what the sensors say.

    Args:
        scores: [sensors, labels], log p(label) of each sensor up to a constant; log-posteriors
            afterwards.
        fused: [labels], written: the fused log-posterior.
        posteriors: [1 + sensors, labels], written: the fused p(label), then each sensor's own.
        contributions: [sensors], written: log p(ŷ | all) − log p(ŷ | all but this one).

    Returns:
        The index ŷ of the most probable label, the first of equals; the certainty of the fused
        posterior; the conflict of the sensors.
    """
    for sensor in range(scores.shape[0]):
        normalise(scores[sensor])
        for label in range(fused.size):
            posteriors[1 + sensor, label] = math.exp(scores[sensor, label])
    multiply(scores, -1, fused)
    best = 0
    for label in range(fused.size):
        posteriors[0, label] = math.exp(fused[label])
        if fused[label] > fused[best]:
            best = label
    rest = np.empty_like(fused)
    for sensor in range(scores.shape[0]):
        multiply(scores, sensor, rest)
        contributions[sensor] = fused[best] - rest[best]
    return best, certainty_of(posteriors[0]), conflict_of(posteriors[1:])
