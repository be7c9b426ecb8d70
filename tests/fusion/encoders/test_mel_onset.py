import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusion.encoders.mel_onset import Encoded, MelOnset
from fusion.errors import InvalidInput
from fusion.events import bin_events

RATE_HZ = 8000
ENCODER = MelOnset()

Array = NDArray[np.float64]


def word(seed: int, seconds: float = 0.4) -> Array:
    """Return a chirping, noisy sound that swells and fades, with a faint room around it."""
    draw = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = draw.uniform(90, 200)
    formant = np.sin(2 * np.pi * (draw.uniform(300, 900) * t + draw.uniform(-400, 400) * t**2))
    voice = np.sin(np.pi * t / seconds) ** 2 * (np.sin(2 * np.pi * pitch * t) + formant)
    room = 1e-4 * draw.normal(size=t.size)
    return np.asarray(8000 * (voice + room))


def raster(encoded: Encoded) -> NDArray[np.float32]:
    counts, outside = bin_events(encoded.stream, ENCODER.hop_s, ENCODER.steps)
    assert outside == 0
    return counts


def same(one: Encoded, other: Encoded) -> bool:
    return bool(np.array_equal(raster(one), raster(other)))


@given(st.integers(0, 1000), st.floats(-200, 200))
def test_a_power_of_two_of_gain_changes_nothing(seed: int, exponent: float) -> None:
    sound = word(seed)
    louder = np.ldexp(sound, int(exponent))
    assert same(ENCODER.encode(louder, RATE_HZ), ENCODER.encode(sound, RATE_HZ))


@given(st.integers(0, 1000), st.sampled_from([1 / 32768, 0.1, 3.0, 1e-9]))
def test_any_gain_changes_next_to_nothing(seed: int, gain: float) -> None:
    sound = word(seed)
    moved = raster(ENCODER.encode(sound * gain, RATE_HZ)) != raster(ENCODER.encode(sound, RATE_HZ))
    assert moved.mean() < 1e-3  # a count at the edge of rounding may go either way


@given(st.integers(0, 1000), st.integers(1, 4000))
def test_digital_silence_before_the_word_only_shifts_it(seed: int, silence: int) -> None:
    sound = word(seed)
    plain = ENCODER.encode(sound, RATE_HZ)
    late = ENCODER.encode(np.concatenate((np.zeros(silence), sound)), RATE_HZ)
    assert same(plain, late)
    assert plain.onset_us is not None
    assert late.onset_us is not None
    assert late.onset_us - plain.onset_us == pytest.approx(silence * 125, abs=1)


@given(st.integers(0, 1000))
def test_a_faint_room_before_the_word_only_shifts_the_onset(seed: int) -> None:
    sound = word(seed)
    room = 0.8 * np.random.default_rng(seed + 1).normal(size=2400)
    plain = ENCODER.encode(sound, RATE_HZ).onset_us
    late = ENCODER.encode(np.concatenate((room, sound)), RATE_HZ).onset_us
    assert plain is not None
    assert late is not None
    assert late - plain == pytest.approx(300_000, abs=30_000)


@given(st.integers(0, 1000), st.integers(1, 6000))
def test_what_follows_the_buffer_changes_nothing(seed: int, more: int) -> None:
    sound = np.concatenate((word(seed), 0.8 * np.random.default_rng(seed).normal(size=8000)))
    later = 1e5 * np.random.default_rng(seed + 1).normal(size=more)
    plain = ENCODER.encode(sound, RATE_HZ)
    assert same(plain, ENCODER.encode(np.concatenate((sound, later)), RATE_HZ))


