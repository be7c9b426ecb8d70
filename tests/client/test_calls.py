import json

import numpy as np
import pytest

from snn_fusion.client import Events, Sample, Samples
from snn_fusion.client.calls import check, compare, fuse


def header_of(call):
    length = int(call.headers["Inference-Header-Content-Length"])
    return json.loads(call.content[:length]), call.content[length:]


def test_recordings_travel_as_raw_tensors():
    times = np.array([1, 5, 9])
    call = fuse(
        {
            "cam": Events(times, [0, 2, 1], [1, 0.5, 2]),
            "mic": Samples(np.array([1, -2], np.int16), 8000),
            "skin": Sample("one"),
        },
        {"target": "numpy", "model": None, "record": ("a", "b"), "contract": {"reset": "none"}},
    )
    header, tail = header_of(call)
    assert header["sensors"] == {"skin": {"sample": "one"}}
    assert header["record"] == ["a", "b"]
    assert header["contract"] == {"reset": "none"}
    assert header["target"] == "numpy"
    assert "model" not in header
    assert [(one["name"], one["datatype"]) for one in header["inputs"]] == [
        ("cam.times_us", "INT64"),
        ("cam.channels", "INT32"),
        ("cam.values", "FP32"),
        ("mic.samples", "INT16"),
    ]
    assert header["inputs"][3]["parameters"] == {"binary_data_size": 4, "rate_hz": 8000}
    wanted = [times.astype("<i8"), np.array([0, 2, 1], "<i4"), np.array([1, 0.5, 2], "<f4")]
    assert tail == b"".join(one.tobytes() for one in [*wanted, np.array([1, -2], "<i2")])
    assert call.headers["Content-Type"] == "application/octet-stream"


def test_big_endian_and_strided_arrays_arrive_as_their_numbers():
    samples = np.arange(6, dtype=">f4")[::2]
    _, tail = header_of(fuse({"mic": Samples(samples, 10)}, {}))
    assert np.frombuffer(tail, "<f4").tolist() == [0, 2, 4]


@pytest.mark.parametrize("kind", ["f2", "f8", "u1", "i4", "i8"])
def test_samples_of_other_types_travel_as_float64(kind):
    header, tail = header_of(fuse({"mic": Samples(np.arange(3, dtype=kind), 10)}, {}))
    assert header["inputs"][0]["datatype"] == "FP64"
    assert np.frombuffer(tail, "<f8").tolist() == [0, 1, 2]


def test_samples_that_ship_need_no_tensors():
    call = fuse({"mic": Sample("one")}, {})
    assert json.loads(call.content) == {"sensors": {"mic": {"sample": "one"}}}
    assert call.headers == {"Content-Type": "application/json"}


def test_an_empty_recording_is_sent():
    _, tail = header_of(fuse({"cam": Events([], [])}, {}))
    assert tail == b""


@pytest.mark.parametrize(
    ("recording", "says"),
    [
        (Events([0.5], [0]), r"cam\.times_us: must hold whole numbers, got float64"),
        (Events([[1]], [0]), r"cam\.times_us: must be a flat array of numbers, got int64 \[1, 1\]"),
        (Events(["a"], [0]), r"cam\.times_us: must be a flat array"),
        (Events([1], [2**31]), r"cam\.channels: 2147483648 to 2147483648 does not fit int32"),
        (Events([1], [1], ["x"]), r"cam\.values: must be a flat array"),
        (Samples([[1.0]], 10), r"cam\.values: must be a flat array"),
    ],
)
def test_arrays_that_cannot_be_sent_are_named(recording, says):
    with pytest.raises(ValueError, match=says):
        fuse({"cam": recording}, {})


def test_numbers_of_numpy_are_choices_too():
    call = check({"dt_s": np.float64(0.5), "targets": ("a",), "contract": {"x": np.int64(3)}})
    assert json.loads(call.content) == {"dt_s": 0.5, "targets": ["a"], "contract": {"x": 3}}
    with pytest.raises(TypeError, match="cannot be told in JSON"):
        check({"contract": {"x": {1}}})
    with pytest.raises(ValueError, match="JSON"):
        check({"dt_s": float("nan")})


def test_a_comparison_names_its_targets():
    call = compare({"mic": Sample("one")}, ("a", "b"), {"tolerance": 0.5})
    assert json.loads(call.content)["targets"] == ["a", "b"]
    assert call.path == "/v1/compare"
