"""Other speakers, rooms and hands than the few that were recorded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from fusion.encoders.mel_onset import MelOnset
from fusion.events import EventStream

FloatArray = NDArray[np.float64]
FINE_HOP = 40
"""Samples between the frames that time is warped on."""


@dataclass(frozen=True, slots=True)
class VoiceRange:
    """How far augmented voices stray.

    Attributes:
        speed: natural logarithm of the largest change of pitch, formants and tempo together.
        tempo: the same for tempo alone.
        warp_time: spread of the local tempo within a word (natural logarithm).
        warp_frequency: spread of local shifts of formants, as a fraction.
        equaliser_db: spread of the microphone's frequency response.
        snr_db: range of the signal-to-noise ratio.
        noisy: share of clips that get noise.
    """

    speed: float = 0.15
    tempo: float = 0.25
    warp_time: float = 0.2
    warp_frequency: float = 0.04
    equaliser_db: float = 2.5
    snr_db: tuple[float, float] = (-8.0, 25.0)
    noisy: float = 0.6


def other_voice(
    samples: FloatArray, encoder: MelOnset, draw: np.random.Generator, ranges: VoiceRange
) -> FloatArray:
    """Return the counts [steps, size] of the word as another speaker may have said it.

    The voice is resampled (pitch, formants and tempo), silence or faint noise is put before it or
    its start is cut, white noise is added, then its spectrogram is warped in time and frequency
    and filtered, and the onset is moved by up to 30 ms.

    Args:
        samples: float64 [n] at the encoder's rate.
        encoder: makes the counts.
        draw: source of the randomness.
        ranges: how far to stray.
    """
    up = round(50 * np.exp(draw.uniform(-ranges.speed, ranges.speed)))
    voice = np.asarray(resample_poly(samples, up, 50)) if up != 50 else samples
    power = float(np.mean(voice**2))
    sound = _with_lead(voice, power, draw)
    if draw.random() < ranges.noisy:
        ratio = 10 ** (draw.uniform(*ranges.snr_db) / 10)
        sound = sound + draw.normal(size=sound.size) * np.sqrt(power / ratio)
    spectrum = encoder.power(sound[int(np.flatnonzero(sound)[0]) :], FINE_HOP)
    hop = encoder.hop_s * encoder.rate_hz / FINE_HOP
    # Most of the tempo that resampling changed is given back: voices differ less in it.
    stride = hop * np.exp(draw.uniform(-ranges.tempo, ranges.tempo)) * (up / 50) ** 0.7
    spectrum = _warp_time(spectrum, stride, ranges.warp_time, draw)
    spectrum = _warp_frequency(spectrum, ranges.warp_frequency, draw)
    spectrum = spectrum * 10 ** (smooth(spectrum.shape[1], 4, ranges.equaliser_db, draw) / 10)
    onset = encoder.onset_frame(spectrum @ encoder.trigger_weights())
    shifted = max(0, onset + int(draw.integers(-3, 4)))
    return encoder.counts(spectrum @ encoder.mel_weights().T, shifted)


def other_hand(stream: EventStream, draw: np.random.Generator) -> EventStream:
    """Return the events of a 34 by 34 pixel digit as another hand may have written it.

    The picture is turned, sheared, stretched, moved and bent a little; events that leave the
    sensor are lost.
    """
    polarity, y, x = np.unravel_index(stream.channel, (2, 34, 34))
    turn, shear = draw.uniform(-0.2, 0.2, 2)
    stretch_x, stretch_y = np.exp(draw.uniform(-0.15, 0.15, 2))
    right, down = draw.uniform(-3, 3, 2)
    u, v = x - 16.5, y - 16.5
    new_x = stretch_x * (np.cos(turn) * u - np.sin(turn) * v) + shear * v + 16.5 + right
    new_y = stretch_y * (np.sin(turn) * u + np.cos(turn) * v) + 16.5 + down
    bend = draw.uniform(0, 1.2)
    wave_x, wave_y = 2 * np.pi / 34 * draw.uniform(0.7, 1.6, 2)
    phase_x, phase_y = draw.uniform(0, 2 * np.pi, 2)
    bent_x = np.rint(new_x + bend * np.sin(wave_x * new_y + phase_x)).astype(np.int64)
    bent_y = np.rint(new_y + bend * np.sin(wave_y * new_x + phase_y)).astype(np.int64)
    seen = (bent_x >= 0) & (bent_x < 34) & (bent_y >= 0) & (bent_y < 34)
    channel = np.ravel_multi_index((polarity[seen], bent_y[seen], bent_x[seen]), (2, 34, 34))
    return EventStream(stream.t_us[seen], channel.astype(np.int32), None, stream.size)


def smooth(points: int, waves: int, spread: float, draw: np.random.Generator) -> FloatArray:
    """Return a random smooth curve [points]: a sum of `waves` cosines of the given spread."""
    place = np.linspace(0, np.pi, points)
    height = draw.normal(size=waves) * spread / np.sqrt(waves / 2)
    phase = draw.uniform(0, 2 * np.pi, waves)
    number = np.arange(1, waves + 1)
    return np.asarray(height @ np.cos(number[:, None] * place + phase[:, None]))


def _with_lead(voice: FloatArray, power: float, draw: np.random.Generator) -> FloatArray:
    """Put up to 300 ms of silence or faint noise before the voice, or cut 50 ms off its start."""
    kind = draw.random()
    length = int(draw.integers(0, 2400))
    if kind < 0.25:
        return np.concatenate((np.zeros(length), voice))
    if kind < 0.5:
        faint = np.sqrt(power) * 10 ** (-draw.uniform(25, 60) / 20)
        return np.concatenate((draw.normal(size=length) * faint, voice))
    if kind < 0.65:
        return voice[length // 6 :]
    return voice


def _warp_time(
    power: FloatArray, stride: float, spread: float, draw: np.random.Generator
) -> FloatArray:
    """Return frames about every `stride` frames, read at a tempo that varies smoothly."""
    frames = len(power)
    if frames < 2:
        return power
    place = np.cumsum(np.exp(smooth(frames, 3, spread, draw)))
    place = (place - place[0]) / (place[-1] - place[0]) * (frames - 1)
    wanted = np.interp(np.arange(0, frames - 1, stride), place, np.arange(frames))
    before = wanted.astype(np.int64)
    part = (wanted - before)[:, None]
    return np.asarray((1 - part) * power[before] + part * power[np.minimum(before + 1, frames - 1)])


def _warp_frequency(power: FloatArray, spread: float, draw: np.random.Generator) -> FloatArray:
    bins = power.shape[1]
    wanted = np.arange(bins) * (1 + smooth(bins, 3, spread, draw))
    wanted = np.clip(wanted, 0, bins - 1)
    below = wanted.astype(np.int64)
    part = wanted - below
    above = np.minimum(below + 1, bins - 1)
    return np.asarray((1 - part) * power[:, below] + part * power[:, above])
