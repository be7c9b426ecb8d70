"""What clients of the protocol do that other clients do not."""

import gzip
import json
import zlib

import numpy as np
import pytest
from support.api_backends import HookedRegistry, erring
from support.api_models import CAM_EVENTS, write_shelf
from support.api_server import running
from support.oip import INFER, cam_json, entry, outputs_of, raster, refused

from api.settings import load_settings

LOAD = "/v2/repository/models/spare/load"
LENGTH = "Inference-Header-Content-Length"


def infer(oip, content=None, path=INFER, **fields):
    sent = {"inputs": cam_json(), **fields} if content is None else content
    return oip.client.post(path, content=json.dumps(sent))


def split(reply):
    """Return the JSON and the tail of a binary reply."""
    length = int(reply.headers[LENGTH])
    return json.loads(reply.content[:length]), reply.content[length:]


def binary(oip, parts, header=None, path=INFER, **headers):
    """Post tensors as (name, datatype, array) behind a JSON header."""
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, datatype, array in parts
    ]
    text = json.dumps({"inputs": inputs, **(header or {})}).encode()
    content = text + b"".join(array.tobytes() for _, _, array in parts)
    return oip.client.post(path, content=content, headers={LENGTH: str(len(text)), **headers})


TIMES = np.array(CAM_EVENTS["times_us"], np.int64)
CHANNELS = np.array(CAM_EVENTS["channels"], np.int32)
EVENTS = [("cam.times_us", "INT64", TIMES), ("cam.channels", "INT32", CHANNELS)]


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/octet-stream", "text/plain", "nonsense"]
)
@pytest.mark.parametrize("framed", [False, True])
def test_the_content_type_is_not_looked_at(oip, kind, framed):
    headers = {} if kind is None else {"Content-Type": kind}
    if framed:
        assert outputs_of(binary(oip, EVENTS, **headers))["label"]
        return
    request = oip.client.build_request(
        "POST", INFER, content=json.dumps({"inputs": cam_json()}), headers=headers
    )
    assert kind is not None or "content-type" not in request.headers
    assert outputs_of(oip.client.send(request))["label"]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_metadata_needs_no_slash_and_no_redirect(oip, path):
    reply = oip.client.get(path, follow_redirects=False)
    assert reply.status_code == 200
    assert reply.json()["name"] == "snn-fusion"


def test_success_is_200_and_nothing_else(oip):
    replies = [
        oip.client.get("/v2/health/live"),
        oip.client.post("/v2/repository/index"),
        oip.client.post("/v2/repository/models/spare/load"),
        infer(oip),
    ]
    assert [reply.status_code for reply in replies] == [200] * 4


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/logging", 404),
        ("GET", INFER, 405),
        ("GET", "/v2/models/nope", 404),
        ("GET", "/v2/models/nope/config", 404),
        ("GET", "/v2/models/nope/stats", 404),
        ("GET", "/v2/models/listening/versions/7", 404),
        ("GET", "/v2/models/torn/ready", 422),
        ("POST", "/v2/models/nope/infer", 404),
    ],
)
def test_every_error_is_told_as_the_protocol_does(oip, method, path, status):
    refused(oip.client.request(method, path), status)


def test_other_paths_keep_problem_details(oip):
    reply = oip.client.get("/v2x")
    assert reply.headers["content-type"] == "application/problem+json"


def test_an_unexpected_error_is_told_as_the_protocol_does(tmp_path):
    settings = load_settings(models_dir=write_shelf(tmp_path), log_level="ERROR")
    with running(settings, registry=HookedRegistry(erring)) as server:
        server.wait_until_ready()
        reply = infer(server, parameters={"target": "hooked"})
    text = refused(reply, 500, "the log holds the details")
    assert "secret" not in text


def test_a_server_that_drains_is_not_ready(tmp_path):
    with running(load_settings(models_dir=write_shelf(tmp_path))) as server:
        server.wait_until_ready()
        server.service.health.drain()
        refused(server.client.get("/v2/health/ready"), 503, "draining")
        assert server.client.get("/v2/health/live").json() == {"live": True}


def test_outputs_are_json_unless_raw_is_asked_for(oip):
    reply = infer(oip)
    assert LENGTH not in reply.headers
    assert reply.headers["content-type"] == "application/json"
    assert all("data" in one for one in reply.json()["outputs"])