@given(st.integers(0, 1000), st.integers(0, 200))
def test_what_follows_changes_no_event_older_than_the_look_ahead(seed: int, hops: int) -> None:
    sound = np.concatenate((0.8 * np.random.default_rng(seed).normal(size=4000), word(seed)))
    later = 300.0 * np.random.default_rng(seed + 1).normal(size=80 * hops)
    plain = ENCODER.encode(sound, RATE_HZ)
    longer = ENCODER.encode(np.concatenate((sound, later)), RATE_HZ)
    if plain.onset_us != longer.onset_us:  # the onset had not settled yet
        return
    assert plain.onset_us is not None
    end_us = sound.size * 125 - plain.onset_us + round(ENCODER.pre_roll_s * 1e6)
    known = max(0, int(end_us // 10_000) - round(ENCODER.look_ahead_s / ENCODER.hop_s) - 1)
    np.testing.assert_array_equal(raster(plain)[:known], raster(longer)[:known])


def test_a_click_before_the_word_is_not_taken_for_it() -> None:
    sound = word(3)
    lead = 0.8 * np.random.default_rng(0).normal(size=3200)
    clicked = lead.copy()
    clicked[1600:1608] += 300.0
    plain = ENCODER.encode(np.concatenate((lead, sound)), RATE_HZ).onset_us
    found = ENCODER.encode(np.concatenate((clicked, sound)), RATE_HZ).onset_us
    assert found == plain


@pytest.mark.parametrize("samples", [0, 1, 8000])
def test_silence_gives_no_events_and_no_onset(samples: int) -> None:
    encoded = ENCODER.encode(np.zeros(samples), RATE_HZ)
    assert len(encoded.stream) == 0
    assert encoded.stream.size == ENCODER.size == 64
    assert encoded.onset_us is None


@pytest.mark.parametrize("samples", [1, 2, 79, 255, 256, 257, 600])
def test_a_very_short_sound_is_encoded(samples: int) -> None:
    encoded = ENCODER.encode(np.ones(samples), RATE_HZ)
    assert encoded.onset_us is not None
    assert len(encoded.stream) > 0


@pytest.mark.parametrize("peak", [5e-324, 1e-300, 1e300])
def test_extreme_gains_stay_within_floating_point(peak: float) -> None:
    sound = np.zeros(2000)
    sound[::7] = peak
    counts = raster(ENCODER.encode(sound, RATE_HZ))
    assert np.isfinite(counts).all()
    assert counts.sum() > 0


def test_counts_keep_their_bounds() -> None:
    counts = raster(ENCODER.encode(word(1), RATE_HZ))
    bands = ENCODER.bands
    assert counts[:, :bands].max() == ENCODER.level_counts
    assert counts[:, bands:].max() <= ENCODER.most_counts


def test_a_rising_tone_climbs_through_the_bands() -> None:
    t = np.arange(4000) / RATE_HZ
    tone = 1000.0 * np.sin(2 * np.pi * (300 * t + 2700 * t**2))
    levels = raster(ENCODER.encode(tone, RATE_HZ))[:, : ENCODER.bands]
    sounding = levels[levels.max(axis=1) > 0]
    strongest = sounding.argmax(axis=1)
    assert strongest[-1] - strongest[0] >= ENCODER.bands // 2
    assert np.mean(np.diff(strongest) >= 0) > 0.95


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_higher_rates_are_resampled(rate_hz: int) -> None:
    t = np.arange(round(0.5 * rate_hz)) / rate_hz
    low = np.arange(4000) / RATE_HZ
    tones = [np.sin(np.pi * x / 0.5) * np.sin(2 * np.pi * 700 * x) for x in (t, low)]
    fine = raster(ENCODER.encode(tones[0], rate_hz))[:, : ENCODER.bands]
    coarse = raster(ENCODER.encode(tones[1], RATE_HZ))[:, : ENCODER.bands]
    near = slice(4, 8)  # bands around the tone
    assert np.abs(fine[:, near] - coarse[:, near]).mean() < 0.25


@pytest.mark.parametrize("rate_hz", [0, -8000, 4000, 7999, 1_000_000])
def test_a_rate_it_cannot_use_is_refused(rate_hz: int) -> None:
    with pytest.raises(InvalidInput, match=str(rate_hz)):
        ENCODER.encode(np.ones(100), rate_hz)


def test_samples_in_two_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one row"):
        ENCODER.encode(np.ones((2, 100)), RATE_HZ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bands", 0),
        ("high_hz", 4001.0),
        ("hop_s", 0.0),
        ("frame_s", 0.001),
        ("pre_roll_s", 0.7),
        ("range_nats", float("nan")),
        ("level_counts", 0),
        ("jump_nats", -1.0),
        ("memory_s", 0.0),
        ("trigger_high_hz", 100.0),
    ],
)
def test_a_parameter_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: "):
        MelOnset(**{name: value})  # type: ignore[arg-type]
