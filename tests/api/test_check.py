import math

import pytest
from support.api_models import DT_S, MIC, STEPS, body
from support.api_schema import misfits
from support.api_server import refused

from backends.registry import Registry
from fusion.encoders.mel_onset import MelOnset


def post(server, **request):
    return server.client.post("/v1/check", json=request)


def entries(reply):
    assert reply.status_code == 200, reply.text
    return {entry["target"]: entry for entry in reply.json()["targets"]}


def test_every_served_target_gets_an_entry_and_none_fails_the_others(server):
    reply = post(server)
    found = entries(reply)
    assert set(found) == {*Registry().targets, "twin", "tiny", "absent"}
    assert reply.json()["model"] == server.fuse(body()).json()["model"]
    assert reply.json()["contract"]["dt_s"] == DT_S
    assert (found["numpy"]["available"], found["numpy"]["fits"]) == (True, True)
    absent = found["absent"]
    assert absent.keys() == {"target", "available", "reason", "hint", "fits"}
    assert (absent["available"], absent["fits"]) == (False, None)
    assert "none_such" in absent["reason"]
    assert "install" in absent["hint"]


def test_every_violation_is_told_at_once(server):
    (tiny,) = entries(post(server, targets=["tiny"])).values()
    assert (tiny["available"], tiny["fits"]) == (True, False)
    told = {one["limit"]: one for one in tiny["violations"]}
    assert set(told) == {"node type", "choice"}
    assert told["choice"] == {
        "node": "contract.arithmetic",
        "limit": "choice",
        "used": "float64",
        "allowed": "float32",
        "nearest_feasible": "float32",
    }
    assert {one["node"] for one in tiny["violations"]} >= {"cam_li", "mic_li"}


def test_a_contract_that_suits_takes_its_violation_away(server):
    (tiny,) = entries(
        post(server, targets=["tiny"], contract={"arithmetic": "float32"}, dt_s=0.004)
    ).values()
    assert {one["limit"] for one in tiny["violations"]} == {"node type"}


def test_sizes_and_memory_are_those_of_the_model(server):
    (numpy,) = entries(post(server, model="listening", targets=["numpy"])).values()
    populations = {one["node"]: one["neurons"] for one in numpy["populations"]}
    assert populations == {"cam_lif": 6, "cam_li": 3, "mic_lif": 6, "mic_li": 3}
    assert numpy["neurons"] == 18
    assert numpy["synapses"] == 6 * 4 + 3 * 6 + 6 * MelOnset(**MIC).size + 3 * 6
    assert numpy["memory_bytes"] > 8 * numpy["synapses"]


def test_the_run_that_is_estimated_is_the_models_window_or_as_long_as_asked(server):
    def estimate(**request):
        (numpy,) = entries(post(server, targets=["numpy"], **request)).values()
        return numpy

    window = estimate()
    assert window["run_s_assumes"].startswith(f"{STEPS} steps")
    longer = estimate(duration_s=100 * STEPS * DT_S)
    assert longer["run_s_assumes"].startswith(f"{100 * STEPS} steps")
    assert longer["run_s"] > window["run_s"] > 0
    assert estimate(duration_s=1e-9)["run_s_assumes"].startswith("1 steps")
    assert math.isclose(estimate(duration_s=STEPS * DT_S)["run_s"], window["run_s"])


def test_a_target_that_is_named_twice_is_checked_once(server):
    reply = post(server, targets=["numpy", "twin", "numpy"])
    assert [entry["target"] for entry in reply.json()["targets"]] == ["numpy", "twin"]


WRONG = {
    "target": ({"targets": ["numpy", "abacus"]}, 404, "targets[1]", "'abacus'"),
    "model": ({"model": "nope"}, 404, "model", "nope"),
    "no target": ({"targets": []}, 422, "targets", "length >= 1"),
    "one name": ({"targets": "numpy"}, 422, "targets", "array"),
    "profile": ({"profile": "nope"}, 422, "profile", "nope"),
    "field": ({"contract": {"speed": 1}}, 422, "contract.speed", "field"),
    "typo": ({"duration": 1}, 422, "duration", "try: duration_s"),
    "sensors": ({"sensors": {}}, 422, "sensors", "not a field"),
    "duration": ({"duration_s": 0}, 422, "duration_s", "> 0"),
    "endless": ({"duration_s": 1.7e308}, 422, "duration_s", "too long"),
    "step": ({"dt_s": 1e-320}, 422, "dt_s", "nanoseconds"),
}


@pytest.mark.parametrize(("sent", "status", "field", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_is_told_by_field(server, sent, status, field, says):
    problem = refused(post(server, **sent), status, says)
    assert problem["field"] == field


def test_only_json_is_read(server):
    refused(server.send(b"{", "/v1/check"), 400, "JSON")
    refused(server.send(b"", "/v1/check"), 400, "empty")
    refused(server.send(b"{}", "/v1/check", content_type="text/plain"), 415, "text/plain")
    refused(server.send_binary({}, b"\0\0", "/v1/check"), 400, "2 bytes are left")
    refused(server.send(b" " * 2_000_001, "/v1/check"), 413, "too large")
    assert server.client.get("/v1/check").status_code == 405


def test_replies_and_examples_are_as_documented(server):
    document = server.client.get("/openapi.json").json()
    operation = document["paths"]["/v1/check"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]
    answered = operation["responses"]["200"]["content"]["application/json"]
    assert misfits(asked["example"], asked["schema"], document, "request") == []
    assert misfits(answered["example"], answered["schema"], document, "example") == []
    assert misfits(post(server).json(), answered["schema"], document, "reply") == []
    problem = operation["responses"]["404"]["content"]["application/problem+json"]
    wrong = post(server, targets=["abacus"]).json()
    assert misfits(wrong, problem["schema"], document, "problem") == []