def test_raw_is_asked_for_in_all_or_by_output(oip):
    asked = [{"name": "logits"}, {"name": "label", "parameters": {"binary_data": False}}]
    reply = infer(oip, parameters={"binary_data_output": True}, outputs=asked)
    head, tail = split(reply)
    logits, label = head["outputs"]
    assert logits["parameters"] == {"binary_data_size": 24}
    assert len(tail) == 24
    assert "data" not in logits
    assert label["data"] == ["none"]
    plain = infer(oip, outputs=[{"name": "logits"}])
    assert np.frombuffer(tail, "<f8").tolist() == outputs_of(plain)["logits"]


def test_texts_are_raw_behind_their_lengths(oip):
    asked = [{"name": "label", "parameters": {"binary_data": True}}]
    head, tail = split(infer(oip, outputs=asked))
    assert tail == b"\x04\x00\x00\x00none"
    assert head["outputs"][0]["datatype"] == "BYTES"


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("identity", None),
        ("br", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.2, deflate;q=0.9", "deflate"),
        ("*", "gzip"),
        ("gzip;q=what", None),
    ],
)
def test_replies_are_compressed_as_the_caller_likes(oip, header, encoding):
    sent = {"inputs": cam_json(), "outputs": [{"name": "cam_lif.spikes"}]}
    with oip.client.stream(
        "POST", INFER, content=json.dumps(sent), headers={"Accept-Encoding": header}
    ) as reply:
        content = b"".join(reply.iter_raw())
    assert reply.headers.get("content-encoding") == encoding
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding](content)
    assert json.loads(plain)["outputs"][0]["shape"] == [1, 40, 6]


def test_a_length_counts_before_compression(oip):
    text = json.dumps(
        {
            "inputs": [
                {
                    "name": "cam",
                    "datatype": "FP32",
                    "shape": [1, 40, 2, 2],
                    "parameters": {"binary_data_size": 640},
                }
            ]
        }
    ).encode()
    content = zlib.compress(text + raster().tobytes())
    headers = {LENGTH: str(len(text)), "Content-Encoding": "deflate"}
    assert outputs_of(oip.client.post(INFER, content=content, headers=headers))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", LOAD])
def test_a_bomb_is_not_inflated_beyond_the_limit(oip, encoding, path):
    zeros = bytes(50_000_000)
    bomb = gzip.compress(zeros) if encoding == "gzip" else zlib.compress(zeros)
    reply = oip.client.post(path, content=bomb, headers={"Content-Encoding": encoding})
    refused(reply, 413, "inflates to more than 500000 bytes")


def test_an_encoding_that_is_not_read_is_refused(oip):
    reply = oip.client.post(INFER, content=b"x", headers={"Content-Encoding": "br"})
    refused(reply, 415, "gzip, deflate or none")


def test_a_body_without_json_is_one_raw_raster(oip):
    path = "/v2/models/solo/infer"
    reply = oip.client.post(path, content=raster().tobytes(), headers={LENGTH: "0"})
    head, tail = split(reply)
    sizes = [one["parameters"]["binary_data_size"] for one in head["outputs"]]
    assert len(tail) == sum(sizes)
    names = [one["name"] for one in head["outputs"]]
    at = sum(sizes[: names.index("logits")])
    wanted = outputs_of(infer(oip, {"inputs": [entry("cam", "FP32", raster())]}, path))
    assert np.frombuffer(tail[at : at + 24], "<f8").tolist() == wanted["logits"]


@pytest.mark.parametrize(
    ("model", "content", "status", "says"),
    [
        ("listening", bytes(16), 400, "a model with a single Input node"),
        ("solo", bytes(9), 400, "has 9 bytes, and a step of cam 16"),
        ("solo", b"", 400, "has 0 bytes"),
        ("solo", bytes(16), 422, "cam is [1, 1, 2, 2] (try: [1, 40, 2, 2])"),
    ],
)
def test_a_body_without_json_that_does_not_fit_is_refused(oip, model, content, status, says):
    path = f"/v2/models/{model}/infer"
    refused(oip.client.post(path, content=content, headers={LENGTH: "0"}), status, says)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "", "+5", "1000000"])
