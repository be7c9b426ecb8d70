"""Whatever is wrong with a request is refused with a status and the name of the field."""

import gzip
import json

import pytest
from support.api_models import CAM_EVENTS, body, tone
from support.api_server import refused


def events(**changes):
    return {"sensors": {"cam": {"events": {**CAM_EVENTS, **changes}}}}


def samples(**changes):
    return {"sensors": {"mic": {"samples": {"rate_hz": 8000, "values": tone(), **changes}}}}


MALFORMED = {
    "empty": b"",
    "half": b'{"sensors": {"cam": ',
    "trailing": b"{} {}",
    "nan": json.dumps(events(values=[float("nan")] * 7)).encode(),
    "infinity": json.dumps(samples(values=[0.1, float("inf")])).encode(),
    "no utf-8": b'{"mod\xff": 1}',
    "deep": b'{"sensors": {"cam": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    "words": b"hello",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_json_is_malformed(server, content):
    assert refused(server.send(content, content_type="application/json"), 400, "body")["field"]


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b'"text"'])
def test_json_that_is_no_object_is_refused(server, content):
    refused(server.send(content), 422, "body: expected object")


TIMES = "sensors.cam.events.times_us"
VALUES = {
    "unsorted times": (events(times_us=[5, 4, 6, 7, 8, 9, 10]), f"{TIMES}[1]", "decrease"),
    "negative time": (events(times_us=[-5, 4, 6, 7, 8, 9, 10]), f"{TIMES}[0]", "negative"),
    "time of 2**53 + 1": (events(times_us=[0] * 6 + [2**53 + 1]), f"{TIMES}[6]", "2**53"),
    "time of 2**63": (events(times_us=[2**63] * 7), f"{TIMES}[0]", "64-bit"),
    "time of 2**70": (events(times_us=[0] * 6 + [2**70]), TIMES, "64-bit"),
    "time of 1e300": (events(times_us=[0] * 6 + [1e300]), f"{TIMES}[6]", "float"),
    "float time": (events(times_us=[0, 1.5, 2, 3, 4, 5, 6]), f"{TIMES}[1]", "send whole"),
    "text time": (events(times_us=["0"] * 7), f"{TIMES}[0]", "expected int"),
    "true time": (events(times_us=[True] * 7), f"{TIMES}[0]", "expected int"),
    "times as text": (events(times_us="0123456"), TIMES, "expected array"),
    "channel too high": (
        events(channels=[0, 1, 2, 3, 4, 0, 0]),
        "sensors.cam.events.channels[4]",
        "0 to 3",
    ),
    "channel too low": (
        events(channels=[0, -1, 2, 3, 3, 0, 0]),
        "sensors.cam.events.channels[1]",
        "0 to 3",
    ),
    "fewer channels": (
        events(channels=[0, 1]),
        "sensors.cam.events",
        "7 entries but channels has 2",
    ),
    "fewer values": (events(values=[1.0]), "sensors.cam.events", "7 entries but values has 1"),
    "value beyond float32": (events(values=[1e39] * 7), "sensors.cam.events.values[0]", "1e+39"),
    "sample beyond float32": (
        samples(values=[0, 1e300]),
        "sensors.mic.samples.values[1]",
        "finite",
    ),
    "rate of zero": (samples(rate_hz=0), "sensors.mic.samples.rate_hz", "> 0"),
    "broken rate": (samples(rate_hz=8000.5), "sensors.mic.samples.rate_hz", "whole"),
    "rate too low": (samples(rate_hz=100, values=[1, 0]), "sensors.mic", "rate_hz"),
    "unknown sensor": ({"sensors": {"nose": {"sample": "one"}}}, "sensors.nose", "cam, mic"),
    "no sensors": ({"sensors": {}}, "sensors", "one or more of cam, mic"),
    "nothing at all": ({}, "sensors", "is empty"),
    "empty sensor": ({"sensors": {"cam": {}}}, "sensors.cam", "exactly one of"),
    "null sensor": ({"sensors": {"cam": None}}, "sensors.cam", "expected object"),
    "two units": (
        {"sensors": {"cam": {**events()["sensors"]["cam"], **samples()["sensors"]["mic"]}}},
        "sensors.cam",
        "events and samples",
    ),
    "events to a sampled sensor": (
        {"sensors": {"mic": events()["sensors"]["cam"]}},
        "sensors.mic",
        "takes samples",
    ),
    "samples to an event sensor": (
        {"sensors": {"cam": samples()["sensors"]["mic"]}},
        "sensors.cam",
        "takes events",
    ),
    "typo": (body(modle="listening"), "modle", "try: model"),
    "typo in a sensor": (
        {"sensors": {"cam": {"events": {"time_us": [], "channels": []}}}},
        "sensors.cam.events.time_us",
        "try: times_us",
    ),
    "missing channels": (
        {"sensors": {"cam": {"events": {"times_us": []}}}},
        "sensors.cam.events.channels",
        "is missing",
    ),
    "unknown profile": (body(profile="guess"), "profile", "nir"),
    "unknown contract field": (body(contract={"resett": "x"}), "contract.resett", "reset_timing"),
    "unknown contract value": (body(contract={"reset": "never"}), "contract.reset", "to_v_reset"),
    "contract value of a wrong type": (body(contract={"reset": [1]}), "contract", "got array"),
    "contract dt_s as text": (body(contract={"dt_s": "1"}), "contract.dt_s", "positive time"),
    "contract dt_s beyond all": (body(contract={"dt_s": 10**400}), "contract", "expected int <="),
    "dt_s of zero": (body(dt_s=0), "dt_s", "> 0"),
    "dt_s below a nanosecond": (body(dt_s=1e-300), "dt_s", "nanoseconds"),
    "dt_s beyond all": (body(dt_s=1e308), "contract.dt_s", "at most 1e+06"),
    "dt_s beyond 64 bits of microseconds": (body(dt_s=18446744073710), "contract.dt_s", "at most"),
    "seed as text": (body(seed="a"), "seed", "expected int"),
    "seed too large": (body(seed=2**63), "seed", "<="),
    "record as text": (body(record="all"), "record", "expected array"),
    "record of nothing": (body(record=["cam_out"]), "record", "records nothing"),
    "deadline of zero": (body(deadline_s=0), "deadline_s", "> 0"),
}


