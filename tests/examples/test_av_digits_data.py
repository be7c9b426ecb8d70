from pathlib import Path

import numpy as np
import pytest
from av_digits.calibration import accuracy, fit_temperature, log_beliefs
from av_digits.data import Clip, Sight, load_clips, load_sights, pair_by_label
from av_digits.noise import LEVELS, noisy_events, noisy_samples
from hypothesis import given
from hypothesis import strategies as st

from fusion.encoding import Samples
from fusion.events import EventStream

SAMPLES = Path(__file__).parents[2] / "examples" / "av_digits" / "samples"


def clip(digit: int, take: int) -> Clip:
    return Clip(digit, "someone", take, Samples(np.zeros(1), 8000))


def sight(digit: int, number: int) -> Sight:
    return Sight(digit, number, EventStream.empty(2312))


def events(number: int) -> EventStream:
    draw = np.random.default_rng(number)
    t_us = np.sort(draw.integers(0, 300_000, number))
    return EventStream(t_us, draw.integers(0, 2312, number).astype(np.int32), None, 2312)


def test_clips_take_the_sights_of_their_digit_in_turn() -> None:
    clips = [clip(3, 0), clip(3, 1), clip(5, 0), clip(3, 2), clip(9, 0)]
    sights = [sight(3, 10), sight(5, 11), sight(3, 12)]
    pairs = pair_by_label(clips, sights)
    assert [(one.digit, one.take, other.number) for one, other in pairs] == [
        (3, 0, 10),
        (3, 1, 12),
        (5, 0, 11),
        (3, 2, 10),
    ]


def test_names_say_digit_speaker_and_take() -> None:
    clips = load_clips(SAMPLES)
    assert [one.digit for one in clips] == list(range(10))
    assert {one.take for one in clips} <= set(range(5))
    assert (clips[7].speaker, clips[7].take) == ("nicolas", 2)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no wav files"):
        load_clips(tmp_path)


def test_a_clip_named_otherwise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seven.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"seven\.wav: expected a name like"):
        load_clips(tmp_path)


def test_numbers_a_folder_does_not_hold_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "2.bs2").write_bytes(b"")
    (tmp_path / "4.bin").write_bytes(b"")
    (tmp_path / "labels.txt").write_text("#sample #class\n1\t7\n2\t8\n4\t9\n")
    found = load_sights(tmp_path, range(1, 5))
    assert [(one.number, one.digit) for one in found] == [(2, 8), (4, 9)]
    with pytest.raises(ValueError, match="from 1 to 1"):
        load_sights(tmp_path, range(1, 2))


@given(st.floats(-20, 30), st.integers(0, 99))
def test_noise_has_the_ratio_asked_for(snr_db: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    samples = 1000 * np.sin(np.arange(20_000) / 3)
    noise = noisy_samples(samples, snr_db, draw) - samples
    found = 10 * np.log10(np.mean(samples**2) / np.mean(noise**2))
    assert found == pytest.approx(snr_db, abs=0.2)


def test_a_clean_level_changes_nothing() -> None:
    draw = np.random.default_rng(0)
    stream, samples = events(100), np.arange(5.0)
    assert noisy_events(stream, LEVELS[0].kept, LEVELS[0].added, draw) is stream
    assert noisy_samples(samples, LEVELS[0].snr_db, draw) is samples


@pytest.mark.parametrize("level", [1, 2, 3])
def test_added_events_are_a_share_of_those_that_stayed(level: int) -> None:
    noise = LEVELS[level]
    expected = 20_000 * noise.kept * (1 + noise.added)
    stream = noisy_events(events(20_000), noise.kept, noise.added, np.random.default_rng(level))
    assert len(stream) == pytest.approx(expected, rel=0.1)
    assert (np.diff(stream.t_us) >= 0).all()


def test_the_temperature_of_overconfident_logits_is_found() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (20_000, 10))
    p = np.exp(log_beliefs(logits, 1.0))
    digits = (p.cumsum(axis=1) < draw.random(len(p))[:, None]).sum(axis=1)
    assert fit_temperature(3 * logits, digits) == pytest.approx(3.0, rel=0.05)
    assert accuracy(logits, digits) == pytest.approx(float(p.max(axis=1).mean()), abs=0.02)
