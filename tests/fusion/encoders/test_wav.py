from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from fusion.encoders.wav import read_wav
from fusion.errors import InvalidInput


def test_integers_keep_their_range(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 8000, np.array([0, -32768, 32767], np.int16))
    samples, rate_hz = read_wav(path)
    assert samples.tolist() == [0.0, -32768.0, 32767.0]
    assert samples.dtype == np.float64
    assert rate_hz == 8000


def test_silence_in_an_eight_bit_file_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 8000, np.array([128, 0, 255], np.uint8))
    assert read_wav(path)[0].tolist() == [0.0, -128.0, 127.0]


def test_two_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    wavfile.write(path, 8000, np.zeros((9, 2), np.int16))
    with pytest.raises(InvalidInput, match=r"stereo\.wav: has 2 channels"):
        read_wav(path)


def test_a_sample_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    wavfile.write(path, 8000, np.array([0, np.nan], np.float32))
    with pytest.raises(InvalidInput, match=r"nan\.wav: sample 1 is nan"):
        read_wav(path)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"not a wav file at all, no", b"RIFF\0\0\0\0WAVE"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.wav"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"b\.wav: is not a readable wav"):
        read_wav(path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.wav"
    wavfile.write(path, 8000, np.arange(100, dtype=np.int16))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InvalidInput, match=r"c\.wav: is not a readable wav"):
        read_wav(path)


def test_a_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")
