"""No inference, however wrong, gives a status of 500 or a reply that clients cannot read."""

import json
from urllib.parse import quote

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api_models import CAM_EVENTS
from support.oip import INFER, cam_json, raster

from api.oip.requests import InferRequest
from api.tensors import DTYPES

FUZZ = settings(max_examples=60)
TIMES = np.array(CAM_EVENTS["times_us"], "<i8").tobytes()
CHANNELS = np.array(CAM_EVENTS["channels"], "<i4").tobytes()
RASTER = raster().tobytes()


def tensor(name, datatype, shape, size):
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


EVENTS = {
    "inputs": [
        tensor("cam.times_us", "INT64", [7], len(TIMES)),
        tensor("cam.channels", "INT32", [7], len(CHANNELS)),
    ],
    "outputs": [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "label"}],
}
RASTERS = {"inputs": [tensor("cam", "FP32", [1, 40, 2, 2], len(RASTER))]}
BODIES = [(EVENTS, TIMES + CHANNELS), (RASTERS, RASTER)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "data", "parameters", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def fine(reply):
    if reply.status_code == 307:  # to the same path without the slash at its end
        assert reply.url.path.endswith("/")
        return
    assert reply.status_code < 500 or reply.status_code in (501, 504), reply.text
    if reply.status_code == 200:
        length = reply.headers.get("inference-header-content-length", len(reply.content))
        json.loads(reply.content[: int(length)])
    else:
        assert list(reply.json()) == ["error"]
        assert "Traceback" not in reply.text


def send(oip, content, length, **headers):
    named = {"Inference-Header-Content-Length": length, **headers}
    fine(oip.client.post(INFER, content=content, headers=named))


def mutated(draw, content):
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
    return bytes(content)


@FUZZ
@given(data=st.data(), shift=st.integers(-3, 3))
def test_mutated_bodies(oip, data, shift):
    fields, tail = data.draw(st.sampled_from(BODIES))
    header = json.dumps(fields).encode()
    if data.draw(st.booleans()):
        header = mutated(data.draw, header)
    if data.draw(st.booleans()):
        tail = mutated(data.draw, tail)
    send(oip, header + tail, str(len(header) + shift))


@FUZZ
@given(
    length=st.integers(-(2**70), 2**70).map(str)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)
)
def test_lengths_of_any_value(oip, length):
    header = json.dumps(EVENTS).encode()
    send(oip, header + TIMES + CHANNELS, length.strip())


@FUZZ
@given(
    shapes=st.lists(st.lists(st.integers(-1, 2**62), max_size=40) | st.just([7]), max_size=2),
    sizes=st.lists(st.integers(-1, 200), min_size=2, max_size=2),
    datatypes=st.lists(st.sampled_from([*DTYPES, "BYTES"]), min_size=2, max_size=2),
    tail=st.binary(max_size=200),
)
def test_tensors_of_any_size(oip, shapes, sizes, datatypes, tail):
    names = ["cam.times_us", "cam.channels"]
    inputs = [tensor(*one) for one in zip(names, datatypes, shapes, sizes, strict=False)]
    header = json.dumps({"inputs": inputs}).encode()
    send(oip, header + tail, str(len(header)))


@FUZZ
@given(
    shape=st.lists(st.integers(0, 3) | st.sampled_from([40, 2**31, 2**48]), max_size=7),
    datatype=st.sampled_from([*DTYPES, "BYTES"]),
    data=st.lists(st.integers(-300, 300) | st.floats() | st.booleans(), max_size=12),
)
def test_rasters_of_any_shape(oip, shape, datatype, data):
    one = {"name": "cam", "datatype": datatype, "shape": shape, "data": data}
    fine(oip.client.post(INFER, content=json.dumps({"inputs": [one]})))


@FUZZ
@given(field=st.sampled_from([*InferRequest.__struct_fields__, "x"]), value=JSON)
def test_fields_of_any_value(oip, field, value):
    fine(oip.client.post(INFER, content=json.dumps({"inputs": cam_json(), field: value})))


PARAMETERS = st.sampled_from(
    [
        *("target", "profile", "dt_s", "seed", "deadline_s", "timeout", "record", "priority"),
        *("model", "binary_data_output", "contract.reset", "contract.dt_s", "sequence_id", "x"),
    ]
)


@FUZZ
@given(
    parameters=st.dictionaries(
        PARAMETERS, st.booleans() | st.integers() | st.floats() | st.text(max_size=6), max_size=3
    )
)
def test_parameters_of_any_value(oip, parameters):
    sent = {"inputs": cam_json(), "parameters": parameters}
    fine(oip.client.post(INFER, content=json.dumps(sent)))


@FUZZ
@given(
    path=st.sampled_from(["/v2/repository/index", "/v2/repository/models/spare/load"]),
    body=JSON.map(json.dumps) | st.binary(max_size=30),
)
def test_repository_bodies_of_any_value(oip, path, body):
    fine(oip.client.post(path, content=body))


@FUZZ
@given(name=st.text(max_size=30), version=st.none() | st.text(max_size=9))
def test_paths_of_any_name(oip, name, version):
    path = f"/v2/models/{quote(name, safe='')}"
    path += f"/versions/{quote(version, safe='')}" if version is not None else ""
    for end in ("", "/ready", "/config", "/stats"):
        fine(oip.client.get(path + end))
