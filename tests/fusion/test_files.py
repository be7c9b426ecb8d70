import numpy as np
import pytest
import yaml
from scipy.io import wavfile
from support.models import small_graph, small_manifest, write_model

from fusion.encoding import Samples
from fusion.errors import InvalidInput, InvalidModel
from fusion.events import EventStream
from fusion.files import read_recording
from fusion.model import load_model
from fusion.samples import list_samples, read_sample


@pytest.fixture
def model(tmp_path):
    manifest = small_manifest()
    manifest["sensors"]["skin"] = {
        "node": "skin", "unit": "samples", "rate_hz": 8000,
        "encoder": {"kind": "mel_onset", "bands": 1},
    }  # fmt: skip
    return load_model(write_model(tmp_path / "model", small_graph(skin=4), manifest))


def test_files_are_read_by_their_ending(model, tmp_path):
    np.savez(tmp_path / "a.npz", times_us=np.array([1, 2]), channels=np.array([0, 3]))
    events = read_recording(tmp_path / "a.npz", model.encoders["cam"])
    assert isinstance(events, EventStream)
    assert (events.t_us.tolist(), events.channel.tolist()) == ([1, 2], [0, 3])
    np.save(tmp_path / "a.npy", np.array([0.5, -1]))
    samples = read_recording(tmp_path / "a.npy", model.encoders["skin"])
    assert isinstance(samples, Samples)
    assert (samples.values.tolist(), samples.rate_hz) == ([0.5, -1], 8000)
    wavfile.write(tmp_path / "a.wav", 16000, np.array([1, -2], np.int16))
    heard = read_recording(tmp_path / "a.wav", model.encoders["skin"])
    assert isinstance(heard, Samples)
    assert (heard.values.tolist(), heard.rate_hz) == ([1, -2], 16000)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.mp3", b"", "unknown ending"),
        ("a.npy", b"junk", "not a NumPy file"),
        ("a.npz", b"junk", "not a NumPy file"),
        ("a.wav", b"junk", "wav"),
        ("a.bs2", b"123", "cut short"),
        ("none.wav", None, "cannot be read: No such file"),
    ],
)
def test_unreadable_files_are_named(model, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=says) as caught:
        read_recording(tmp_path / name, model.encoders["skin"])
    assert name in str(caught.value)


def test_pickles_are_never_opened(model, tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="not a NumPy file"):
        read_recording(tmp_path / "a.npy", model.encoders["skin"])


@pytest.fixture
def shipped(model, tmp_path):
    folder = tmp_path / "model"
    (folder / "samples").mkdir()
    np.savez(folder / "samples" / "a.npz", times_us=np.array([1]), channels=np.array([2]))
    index = {
        "attribution": "made up",
        "samples": [{"name": "first", "label": "left", "files": {"cam": "a.npz"}}],
    }
    (folder / "samples" / "index.yaml").write_text(yaml.safe_dump(index))
    return folder


def test_samples_are_listed_and_read_by_name(model, shipped):
    assert [sample.name for sample in list_samples(shipped)] == ["first"]
    events = read_sample(shipped, model, "first", "cam")
    assert isinstance(events, EventStream)
    assert events.channel.tolist() == [2]


def test_a_changed_index_is_read_anew(shipped):
    assert [sample.name for sample in list_samples(shipped)] == ["first"]
    index = shipped / "samples" / "index.yaml"
    index.write_text(index.read_text().replace("first", "renamed"))
    assert [sample.name for sample in list_samples(shipped)] == ["renamed"]


def test_unknown_samples_are_named(model, shipped):
    for name, sensor in (("second", "cam"), ("first", "skin"), ("first", "nose")):
        with pytest.raises(InvalidInput) as caught:
            read_sample(shipped, model, name, sensor)
        assert caught.value.field == f"sensors.{sensor}.sample"


def test_a_model_without_samples_has_none(tmp_path):
    assert list_samples(tmp_path) == ()


def test_a_wrong_index_is_named(shipped):
    (shipped / "samples" / "index.yaml").write_text("samples: []")
    with pytest.raises(InvalidModel, match="attribution"):
        list_samples(shipped)
