"""From the two collections to the model that ships; needs PyTorch."""

from pathlib import Path

import numpy as np
import torch

from av_digits.calibration import accuracy
from av_digits.crossval import (
    Row,
    audio_temperature,
    judge_sights,
    listen_to_strangers,
    look_at_strangers,
    rows,
)
from av_digits.data import (
    HELD_OUT_TAKES,
    TRAIN_IDS,
    VALIDATION_IDS,
    load_clips,
    load_sights,
)
from av_digits.export import export
from av_digits.features import voice_copies
from av_digits.package import HeadFit, write_package
from av_digits.training import Progress, train_audio, train_vision
from fusion.encoders.mel_onset import MelOnset

COPIES = 12
MEMBERS = 2
"""Networks per sensor in the model that ships; their logits are averaged."""


def train_model(fsdd: Path, nmnist: Path, out: Path, seed: int, report: Progress) -> None:
    """Train on all speakers and write the model.

    Speakers are left out in turn first, because only strangers tell how far to trust the audio
    head; that costs most of the time.

    Args:
        fsdd: folder of `{digit}_{speaker}_{take}.wav`, of two speakers or more.
        nmnist: folder of `{number}.bs2` and `labels.txt`.
        out: where the model is written.
        seed: of all randomness.
        report: called with lines of progress.
    """
    torch.set_num_threads(1)
    encoder = MelOnset()
    clips = [clip for clip in load_clips(fsdd) if clip.take not in HELD_OUT_TAKES]
    report(f"{len(clips)} clips: making {COPIES} augmented copies of each")
    copies = voice_copies(clips, encoder, COPIES, np.random.default_rng(seed))
    report("audio: leaving out one speaker at a time")
    strangers = listen_to_strangers(clips, copies, encoder, seed, 1, report)
    audio_fit = HeadFit(
        audio_temperature(strangers),
        float(np.mean([accuracy(one.logits[0], one.digits) for one in strangers.values()])),
    )
    digits = np.array([clip.digit for clip in clips])
    seeds = [seed * 100 + member for member in range(MEMBERS)]
    report("audio: all speakers")
    audio = [train_audio(copies, digits, one, report) for one in seeds]
    report("vision")
    train = load_sights(nmnist, TRAIN_IDS)
    vision = [train_vision(train, one, report) for one in seeds]
    judged = judge_sights(vision, load_sights(nmnist, VALIDATION_IDS), seed)
    truth = np.array([sight.digit for sight in judged.sights])
    vision_fit = HeadFit(
        judged.temperature, float(np.mean([accuracy(one, truth) for one in judged.logits[0]]))
    )
    heads = {"audio": audio_fit, "vision": vision_fit}
    training = {"script": "train.py", "seed": seed, "networks_per_sensor": MEMBERS}
    write_package(out, export(audio, vision), encoder, heads, training)


def cross_validate(fsdd: Path, nmnist: Path, seed: int, report: Progress) -> list[Row]:
    """Return the accuracies of one network per sensor on every speaker left out in turn."""
    torch.set_num_threads(1)
    encoder = MelOnset()
    clips = load_clips(fsdd)
    copies = voice_copies(clips, encoder, COPIES, np.random.default_rng(0))
    strangers = listen_to_strangers(clips, copies, encoder, seed, 1, report)
    train, validation = load_sights(nmnist, TRAIN_IDS), load_sights(nmnist, VALIDATION_IDS)
    return rows(strangers, look_at_strangers(train, validation, seed, 1, report), seed)
