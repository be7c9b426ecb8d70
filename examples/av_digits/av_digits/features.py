"""Count arrays for training: many augmented versions of every recording."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from av_digits.augment import VoiceRange, other_hand, other_voice
from av_digits.data import Clip, Sight
from av_digits.noise import LEVELS, noisy_events, noisy_samples
from fusion.encoders.mel_onset import MelOnset
from fusion.encoders.pool import Pool
from fusion.events import EventStream, bin_events

Counts = NDArray[np.uint8]

POOL = Pool(shape=(2, 34, 34), factor=2)
DT_S = 0.01
VISION_STEPS = 32


def voice_copies(
    clips: Sequence[Clip], encoder: MelOnset, copies: int, draw: np.random.Generator
) -> Counts:
    """Return augmented counts [clips, copies, steps, lines]."""
    ranges = VoiceRange()
    out = np.zeros((len(clips), copies, encoder.steps, encoder.size), np.uint8)
    for index, clip in enumerate(clips):
        for copy in range(copies):
            out[index, copy] = other_voice(clip.samples.values, encoder, draw, ranges)
    return out


def heard(
    clips: Sequence[Clip], encoder: MelOnset, level: int, draw: np.random.Generator
) -> Counts:
    """Return the counts [clips, steps, lines] of the clips at a noise level."""
    out = np.zeros((len(clips), encoder.steps, encoder.size), np.uint8)
    for index, clip in enumerate(clips):
        noisy = noisy_samples(clip.samples.values, LEVELS[level].snr_db, draw)
        stream = encoder.encode(noisy, clip.samples.rate_hz).stream
        out[index] = bin_events(stream, DT_S, encoder.steps)[0]
    return out


def sight_epoch(sights: Sequence[Sight], draw: np.random.Generator) -> Counts:
    """Return one augmented version of every sight, [sights, steps, 2, 17, 17].

    A third is clean; the rest lies on a random point of the path through the noise levels, and
    its noise is up to the original events' number, which is harsher than the levels themselves.
    """
    return np.stack([rastered(_disturbed(one.events, draw)) for one in sights])


def seen(sights: Sequence[Sight], level: int, draw: np.random.Generator) -> Counts:
    """Return the counts [sights, steps, 2, 17, 17] of the sights at a noise level."""
    kept, added = LEVELS[level].kept, LEVELS[level].added
    return np.stack([rastered(noisy_events(one.events, kept, added, draw)) for one in sights])


def rastered(stream: EventStream) -> Counts:
    """Return counts [steps, 2, 17, 17] of a camera's events."""
    raster = bin_events(POOL.encode(stream), DT_S, VISION_STEPS)[0]
    return raster.astype(np.uint8).reshape(VISION_STEPS, *POOL.pooled_shape)


def _disturbed(stream: EventStream, draw: np.random.Generator) -> EventStream:
    written = other_hand(stream, draw)
    if draw.random() < 0.33:
        return written
    place = draw.uniform(0, 2.6)
    numbers = np.arange(len(LEVELS))
    kept = float(np.exp(np.interp(place, numbers, np.log([level.kept for level in LEVELS]))))
    added = float(np.interp(place, numbers, [level.added for level in LEVELS]))
    # Between noise relative to the events that stayed and relative to all there were.
    share = draw.random() ** 2
    added *= np.exp(share * np.log(1 / kept))
    return noisy_events(written, kept, added, draw)