def test_a_length_that_cannot_be_is_refused(oip, length):
    reply = oip.client.post(INFER, content=b"{}", headers={LENGTH: length})
    refused(reply, 400, LENGTH)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([entry("cam.times_us", "BYTES", ["a"])], "'BYTES' is unknown for cam.times_us"),
        ([entry("cam.times_us", "BF16", [1])], "'BF16' is unknown for cam.times_us"),
        ([entry("cam.times_us", "INT32", [1])], "cam.times_us is INT32 (try: INT64)"),
        ([entry("cam.what", "INT32", [1])], "'cam.what' is no part of a sensor"),
        ([entry("cam", "INT32", [1])], "cam is [1] (try: [batch, 40, 2, 2])"),
        ([entry("cam", "INT32", [[[[0, 0]] * 2] * 39])], "(try: [1, 40, 2, 2])"),
        ([entry("cam", "INT32", [[[[0] * 4] * 2] * 40])], "(try: [1, 40, 2, 2])"),
        ([entry("cam", "FP32", raster(), a=1)], "inputs[0].parameters.a: is unknown here"),
        ([entry("cam", "FP32", raster()), *cam_json()], "inputs[1].name: 'cam.times_us' is no"),
        ([*cam_json(), cam_json()[0]], "'cam.times_us' is given twice"),
    ],
)
def test_inputs_that_cannot_be_used_are_named(oip, inputs, says):
    refused(infer(oip, {"inputs": inputs}), 422, says)


def test_rasters_of_an_infinite_number_are_refused(oip):
    array = raster()
    array[0, 3, 1, 0] = np.inf
    reply = binary(oip, [("cam", "FP32", array)])
    refused(reply, 422, "is not a finite number")


@pytest.mark.parametrize(
    ("shape", "says"),
    [((1, 501, 2, 2), "steps is 501"), ((90, 40, 2, 2), "values taken, given and recorded")],
)
def test_rasters_have_limits(oip, bare, shape, says):
    lines = oip.client.get(f"/v2/models/{bare}").json()["inputs"][1]["shape"][-1]
    parts = [
        ("cam", "BOOL", np.zeros(shape, bool)),
        ("mic", "BOOL", np.zeros((*shape[:2], lines), bool)),
    ]
    chosen = {"parameters": {"profile": "nir", "dt_s": 0.001}}
    refused(binary(oip, parts, chosen, f"/v2/models/{bare}/infer"), 422, says)


def test_a_bare_graph_needs_a_raster_for_every_input_and_a_contract(oip, bare):
    path = f"/v2/models/{bare}/infer"
    chosen = {"parameters": {"profile": "nir", "dt_s": 0.005}}
    one = [("cam", "FP32", raster())]
    refused(binary(oip, one, chosen, path), 422, "inputs: lack mic")
    refused(infer(oip, {"inputs": []}, path), 422)
    refused(infer(oip, {"inputs": cam_json()}, path), 422, "'cam.times_us' is no Input node")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"name": "label", "parameters": {"classification": 1}}, "'label' has no labels"),
        ({"name": "posterior", "parameters": {"classification": -1}}, "-1 is not a number"),
        ({"name": "posterior", "parameters": {"binary_data": 1}}, "1 is neither true nor false"),
        ({"name": "posterior", "parameters": {"x": 1}}, "outputs[0].parameters.x"),
    ],
)
def test_outputs_that_cannot_be_given_are_named(oip, output, says):
    refused(infer(oip, outputs=[output]), 422, says)


def test_an_output_is_given_once(oip):
    refused(infer(oip, outputs=[{"name": "label"}] * 2), 422, "asked for twice")


@pytest.mark.parametrize("timeout", [0, -5, 1.5, "1", True])
def test_a_timeout_is_whole_microseconds(oip, timeout):
    refused(infer(oip, parameters={"timeout": timeout}), 422, "parameters.timeout")


def test_a_deadline_that_passes_is_told(oip):
    reply = infer(oip, parameters={"timeout": 1})
    refused(reply, 504)


def test_the_first_seconds_are_told_as_loading(tmp_path):
    with running(load_settings(models_dir=write_shelf(tmp_path))) as server:
        server.wait_until_ready()
        server.service.health.started = False
        refused(server.client.get("/v2/models/listening/ready"), 503, "being compiled")
        states = {one["state"] for one in server.client.post("/v2/repository/index").json()}
        assert states == {"LOADING", "UNAVAILABLE"}