@pytest.mark.parametrize(("sent", "field", "says"), VALUES.values(), ids=VALUES.keys())
def test_what_cannot_be_used_is_named(server, sent, field, says):
    problem = refused(server.send(json.dumps(sent).encode()), 422, field, says)
    assert problem["field"].startswith(field)


LIMITS = {
    "events": (events(times_us=[0] * 1001, channels=[0] * 1001), "events", "1001", "1000"),
    "samples": (samples(values=[0] * 20_001), "samples", "20001", "20000"),
    "late event": (events(times_us=[0] * 6 + [2_000_001]), "duration_s", "2.000001", "2"),
    "long recording": (samples(values=[0.0] * 17_000), "duration_s", "2.125", "2"),
    "steps": (body(dt_s=1e-5), "steps", "20000", "2000"),
    "records": (body(dt_s=1e-4, record=["all"]), "recorded values", "84000", "20000"),
    "deadline": (body(deadline_s=61), "seconds", "61", "60"),
}


@pytest.mark.parametrize(("sent", "limit", "used", "allowed"), LIMITS.values(), ids=LIMITS.keys())
def test_what_is_too_large_is_told_with_used_and_allowed(server, sent, limit, used, allowed):
    (violation,) = refused(server.fuse(sent), 422, used, allowed)["violations"]
    assert violation["limit"] == limit
    assert violation["used"] == used
    assert violation["allowed"] == violation["nearest_feasible"] == allowed


def test_a_body_too_large_is_refused_announced_or_not(server):
    large = b" " * 2_000_001
    refused(server.send(large), 413, "2000000")
    refused(server.client.post("/v1/fuse", content=iter([large])), 413, "2000000")
    squeezed = server.send(gzip.compress(large), content_encoding="gzip")
    refused(squeezed, 413, "inflates to more")


UNKNOWN = {
    "model": (body(model="nope"), "model", "listening"),
    "target": (body(target="nope"), "target", "numpy"),
    "sample": ({"sensors": {"cam": {"sample": "nope"}}}, "sensors.cam.sample", "one"),
}


@pytest.mark.parametrize(("sent", "field", "nearest"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_names_are_not_found(server, sent, field, nearest):
    problem = refused(server.fuse(sent), 404, "nope")
    assert problem["field"] == field
    assert nearest in problem["nearest"]


def test_a_target_without_its_backend_is_unavailable_with_a_hint(server):
    problem = refused(server.fuse(body(target="absent")), 503, "absent", "none_such")
    assert "install" in problem["nearest"]


def test_a_model_that_a_target_cannot_run_is_refused_with_every_violation(server):
    problem = refused(server.fuse(body(target="tiny")), 422, "cam_li", "float64")
    violations = {one["node"]: one for one in problem["violations"]}
    assert set(violations) == {"cam_li", "mic_li", "contract.arithmetic"}
    assert violations["cam_li"]["used"] == "LI"
    assert violations["contract.arithmetic"] == {
        "node": "contract.arithmetic",
        "limit": "choice",
        "used": "float64",
        "allowed": "float32",
        "nearest_feasible": "float32",
    }


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/xml", "x"])
def test_another_content_type_is_refused(server, kind):
    refused(server.send(b"{}", content_type=kind), 415, "Content-Type", "application/json")


def test_binary_without_its_header_and_unknown_encodings_are_refused(server):
    binary = server.send(b"{}", content_type="application/octet-stream")
    refused(binary, 415, "Inference-Header-Content-Length")
    refused(server.send(b"{}", content_encoding="br"), 415, "Content-Encoding", "gzip")


SQUEEZED = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize("content", [b"{}", SQUEEZED[:-4], SQUEEZED + b"x"])
def test_what_does_not_inflate_is_malformed(server, content):
    refused(server.send(content, content_encoding="gzip"), 400, "body", "gzip")


def test_unknown_routes_and_methods_are_problems_too(server):
    refused(server.client.get("/v1/nothing"), 404, "/v1/nothing")
    reply = server.client.get("/v1/fuse")
    refused(reply, 405, "GET /v1/fuse")
    assert "POST" in reply.headers["allow"]


def test_half_a_surrogate_pair_is_malformed(server):
    refused(server.send(rb'{"model": "\udcff"}'), 400, "surrogate")
