"""Binary bodies and tensors that cannot be used."""

import numpy as np
import pytest
from support.api_models import CAM_EVENTS
from support.api_server import refused, tensor


def framed(length, content=b"{}"):
    return {
        "content": content,
        "content_type": "application/octet-stream",
        "inference_header_content_length": length,
    }


@pytest.mark.parametrize("length", ["3", "-1", "1.5", "x", "9" * 30, ""])
def test_a_header_length_that_cannot_be_is_malformed(server, length):
    refused(server.send(**framed(length)), 400, "Inference-Header-Content-Length")


def cam_tensors():
    times = tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8")
    return times, tensor("cam.channels", CAM_EVENTS["channels"], "<i4")


def changed(**changes):
    (times, raw_times), (channels, raw_channels) = cam_tensors()
    return {"inputs": [{**times, **changes}, channels]}, raw_times + raw_channels


FRAMING = {
    "trailing bytes": (changed()[0], changed()[1] + b"xyz", "3 bytes are left"),
    "short tail": (changed()[0], changed()[1][:-5], "only 23 are left"),
    "shape and size differ": (*changed(shape=[6]), "takes 48 bytes"),
    "negative size": (*changed(parameters={"binary_data_size": -8}), "binary_data_size"),
    "size as text": (*changed(parameters={"binary_data_size": "56"}), "binary_data_size"),
    "size as truth": (*changed(parameters={"binary_data_size": True}), "binary_data_size"),
    "neither data nor size": (*changed(parameters={}), "neither data nor"),
    "both": (*changed(data=[0] * 7), "both data and"),
}


@pytest.mark.parametrize(("header", "tail", "says"), FRAMING.values(), ids=FRAMING.keys())
def test_tensors_that_do_not_add_up_are_malformed(server, header, tail, says):
    refused(server.send_binary(header, tail), 400, says)


TENSORS = {
    "wrong datatype": (
        [tensor("cam.times_us", [0.0], "<f8"), tensor("cam.channels", [0], "<i4")],
        "inputs[0].datatype",
        "INT64",
    ),
    "no part": ([tensor("cam.speed", [0.0], "<f8")], "inputs[0].name", "SENSOR.times_us"),
    "no sensor": ([tensor("times_us", [0], "<i8")], "inputs[0].name", "SENSOR.times_us"),
    "unknown sensor": ([tensor("nose.times_us", [0], "<i8")], "sensors.nose", "cam, mic"),
    "no channels": ([tensor("cam.times_us", [0], "<i8")], "sensors.cam.events.channels", "missing"),
    "twice": ([tensor("cam.times_us", [0], "<i8")] * 2, "inputs[1].name", "twice"),
    "NaN": (
        [
            tensor("cam.times_us", [0], "<i8"),
            tensor("cam.channels", [0], "<i4"),
            tensor("cam.values", [np.nan], "<f4"),
        ],
        "sensors.cam.events.values[0]",
        "nan",
    ),
    "infinite samples": (
        [tensor("mic.samples", [0, np.inf], "<f4", rate_hz=8000)],
        "sensors.mic.samples.values[1]",
        "inf",
    ),
    "no rate": ([tensor("mic.samples", [0.0], "<f4")], "inputs[0].parameters.rate_hz", "number"),
    "unknown parameter": (
        [tensor("mic.samples", [0.0], "<f4", rate_hz=8000, gain=2)],
        "inputs[0].parameters.gain",
        "rate_hz",
    ),
    "samples of an event sensor": (
        [tensor("cam.samples", [0.0], "<f4", rate_hz=8000)],
        "sensors.cam",
        "takes events",
    ),
    "both units": (
        [tensor("mic.samples", [0.0], "<f4", rate_hz=8000), tensor("mic.times_us", [0], "<i8")],
        "sensors.mic",
        "samples and times_us",
    ),
    "unsorted": (
        [tensor("cam.times_us", [5, 4], "<i8"), tensor("cam.channels", [0, 0], "<i4")],
        "sensors.cam.events.times_us[1]",
        "decrease",
    ),
}


@pytest.mark.parametrize(("parts", "field", "says"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_cannot_be_used_are_named(server, parts, field, says):
    header = {"inputs": [entry for entry, _ in parts]}
    reply = server.send_binary(header, b"".join(raw for _, raw in parts))
    assert refused(reply, 422, field, says)["field"] == field


DATA = {
    "unknown datatype": ({"datatype": "INT65"}, "inputs[0].datatype", "INT65"),
    "bytes": ({"datatype": "BYTES"}, "inputs[0].datatype", "unknown"),
    "text": ({"data": ["0"]}, "inputs[0].data[0]", "got str"),
    "ragged": ({"data": [[0], 0]}, "inputs[0].data", "rectangular"),
    "too many": ({"data": [0, 0]}, "inputs[0].data", "2 values"),
    "float": ({"data": [0.5]}, "inputs[0].data", "must hold INT64"),
    "beyond": ({"data": [2**63]}, "inputs[0].data", "INT64"),
    "two dimensions": ({"data": [0], "shape": [1, 1]}, "inputs[0].shape", "one dimension"),
    "too many dimensions": ({"data": [0], "shape": [1] * 99}, "inputs[0].data", "beyond reason"),
    "negative shape": ({"data": [0], "shape": [-1]}, "inputs[0].shape[0]", ">= 0"),
    "unknown entry": ({"dtype": "INT64"}, "inputs[0].dtype", "datatype"),
}


@pytest.mark.parametrize(("change", "field", "says"), DATA.values(), ids=DATA.keys())
def test_tensors_as_json_that_cannot_be_used_are_named(server, change, field, says):
    entry = {"name": "cam.times_us", "datatype": "INT64", "shape": [1], "data": [0], **change}
    refused(server.fuse({"inputs": [entry]}), 422, field, says)


def test_a_sensor_given_twice_is_refused(server):
    (times, raw), (channels, more) = cam_tensors()
    reply = server.send_binary(
        {"sensors": {"cam": {"events": CAM_EVENTS}}, "inputs": [times, channels]}, raw + more
    )
    refused(reply, 422, "sensors.cam", "both in sensors and in inputs")
