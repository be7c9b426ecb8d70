"""How far to trust a head: its temperature, and the accuracy of two heads together."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Array = NDArray[np.float64]
Digits = NDArray[np.int64]


def fit_temperature(logits: Array, digits: Digits) -> float:
    """Return the temperature that makes softmax(logits / T) most likely to give the digits.

    Args:
        logits: [samples, 10].
        digits: right answers [samples].
    """

    def surprise(log_t: float) -> float:
        beliefs = log_softmax(logits / np.exp(log_t), axis=1)
        return -float(np.mean(beliefs[np.arange(len(digits)), digits]))

    found = minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def log_beliefs(logits: Array, temperature: float) -> Array:
    """Return log p(digit) [samples, 10]."""
    return np.asarray(log_softmax(logits / temperature, axis=1))


def accuracy(scores: Array, digits: Digits) -> float:
    """Return the fraction of samples whose highest score is at the right digit."""
    return float(np.mean(scores.argmax(axis=1) == digits))
