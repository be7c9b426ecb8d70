"""A finished model scored on recordings, through the service's own pipeline; no PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from av_digits.data import Clip, Sight, load_clips, load_sights, pair_by_label
from av_digits.noise import LEVELS, noisy_events, noisy_samples
from backends.contracts import contract_on
from backends.fuse import FusedAnswer, fuse
from backends.registry import Registry
from fusion.encoding import Recording, Samples
from fusion.model import FusionModel, load_model

BATCH = 128


@dataclass(frozen=True, slots=True)
class Score:
    """Fractions of right answers over `n` pairs, and the mean quality score `q`."""

    audio: float
    vision: float
    fused: float
    q: float
    n: int


def score_model(
    model_folder: Path,
    fsdd: Path,
    nmnist: Path,
    numbers: Sequence[int],
    level: int = 0,
    target: str = "numpy",
) -> Score:
    """Score a model on every clip of a folder, paired by label with camera recordings.

    Args:
        model_folder: holds `graph.nir` and `fusion.yaml`.
        fsdd: folder of `{digit}_{speaker}_{take}.wav`.
        nmnist: folder of `{number}.bs2` and `labels.txt`.
        numbers: camera recordings to use.
        level: noise level, 0 to 3. The noise of the k-th pair is drawn from seed (level, k).
        target: where to run.

    Raises:
        ValueError: if a folder holds nothing to score, or a recording or the model is wrong.
    """
    model = load_model(model_folder)
    pairs = pair_by_label(load_clips(fsdd), load_sights(nmnist, numbers))
    if not pairs:
        raise ValueError("no clip shares its digit with a camera recording")
    recordings = [
        disturbed(clip, sight, level, number) for number, (clip, sight) in enumerate(pairs)
    ]
    digits = [clip.digit for clip, _ in pairs]
    return score_pairs(model, Registry(), target, recordings, digits)


def score_pairs(
    model: FusionModel,
    registry: Registry,
    target: str,
    recordings: Sequence[Mapping[str, Recording]],
    digits: Sequence[int],
) -> Score:
    """Score a model on recordings of known digits.

    Args:
        model: the model.
        registry: the targets.
        target: where to run, under the contract that the model has there.
        recordings: sensor → recording, for every pair.
        digits: right answers.
    """
    contract = contract_on(registry.target(target), model.contract())
    program = registry.backend(target).compile(model, contract)
    answers: list[FusedAnswer] = []
    try:
        for first in range(0, len(recordings), BATCH):
            answers.extend(fuse(model, program, contract, recordings[first : first + BATCH]))
    finally:
        program.close()
    return _score(answers, digits)


def disturbed(clip: Clip, sight: Sight, level: int, number: int) -> dict[str, Recording]:
    """Return the pair's recordings at a noise level, ready for the pipeline."""
    draw = np.random.default_rng((level, number))
    noise = LEVELS[level]
    values = noisy_samples(clip.samples.values, noise.snr_db, draw)
    return {
        "audio": Samples(values, clip.samples.rate_hz),
        "vision": noisy_events(sight.events, noise.kept, noise.added, draw),
    }


def _score(answers: Sequence[FusedAnswer], digits: Sequence[int]) -> Score:
    windows = [answer.windows[0] for answer in answers]
    right = {"audio": 0, "vision": 0, "fused": 0}
    for window, digit in zip(windows, digits, strict=True):
        right["fused"] += window.decision.best == digit
        for sensor, posterior in window.decision.by_sensor.items():
            right[sensor] += int(posterior.argmax()) == digit
    fractions = {name: hits / len(digits) for name, hits in right.items()}
    return Score(
        **fractions, q=float(np.mean([window.quality.score for window in windows])), n=len(digits)
    )
