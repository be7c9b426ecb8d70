from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.registry import Registry
from fusion.contract import make_contract
from fusion.encoders.mel_onset import MelOnset
from fusion.model import bare_model

torch = pytest.importorskip("torch", reason="training needs the optional extra `train`")

from av_digits.augment import VoiceRange, other_hand, other_voice  # noqa: E402
from av_digits.export import export  # noqa: E402
from av_digits.networks import (  # noqa: E402
    AudioNetwork,
    AudioShape,
    VisionNetwork,
    VisionShape,
)
from av_digits.training import logits  # noqa: E402

from fusion.events import EventStream  # noqa: E402


def liven(network: Any, counts: NDArray[np.uint8]) -> None:
    """Shift and fill the batch norms of an untrained network until its neurons spike."""
    for name, parameter in network.named_parameters():
        if name.endswith("norm.bias"):
            torch.nn.init.constant_(parameter, 0.6)
    with torch.no_grad():
        for _ in range(30):
            network.train()(torch.as_tensor(counts).float())


def test_the_exported_graph_computes_the_trained_logits() -> None:
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    audio = [AudioNetwork(AudioShape(lines=8, hidden=(12, 10))) for _ in range(2)]
    vision = [VisionNetwork(VisionShape(channels=(3, 4), hidden=9)) for _ in range(2)]
    heard = draw.poisson(2.0, (16, 70, 8)).astype(np.uint8)
    seen = draw.poisson(2.0, (16, 32, 2, 17, 17)).astype(np.uint8)
    for network, counts in [*((one, heard) for one in audio), *((one, seen) for one in vision)]:
        liven(network, counts)
    contract = make_contract("nir", 0.01, {"arithmetic": "float32"})
    program = Registry().backend("numpy").compile(bare_model(export(audio, vision)), contract)
    padded = np.zeros((16, 70, 2, 17, 17), np.float32)
    padded[:, :32] = seen
    result = program.run({"audio": heard.astype(np.float32), "vision": padded})
    for output, networks, counts, step in (
        ("audio_out", audio, heard, 69),
        ("vision_out", vision, seen, 31),
    ):
        wanted = np.mean([logits(one, counts) for one in networks], axis=0)
        assert np.ptp(wanted, axis=0).max() > 1e-3  # the samples are told apart
        np.testing.assert_allclose(result.outputs[output][:, step], wanted, atol=1e-4)


def test_other_voices_differ_but_stay_within_the_counts() -> None:
    encoder = MelOnset()
    sound = 1000 * np.sin(np.arange(4000) ** 1.1 / 9) * np.hanning(4000)
    draw = np.random.default_rng(1)
    copies = [other_voice(sound, encoder, draw, VoiceRange()) for _ in range(4)]
    assert {copy.shape for copy in copies} == {(encoder.steps, encoder.size)}
    assert all(copy.min() >= 0 and copy.max() <= encoder.level_counts for copy in copies)
    assert not np.array_equal(copies[0], copies[1])


def test_other_hands_keep_times_and_polarities() -> None:
    draw = np.random.default_rng(2)
    t_us = np.sort(draw.integers(0, 300_000, 500))
    y, x = draw.integers(12, 22, (2, 500))
    channel = (34 * 34 * draw.integers(0, 2, 500) + 34 * y + x).astype(np.int32)
    moved = other_hand(EventStream(t_us, channel, None, 2312), draw)
    np.testing.assert_array_equal(moved.t_us, t_us)  # a digit amid the sensor loses nothing
    np.testing.assert_array_equal(moved.channel // 1156, channel // 1156)
    assert (moved.channel != channel).mean() > 0.5
