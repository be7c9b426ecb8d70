"""The two collections: spoken digits (FSDD) and digits before an event camera (N-MNIST)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.encoders.nmnist import read_nmnist
from fusion.encoders.wav import read_wav
from fusion.encoding import Samples
from fusion.events import EventStream

LABELS = tuple(str(digit) for digit in range(10))
TRAIN_IDS = range(1, 701)
VALIDATION_IDS = range(701, 801)

HELD_OUT_TAKES = range(5)
"""Takes of every FSDD speaker and digit on which nothing is fitted: the collection's own test."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One spoken digit.

    Attributes:
        digit: 0 to 9.
        speaker: the speaker's name.
        take: number of the recording.
        samples: float64 [n] and their rate.
    """

    digit: int
    speaker: str
    take: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class Sight:
    """One digit seen by the event camera.

    Attributes:
        digit: 0 to 9.
        number: the recording's number.
        events: the camera's events, 2 by 34 by 34 channels.
    """

    digit: int
    number: int
    events: EventStream


def load_clips(folder: Path) -> list[Clip]:
    """Return the recordings `{digit}_{speaker}_{take}.wav` of a folder, sorted by name.

    Raises:
        ValueError: if the folder holds none, or a name has another form.
    """
    clips = []
    for path in sorted(folder.glob("*.wav")):
        parts = path.stem.split("_")
        if len(parts) != 3 or parts[0] not in LABELS or not parts[2].isdecimal():
            raise ValueError(f"{path.name}: expected a name like 7_george_12.wav")
        clips.append(Clip(int(parts[0]), parts[1], int(parts[2]), Samples(*read_wav(path))))
    if not clips:
        raise ValueError(f"{folder} holds no wav files")
    return clips


def load_sights(folder: Path, numbers: Sequence[int]) -> list[Sight]:
    """Return the recordings `{number}.bs2` (or `.bin`) of a folder that `labels.txt` knows.

    Numbers that the folder does not hold are passed over.

    Raises:
        ValueError: if the folder holds none of the numbers.
    """
    labels = _labels(folder / "labels.txt")
    sights = []
    for number in numbers:
        path = next(
            (p for p in (folder / f"{number}.bs2", folder / f"{number}.bin") if p.is_file()), None
        )
        if path is not None and number in labels:
            sights.append(Sight(labels[number], number, read_nmnist(path)))
    if not sights:
        raise ValueError(f"{folder} holds no recording from {numbers[0]} to {numbers[-1]}")
    return sights


def _labels(path: Path) -> dict[int, int]:
    """Read lines of `number digit` below a comment line."""
    rows = np.loadtxt(path, dtype=np.int64, ndmin=2)
    return {int(number): int(digit) for number, digit in rows}


def pair_by_label(clips: Sequence[Clip], sights: Sequence[Sight]) -> list[tuple[Clip, Sight]]:
    """Pair every clip with a sight of its digit; clips of digits never seen are left out.

    The k-th clip of a digit, in the order of the clips, takes the (k mod n)-th of the n sights of
    that digit, in the order of the sights: nothing is drawn at random.
    """
    by_digit: dict[int, list[Sight]] = {}
    for sight in sights:
        by_digit.setdefault(sight.digit, []).append(sight)
    used: dict[int, int] = {}
    pairs = []
    for clip in clips:
        choice = by_digit.get(clip.digit)
        if choice:
            turn = used.get(clip.digit, 0)
            used[clip.digit] = turn + 1
            pairs.append((clip, choice[turn % len(choice)]))
    return pairs
