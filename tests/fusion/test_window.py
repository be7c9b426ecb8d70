import numpy as np
import pytest
from support.models import small_graph, small_manifest, write_model

from fusion.encoding import Samples
from fusion.errors import InvalidInput, InvalidModel
from fusion.events import EventStream
from fusion.model import load_model
from fusion.window import decide_window, encode_window, window_steps


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


def cam(times, channels):
    return EventStream.checked(times, channels, size=4)


def test_recordings_land_on_their_input_nodes(model):
    encoding = encode_window(model, {"cam": cam([0, 2500], [1, 3])}, model.contract())
    assert encoding.inputs["cam"].shape == (1, 100, 2, 2)
    assert np.argwhere(encoding.inputs["cam"]).tolist() == [[0, 0, 0, 1], [0, 2, 1, 1]]
    assert encoding.inputs["skin"].shape == (1, 100, 3)
    assert not np.asarray(encoding.inputs["skin"]).any()
    assert set(encoding.reports) == {"cam"}


def test_events_behind_the_window_are_counted_not_lost_silently(model):
    report = encode_window(
        model, {"cam": cam([0, 99_999, 100_000], [0, 0, 0])}, model.contract()
    ).reports["cam"]
    assert (report.events, report.outside) == (2, 1)


@pytest.mark.parametrize(("dt_s", "steps"), [(0.001, 100), (0.003, 34), (0.1, 1), (1e9, 1)])
def test_the_steps_cover_the_window(model, dt_s, steps):
    assert window_steps(model.manifest, dt_s) == steps


def test_wrong_recordings_are_named(model):
    contract = model.contract()
    for recordings, field in (
        ({}, "sensors"),
        ({"nose": cam([], [])}, "sensors.nose"),
        ({"skin": cam([], [])}, "sensors.skin.channels"),
        ({"cam": Samples.checked([1.0], 8000)}, "sensors.cam"),
    ):
        with pytest.raises(InvalidInput) as caught:
            encode_window(model, recordings, contract)
        assert caught.value.field == field


def test_a_bare_graph_cannot_fuse(model, tmp_path):
    bare = load_model(write_model(tmp_path / "m") / "graph.nir")
    with pytest.raises(InvalidModel, match="no sensors"):
        encode_window(bare, {"cam": cam([], [])}, model.contract())


def outputs(cam_logits, skin_logits):
    return {
        "cam_out": np.tile(np.array(cam_logits, float), (100, 1)),
        "skin_out": np.tile(np.array(skin_logits, float), (100, 1)),
    }


def test_heads_divide_by_their_temperature_and_missing_sensors_do_not_vote(model):
    encoding = encode_window(model, {"cam": cam([0], [0])}, model.contract())
    window = decide_window(
        model.manifest, outputs([1, 0, 0], [0, 50, 0]), encoding, model.contract()
    )
    expected = np.exp([2.0, 0, 0]) / np.exp([2.0, 0, 0]).sum()
    np.testing.assert_allclose(window.decision.posterior, expected)
    assert window.label == "left"
    assert window.quality.coverage == pytest.approx(0.9 / 1.5)
    assert (window.start_us, window.end_us) == (0, 100_000)


def test_both_sensors_multiply(model):
    both = {"cam": cam([0], [0]), "skin": EventStream.checked([0], [0], size=3)}
    encoding = encode_window(model, both, model.contract())
    window = decide_window(
        model.manifest, outputs([1, 0, 0], [0, 50, 0]), encoding, model.contract()
    )
    assert window.label == "right"
    assert window.quality.coverage == 1
    assert set(window.decision.by_sensor) == {"cam", "skin"}


def test_a_trigger_that_found_nothing_leaves_its_sensor_out(tmp_path):
    manifest = small_manifest()
    manifest["sensors"]["skin"] = {
        "node": "skin", "unit": "samples", "rate_hz": 8000,
        "encoder": {"kind": "mel_onset", "bands": 1},
    }  # fmt: skip
    model = load_model(write_model(tmp_path / "m", small_graph(skin=4), manifest))
    silent = Samples.checked(np.zeros(8000), 8000)
    encoding = encode_window(model, {"skin": silent}, model.contract())
    assert not encoding.reports["skin"].live
    window = decide_window(
        model.manifest, outputs([1, 0, 0], [0, 50, 0]), encoding, model.contract()
    )
    np.testing.assert_allclose(window.decision.posterior, [1 / 3] * 3)
    assert window.quality.score == pytest.approx(0, abs=1e-12)


def test_an_output_that_is_late_is_read_as_much_later(model):
    late = {"cam_out": 2, "skin_out": 5}
    encoding = encode_window(model, {"cam": cam([0], [0])}, model.contract(), late)
    assert {node: raster.shape[1] for node, raster in encoding.inputs.items()} == {
        "cam": 105,
        "skin": 105,
    }
    seen = np.zeros((105, 3))
    seen[101] = [1, 0, 0]  # step 99 of the window, two steps late
    seen[[99, 100, 102, 104]] = [0, 0, 50]
    window = decide_window(
        model.manifest, {"cam_out": seen, "skin_out": seen}, encoding, model.contract()
    )
    assert window.label == "left"
    assert window.end_us == 100_000
