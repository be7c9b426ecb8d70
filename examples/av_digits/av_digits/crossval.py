"""Leave one speaker out: how well the recipe hears speakers it never met; needs PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from av_digits.calibration import accuracy, fit_temperature, log_beliefs
from av_digits.data import Clip, Sight, pair_by_label
from av_digits.features import Counts, heard, seen
from av_digits.noise import LEVELS
from av_digits.training import Progress, logits, train_audio, train_vision
from fusion.encoders.mel_onset import MelOnset

Array = NDArray[np.float64]
VISION_REPEATS = 5
"""Draws of noise over the validation digits, which are few."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One speaker's clips as a network that never met the speaker judges them.

    Attributes:
        clips: the speaker's clips.
        logits: noise level → [clips, 10].
    """

    clips: tuple[Clip, ...]
    logits: tuple[Array, ...]

    @property
    def digits(self) -> NDArray[np.int64]:
        """Right answers [clips]."""
        return np.array([clip.digit for clip in self.clips])


@dataclass(frozen=True, slots=True)
class Seen:
    """The validation sights as a network that was not trained on them judges them.

    Attributes:
        sights: the sights.
        logits: noise level → repeats of the noise → [sights, 10].
        temperature: fitted over all levels.
    """

    sights: tuple[Sight, ...]
    logits: tuple[tuple[Array, ...], ...]
    temperature: float


@dataclass(frozen=True, slots=True)
class Row:
    """Accuracies of one run at one noise level."""

    seed: int
    speaker: str
    level: int
    audio: float
    vision: float
    fused: float


def listen_to_strangers(
    clips: Sequence[Clip],
    copies: Counts,
    encoder: MelOnset,
    seed: int,
    members: int,
    report: Progress,
) -> dict[str, Heard]:
    """Train without each speaker in turn and judge that speaker's clips.

    Args:
        clips: all speakers' clips.
        copies: their augmented counts [clips, copies, steps, lines].
        encoder: makes the counts of the clips that are judged.
        seed: of networks and noise.
        members: networks whose logits are averaged.
        report: called with lines of progress.

    Returns:
        speaker → judgement.
    """
    speakers = np.array([clip.speaker for clip in clips])
    digits = np.array([clip.digit for clip in clips])
    judged = {}
    for speaker in sorted(set(speakers.tolist())):
        others = speakers != speaker
        networks = [
            train_audio(copies[others], digits[others], seed * 100 + member, report)
            for member in range(members)
        ]
        own = tuple(clip for clip in clips if clip.speaker == speaker)
        draw = np.random.default_rng(seed)
        found = []
        for level in range(len(LEVELS)):
            counts = heard(own, encoder, level, draw)
            found.append(np.mean([logits(one, counts) for one in networks], axis=0))
        judged[speaker] = Heard(own, tuple(found))
        report(f"{speaker}, seed {seed}: {accuracy(found[0], judged[speaker].digits):.3f} clean")
    return judged


def look_at_strangers(
    train: Sequence[Sight],
    validation: Sequence[Sight],
    seed: int,
    members: int,
    report: Progress,
) -> Seen:
    """Train on some sights and judge the others at every noise level."""
    networks = [train_vision(train, seed * 100 + member, report) for member in range(members)]
    return judge_sights(networks, validation, seed)


def judge_sights(networks: Sequence[object], validation: Sequence[Sight], seed: int) -> Seen:
    """Judge sights at every noise level and fit the temperature."""
    draw = np.random.default_rng(seed)
    found = tuple(
        tuple(
            np.mean([logits(one, counts) for one in networks], axis=0)  # type: ignore[arg-type]
            for counts in (seen(validation, level, draw) for _ in range(VISION_REPEATS))
        )
        for level in range(len(LEVELS))
    )
    digits = np.array([sight.digit for sight in validation])
    every = np.concatenate([one for level in found for one in level])
    repeats = len(every) // len(digits)
    return Seen(tuple(validation), found, fit_temperature(every, np.tile(digits, repeats)))


def audio_temperature(judged: Mapping[str, Heard], without: str | None = None) -> float:
    """Return the temperature over all levels and all speakers but `without`."""
    kept = [one for speaker, one in judged.items() if speaker != without]
    every = np.concatenate([level for one in kept for level in one.logits])
    digits = np.concatenate([one.digits for one in kept for _ in one.logits])
    return fit_temperature(every, digits)


def rows(judged: Mapping[str, Heard], sight: Seen, seed: int) -> list[Row]:
    """Return the accuracies of every speaker and level.

    The temperature of the audio head comes from the other speakers; the clips are paired with
    the validation sights by `pair_by_label`, once for every repeat of the vision noise.
    """
    out = []
    place = {one.number: index for index, one in enumerate(sight.sights)}
    for speaker, one in judged.items():
        pairs = pair_by_label(one.clips, sight.sights)
        chosen = np.array([place[partner.number] for _, partner in pairs])
        temperature = audio_temperature(judged, without=speaker)
        for level in range(len(LEVELS)):
            by_ear = log_beliefs(one.logits[level], temperature)
            by_eye = [log_beliefs(x, sight.temperature)[chosen] for x in sight.logits[level]]
            out.append(
                Row(
                    seed,
                    speaker,
                    level,
                    accuracy(by_ear, one.digits),
                    float(np.mean([accuracy(eye, one.digits) for eye in by_eye])),
                    float(np.mean([accuracy(by_ear + eye, one.digits) for eye in by_eye])),
                )
            )
    return out


def table(found: Sequence[Row]) -> str:
    """Return mean ± standard deviation and the worst run of every level, in per cent."""
    lines = ["level  audio            vision           fused            worst fused"]
    for level in range(len(LEVELS)):
        here = [row for row in found if row.level == level]
        cells = []
        for name in ("audio", "vision", "fused"):
            values = 100 * np.array([getattr(row, name) for row in here])
            cells.append(f"{values.mean():5.1f} ± {values.std():4.1f}    ")
        worst = min(here, key=lambda row: row.fused)
        cells.append(f"{100 * worst.fused:5.1f} ({worst.speaker}, seed {worst.seed})")
        lines.append(f"{level:5d}  {' '.join(cells)}")
    return "\n".join(lines)
