"""The four noise levels of the task."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion.events import EventStream


@dataclass(frozen=True, slots=True)
class Level:
    """How much both sensors are disturbed.

    Attributes:
        snr_db: power of the clip over power of the white noise added to it; None adds none.
        kept: chance of every camera event to stay.
        added: noise events added, as a fraction of the events that stayed.
    """

    snr_db: float | None
    kept: float
    added: float


LEVELS = (
    Level(None, 1.0, 0.0),
    Level(10.0, 0.4, 0.3),
    Level(0.0, 0.15, 0.6),
    Level(-10.0, 0.05, 1.0),
)


def noisy_samples(
    samples: NDArray[np.float64], snr_db: float | None, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Return the samples with white Gaussian noise at a ratio of mean powers over the clip."""
    if snr_db is None or samples.size == 0:
        return samples
    power = float(np.mean(samples**2)) / 10 ** (snr_db / 10)
    return np.asarray(samples + draw.normal(size=samples.size) * np.sqrt(power))


def noisy_events(
    stream: EventStream, kept: float, added: float, draw: np.random.Generator
) -> EventStream:
    """Return a random part of the events with noise events among them.

    The noise is uniform over channels (so over space and polarity) and over the recording's time.

    Args:
        stream: events that count 1 each.
        kept: chance of every event to stay.
        added: number of noise events as a fraction of the number that stayed.
        draw: source of the randomness.
    """
    if len(stream) == 0 or (kept >= 1 and added <= 0):
        return stream
    stays = draw.random(len(stream)) < kept
    extra = round(added * int(np.count_nonzero(stays)))
    last = int(stream.t_us[-1])
    t_us = np.concatenate((stream.t_us[stays], draw.integers(0, last + 1, extra)))
    channel = np.concatenate((stream.channel[stays], draw.integers(0, stream.size, extra)))
    order = np.argsort(t_us, kind="stable")
    return EventStream(t_us[order], channel[order].astype(np.int32), None, stream.size)
