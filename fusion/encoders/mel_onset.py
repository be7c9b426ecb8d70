"""Speech to spike counts: mel bands against a running peak, started by the onset of a word.

Nothing here depends on the gain of the microphone or on silence before the word, because speakers
and rooms differ by more than any fixed level could serve.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from fusion.events import EventStream

FloatArray = NDArray[np.float64]

BLOCK_FRAMES = 1024
HIGHEST_RATE_HZ = 384_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder made of samples.

    Attributes:
        stream: the events. Time 0 lies one pre-roll before the onset.
        onset_us: end of the frame that held the onset, in microseconds since the first sample;
            None where the samples hold nothing but digital silence.
    """

    stream: EventStream
    onset_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MelOnset:
    """Encodes one word: four count lines for each mel band, re-based on the word's onset.

    The lines are, in this order: `bands` levels (0 to `level_counts`, linear in the logarithm of
    the band's energy over the `range_nats` below the running peak), `bands` rises and `bands`
    falls (send on delta: one count for each `delta_nats`), and `bands` contrasts (twice the level
    above the mean level of the bands up to `contrast_bands` away). The running peak looks
    `look_ahead_s` ahead, so an event is known that much after its time. Digital silence at the
    start carries no information and is skipped. The onset is where the energy between
    `trigger_low_hz` and `trigger_high_hz` jumps; see `onset_frame`.

    Raises:
        InvalidInput: naming the first parameter that is out of range.
    """

    rate_hz: int = 8000
    bands: int = 16
    low_hz: float = 100.0
    high_hz: float = 3900.0
    frame_s: float = 0.032
    hop_s: float = 0.01
    length_s: float = 0.7
    pre_roll_s: float = 0.15
    look_ahead_s: float = 0.1
    range_nats: float = 8.0
    level_counts: int = 8
    contrast_bands: int = 4
    delta_nats: float = 0.6
    most_counts: int = 6
    trigger_low_hz: float = 150.0
    trigger_high_hz: float = 1200.0
    jump_nats: float = 2.0
    attack_s: float = 0.04
    memory_s: float = 0.5
    settle_s: float = 0.3

    def __post_init__(self) -> None:
        checks = {
            "rate_hz": self.rate_hz >= 1,
            "bands": 1 <= self.bands <= 256,
            "low_hz": self.low_hz >= 0,
            "high_hz": self.low_hz < self.high_hz <= self.rate_hz / 2,
            "hop_s": self._samples(self.hop_s) >= 1,
            "frame_s": max(8, self._samples(self.hop_s)) <= self._samples(self.frame_s) <= 2**16,
            "length_s": 0 < self.length_s <= 60,
            "pre_roll_s": 0 <= self.pre_roll_s < self.length_s,
            "look_ahead_s": 0 <= self.look_ahead_s <= 60,
            "range_nats": 0 < self.range_nats <= 50,
            "level_counts": 1 <= self.level_counts <= 255,
            "delta_nats": self.delta_nats > 0,
            "contrast_bands": 1 <= self.contrast_bands <= 256,
            "most_counts": 1 <= self.most_counts <= 255,
            "trigger_low_hz": self.trigger_low_hz >= 0,
            "trigger_high_hz": self.trigger_low_hz < self.trigger_high_hz <= self.rate_hz / 2,
            "jump_nats": self.jump_nats > 0,
            "attack_s": 0 < self.attack_s <= 60,
            "memory_s": 0 < self.memory_s <= 60,
            "settle_s": 0 < self.settle_s <= 60,
        }
        for name, right in checks.items():
            if not right:
                raise InvalidInput(name, f"{getattr(self, name)} is out of range")

    @property
    def size(self) -> int:
        """Number of count lines."""
        return 4 * self.bands

    @property
    def steps(self) -> int:
        """Number of hops that the events of one word span."""
        return round(self.length_s / self.hop_s)

    def encode(self, samples: FloatArray, rate_hz: int) -> Encoded:
        """Return the events of the first word in the samples.

        Args:
            samples: float64 [n], finite, at any gain.
            rate_hz: samples per second, at least the encoder's own rate.

        Returns:
            Events with values (counts), at multiples of `hop_s` before `length_s`.

        Raises:
            InvalidInput: if the rate is too low or absurdly high, or the samples are not one row.
        """
        if samples.ndim != 1:
            raise InvalidInput("samples", f"must be one row, got shape {list(samples.shape)}")
        if not self.rate_hz <= rate_hz <= HIGHEST_RATE_HZ:
            raise InvalidInput(
                "rate_hz", f"{rate_hz} Hz is not between {self.rate_hz} and {HIGHEST_RATE_HZ} Hz"
            )
        sounding = np.flatnonzero(samples)
        if sounding.size == 0:
            return Encoded(EventStream.empty(self.size), None)
        start = int(sounding[0])
        bands, trigger = self.energies(self._resampled(samples[start:], rate_hz))
        onset = self.onset_frame(trigger)
        counts = self.counts(bands, onset)
        hop, frame = self._samples(self.hop_s), self._samples(self.frame_s)
        late_us = (onset * hop + frame) * 1_000_000 // self.rate_hz
        return Encoded(self._stream(counts), start * 1_000_000 // rate_hz + late_us)

    def energies(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the energy of every frame: [frames, bands] and, for the trigger, [frames].

        Args:
            samples: float64 [n] at the encoder's own rate; less than a frame is filled with zeros.
        """
        power = self.power(samples, self._samples(self.hop_s))
        return power @ self.mel_weights().T, power @ self.trigger_weights()

    def power(self, samples: FloatArray, hop: int) -> FloatArray:
        """Return the power spectrum [frames, bins] of Hann windows that start every `hop` samples.

        The samples are scaled by a power of two first, which loses no bit, so that neither very
        loud nor very faint ones leave the range of floating point.
        """
        frame = self._samples(self.frame_s)
        scaled = np.ldexp(samples, -int(np.frexp(np.abs(samples).max(initial=0.0))[1]))
        padded = np.pad(scaled, (0, max(0, frame - samples.size)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
        hann = np.hanning(frame)
        blocks = [
            np.abs(np.fft.rfft(windows[first : first + BLOCK_FRAMES] * hann, axis=1)) ** 2
            for first in range(0, len(windows), BLOCK_FRAMES)
        ]
        return np.concatenate(blocks)

    def mel_weights(self) -> FloatArray:
        """Return the triangular mel filters, [bands, bins]."""
        mel = np.linspace(_mel(self.low_hz), _mel(self.high_hz), self.bands + 2)
        edges = 700.0 * np.expm1(mel / 1127.0)
        bins = self._bin_hz()
        rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
        return np.asarray(np.maximum(np.minimum(rising, falling), 0.0), np.float64)

    def trigger_weights(self) -> FloatArray:
        """Return the band that the onset trigger listens to, [bins] of 0 or 1."""
        bins = self._bin_hz()
        inside = (bins >= self.trigger_low_hz) & (bins <= self.trigger_high_hz)
        return inside.astype(np.float64)

    def onset_frame(self, trigger: FloatArray) -> int:
        """Return the frame of the onset.

        A jump is a frame `jump_nats` above every frame of the last `memory_s` but the newest
        `attack_s`, in which a word may still be rising. The onset is the last jump within
        `settle_s` of the first, so that a click, a breath or the start of the recording before
        the word's loudest part does not count; without a jump it is the first frame.
        """
        # A frame of digital silence is taken for 90 dB below the loudest frame so far.
        energy = np.log(trigger + 1e-9 * np.maximum.accumulate(trigger) + 1e-300)
        attack, memory, settle = (
            max(1, round(span / self.hop_s))
            for span in (self.attack_s, self.memory_s, self.settle_s)
        )
        before = np.concatenate((np.full(attack + memory - 1, -np.inf), energy[:-attack]))
        windows = np.lib.stride_tricks.sliding_window_view(before, memory)
        loudest = windows[: len(energy)].max(axis=1)
        jumps = np.flatnonzero(np.isfinite(loudest) & (energy > loudest + self.jump_nats))
        if jumps.size == 0:
            return 0
        return int(jumps[jumps <= jumps[0] + settle][-1])

    def counts(self, bands: FloatArray, onset: int) -> FloatArray:
        """Return the counts [steps, size] of the word whose onset is frame `onset`."""
        pre_roll = round(self.pre_roll_s / self.hop_s)
        ahead = round(self.look_ahead_s / self.hop_s)
        first = max(0, onset - pre_roll)
        quiet = first - (onset - pre_roll)
        out = np.zeros((self.steps, self.size))
        part = bands[first : first + self.steps - quiet + ahead]
        peak = np.maximum.accumulate(part.max(axis=1))
        peak = np.log(peak[np.minimum(np.arange(len(peak)) + ahead, len(peak) - 1)] + 1e-300)
        floor = (peak - self.range_nats)[:, None]
        level = np.maximum(np.log(part + 1e-300), floor)
        height = (level - floor) / self.range_nats * self.level_counts
        moved = self._deltas(level)
        signed = np.concatenate((moved, -moved, 2 * (height - self._neighbours(height))), axis=1)
        events = np.clip(np.round(signed), 0, self.most_counts)
        kept = np.concatenate((np.round(height), events), axis=1)[: self.steps - quiet]
        out[quiet : quiet + len(kept)] = kept
        return out

    def _deltas(self, level: FloatArray) -> FloatArray:
        """Return signed send-on-delta counts, [frames, bands]."""
        reference = level[0].copy()
        moved = np.zeros_like(level)
        for frame in range(1, len(level)):
            moved[frame] = np.trunc((level[frame] - reference) / self.delta_nats)
            reference += moved[frame] * self.delta_nats
        return moved

    def _neighbours(self, height: FloatArray) -> FloatArray:
        """Return the mean over the bands up to `contrast_bands` away, [frames, bands]."""
        distance = np.abs(np.subtract.outer(np.arange(self.bands), np.arange(self.bands)))
        near = (distance <= self.contrast_bands).astype(np.float64)
        return np.asarray(height @ (near / near.sum(axis=1)))

    def _stream(self, counts: FloatArray) -> EventStream:
        step, line = np.nonzero(counts)
        t_us = np.round(step * self.hop_s * 1e6).astype(np.int64)
        value = counts[step, line].astype(np.float32)
        return EventStream(t_us, line.astype(np.int32), value, self.size)

    def _resampled(self, samples: FloatArray, rate_hz: int) -> FloatArray:
        if rate_hz == self.rate_hz:
            return samples
        common = gcd(rate_hz, self.rate_hz)
        # Imported here: it takes a second, and recordings at the encoder's own rate need none.
        from scipy.signal import resample_poly  # noqa: PLC0415

        return np.asarray(resample_poly(samples, self.rate_hz // common, rate_hz // common))

    def _bin_hz(self) -> FloatArray:
        frame = self._samples(self.frame_s)
        return np.asarray(np.arange(frame // 2 + 1) * (self.rate_hz / frame), np.float64)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.rate_hz)


def _mel(hz: float) -> float:
    return float(1127.0 * np.log1p(hz / 700.0))
