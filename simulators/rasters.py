"""How two spike rasters of one population differ."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Raster = NDArray[np.int64]
"""Spike counts [steps, neurons]."""

_Number = TypeVar("_Number", bound=np.generic)

MAX_LAG_STEPS = 5
VAN_ROSSUM_TAU_S = 0.01


@dataclass(frozen=True, slots=True)
class PopulationDifference:
    """How two rasters of one population differ.

    Attributes:
        node: the population.
        spikes: spikes in the first and in the second raster.
        bins: steps times neurons.
        mismatched: bins that differ.
        lag_steps: how much later the second is where they agree best, within 5 steps.
        mismatched_at_lag: bins that differ then.
        cosine: cosine similarity of the neurons' mean activity; 1 if both are silent.
        van_rossum: distance of the spike trains filtered with exp(−t/10 ms), summed over neurons
            (van Rossum 2001); 0 if equal.
    """

    node: str
    spikes: tuple[int, int]
    bins: int
    mismatched: int
    lag_steps: int
    mismatched_at_lag: int
    cosine: float
    van_rossum: float


def lasting(raster: NDArray[_Number], steps: int) -> NDArray[_Number]:
    """Return a raster [steps, ...] with silence at its end, so that it lasts so many steps."""
    silence = np.zeros((steps - len(raster), *raster.shape[1:]), raster.dtype)
    return np.concatenate((raster, silence))


def population_difference(
    node: str, first: Raster, second: Raster, dt_s: float
) -> PopulationDifference:
    """Return how two rasters [steps, neurons] differ; a shorter one is silent at its end."""
    first, second = (lasting(one, max(len(first), len(second))) for one in (first, second))
    by_lag = {lag: _mismatched(first, second, lag) for lag in _lags(len(first))}
    best = min(by_lag, key=lambda lag: (by_lag[lag], abs(lag), lag))
    return PopulationDifference(
        node,
        (int(first.sum()), int(second.sum())),
        first.size,
        by_lag[0],
        best,
        by_lag[best],
        _cosine(first.mean(axis=0), second.mean(axis=0)),
        van_rossum(first, second, dt_s),
    )


def _lags(steps: int) -> range:
    reach = min(MAX_LAG_STEPS, steps - 1)
    return range(-reach, reach + 1)


def _mismatched(first: Raster, second: Raster, lag: int) -> int:
    """Return the differing bins if the second is `lag` steps late; overhanging spikes count."""
    shifted = np.zeros_like(second)
    if lag >= 0:
        shifted[: len(second) - lag] = second[lag:]
        lost = second[:lag]
    else:
        shifted[-lag:] = second[:lag]
        lost = second[lag:]
    return int(np.count_nonzero(first != shifted) + np.count_nonzero(lost))


def _cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norms == 0:
        return 1.0 if not first.any() and not second.any() else 0.0
    return min(1.0, float(first @ second) / norms)


def van_rossum(first: Raster, second: Raster, dt_s: float) -> float:
    """Return the van Rossum distance of two rasters [steps, neurons], summed over neurons.

    D² = 1/τ ∫ (f − g)² dt with trains filtered by exp(−t/τ), τ = 10 ms; the tail behind the last
    step is included in closed form.
    """
    decay = np.exp(-dt_s / VAN_ROSSUM_TAU_S)
    gap = np.zeros(first.shape[1])
    squares = np.zeros(first.shape[1])
    for difference in first - second:
        gap = decay * gap + difference
        squares += gap**2
    squares += gap**2 * decay**2 / (1 - decay**2)
    return float(np.sqrt(squares * dt_s / VAN_ROSSUM_TAU_S).sum())
