"""The shipped model in Loihi's integers, on recordings that ship."""

from pathlib import Path

import pytest
from av_digits.data import load_sights
from av_digits.loihi import compare_on_loihi, held_out_pairs

EXAMPLE = Path(__file__).parents[2] / "examples" / "av_digits"


def test_every_clip_is_heard_with_two_sights_where_there_are_two(sights: Path) -> None:
    pairs = held_out_pairs(EXAMPLE / "samples", sights)
    assert len(pairs) == 20
    assert all(clip.digit == sight.digit for clip, sight in pairs)
    with pytest.raises(ValueError, match="no wav files"):
        held_out_pairs(sights, sights)
    assert len(load_sights(sights, range(701, 801))) == 10


@pytest.mark.full
def test_integers_decide_as_floats_do(sights: Path) -> None:
    found = compare_on_loihi(
        EXAMPLE, EXAMPLE / "samples", sights, "loihi-emulator", 0, lambda _: None
    )
    clean, noisy = (found.scores[level] for level in (0, 2))
    assert clean["numpy"].n == 20
    assert clean["loihi-emulator"].fused == clean["numpy"].fused == 1.0
    assert abs(noisy["loihi-emulator"].fused - noisy["numpy"].fused) <= 0.1
    assert found.predicted > 0.92
    assert abs(found.predicted - found.measured) < 0.02
