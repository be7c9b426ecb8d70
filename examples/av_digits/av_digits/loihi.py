"""The shipped model in floats and in Loihi's integers, on recordings that neither met."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from av_digits.data import (
    HELD_OUT_TAKES,
    VALIDATION_IDS,
    Clip,
    Sight,
    load_clips,
    load_sights,
    pair_by_label,
)
from av_digits.scoring import Score, disturbed, score_pairs
from backends.contracts import contract_on
from backends.fuse import encode
from backends.quantisation import QuantisedModel, quantise_model
from backends.registry import Registry
from fusion.encoding import Recording
from fusion.model import FusionModel, load_model
from fusion.samples import list_samples, read_sample

LEVELS = (0, 2)
SIGHTS_PER_CLIP = 2
AGREEMENT_PAIRS = 100

Pair = tuple[Clip, Sight]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Scores by noise level and target, and the agreement of spikes.

    Attributes:
        scores: noise level → target → score.
        predicted: agreement with floats on the calibration samples.
        measured: the same on held-out recordings.
        calibration: number of calibration samples.
        held_out: number of held-out recordings.
    """

    scores: Mapping[int, Mapping[str, Score]]
    predicted: float
    measured: float
    calibration: int
    held_out: int


def compare_on_loihi(
    folder: Path, fsdd: Path, nmnist: Path, target: str, seed: int, report: Callable[[str], None]
) -> Comparison:
    """Return how a model does in floats and on a target of integers.

    Args:
        folder: the model, with shipped samples.
        fsdd: folder of `{digit}_{speaker}_{take}.wav`.
        nmnist: folder of `{number}.bs2` and `labels.txt`.
        target: where the integers run.
        seed: of the noise.
        report: called with lines of progress.

    Raises:
        ValueError: if a folder holds nothing to score, or a recording or the model is wrong.
    """
    registry = Registry()
    model = load_model(folder)
    pairs = held_out_pairs(fsdd, nmnist)
    report(f"{len(pairs)} pairs; quantising")
    some = pairs[:: max(1, len(pairs) // AGREEMENT_PAIRS)]
    made = quantised(model, folder, registry, target, some)
    digits = [clip.digit for clip, _ in pairs]
    scores: dict[int, dict[str, Score]] = {}
    for level in LEVELS:
        for name, one in (("numpy", model), (target, made.model)):
            report(f"noise level {level} on {name}")
            recordings = [
                disturbed(clip, sight, level, seed * len(pairs) + number)
                for number, (clip, sight) in enumerate(pairs)
            ]
            score = score_pairs(one, registry, name, recordings, digits)
            scores.setdefault(level, {})[name] = score
    loss = made.file.loss
    assert loss.measured is not None
    return Comparison(
        scores, loss.predicted, loss.measured, made.file.calibration, made.file.held_out
    )


def held_out_pairs(fsdd: Path, nmnist: Path) -> list[Pair]:
    """Return every held-out clip with some of the held-out sights of its digit.

    Raises:
        ValueError: if there are none.
    """
    clips = [clip for clip in load_clips(fsdd) if clip.take in HELD_OUT_TAKES]
    sights = load_sights(nmnist, VALIDATION_IDS)
    pairs: list[Pair] = []
    for turn in range(SIGHTS_PER_CLIP):
        # Another order of the sights pairs every clip with another one.
        shifted = [*sights[turn * len(sights) // SIGHTS_PER_CLIP :], *sights]
        pairs += pair_by_label(clips, shifted[: len(sights)])
    if not pairs:
        raise ValueError("no held-out clip shares its digit with a camera recording")
    return pairs


def quantised(
    model: FusionModel, folder: Path, registry: Registry, target: str, others: Sequence[Pair]
) -> QuantisedModel:
    """Return the model in integers, calibrated on its samples and measured on other pairs."""
    chosen, own = registry.target(target), model.contract()
    contract = contract_on(chosen, own)

    def encoded(recordings: Mapping[str, Recording]) -> Mapping[str, object]:
        return encode(model, recordings, contract).rasters()

    shipped = [
        encoded({sensor: read_sample(folder, model, one.name, sensor) for sensor in one.files})
        for one in list_samples(folder)
    ]
    clean = [encoded(disturbed(clip, sight, 0, 0)) for clip, sight in others]
    return quantise_model(model, own, chosen, shipped, clean)
