from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
from support.api_backends import Gate, HeavyRegistry, HookedRegistry, failing
from support.api_models import CAM_EVENTS, STEPS, body, tone
from support.api_schema import misfits
from support.api_server import refused, running, tensor, until

from api.settings import load_settings

PAIR = ["numpy", "twin"]


def post(server, **changes):
    return server.client.post("/v1/compare", json=body(**{"targets": PAIR, **changes}))


def compared(reply):
    """Return a comparison without the times of its runs."""
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    for target in answer["targets"]:
        assert target.pop("run_s") > 0
    return answer


def test_two_names_of_one_engine_are_identical_and_decide_alike(server):
    answer = compared(post(server))
    fused = server.fuse(body(target="numpy")).json()
    assert answer["model"] == fused["model"]
    assert answer["steps"] == STEPS
    for target in answer["targets"]:
        assert target["label"] == fused["windows"][0]["label"]
        assert target["contract"] == fused["contract"]
        assert target["spikes"] == fused["counts"]["spikes"]
        assert target["synaptic_events"] == fused["counts"]["synaptic_events"]
    energies = {one["target"]: (one["energy"], one["energy_reason"]) for one in answer["targets"]}
    assert energies["numpy"] == (None, fused["energy_reason"])
    assert energies["twin"][0]["joules"] > 0
    assert energies["twin"][1] is None
    (pair,) = answer["pairs"]
    assert pair["targets"] == PAIR
    assert (pair["verdict"], pair["decisions_agree"]) == ("identical", True)
    assert pair["divergence"] is None
    assert {one["node"] for one in pair["populations"]} == {"cam_lif", "mic_lif"}
    assert all(one["mismatched"] == 0 < one["spikes"][0] for one in pair["populations"])


@pytest.mark.full
def test_the_engines_that_ship_are_identical(server):
    answer = compared(post(server, targets=["numpy", "brian2", "twin"]))
    assert [pair["verdict"] for pair in answer["pairs"]] == ["identical"] * 3
    assert [pair["targets"] for pair in answer["pairs"]] == [
        list(pair) for pair in combinations(["numpy", "brian2", "twin"], 2)
    ]


def test_binary_and_json_are_compared_alike(server):
    parts = [
        tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8"),
        tensor("cam.channels", CAM_EVENTS["channels"], "<i4"),
        tensor("mic.samples", tone(), "<f8", rate_hz=8000),
    ]
    header = {"inputs": [entry for entry, _ in parts], "targets": PAIR, "tolerance": 0.5}
    tail = b"".join(raw for _, raw in parts)
    binary = server.send_binary(header, tail, "/v1/compare")
    assert compared(binary) == compared(post(server, tolerance=0.5))


def test_a_fuse_request_may_be_sent_on_as_it_is(server):
    sent_on = post(server, target="numpy", seed=3, record=["cam_lif"])
    assert compared(sent_on) == compared(post(server))


@pytest.fixture(scope="module")
def uneven(shelf_dir):
    """A server with a target that is not quite like the others."""
    with running(load_settings(models_dir=shelf_dir), registry=HeavyRegistry()) as server:
        server.wait_until_ready()
        yield server


def test_the_first_spike_that_differs_is_told_with_its_potential(uneven):
    asked = {"targets": ["numpy", "heavy"], "record": ["cam_lif"]}
    (pair,) = compared(post(uneven, **asked))["pairs"]
    assert pair["verdict"] == "different"
    found = pair["divergence"]
    assert (found["node"], found["neuron"]) == ("cam_lif", 0)
    assert found["spikes"] == [1, 0]
    assert found["threshold"] == 1.0
    assert found["v"][0] == found["v"][1] > 1.0, "until then both have the same past"
    assert found["margin"] == pytest.approx([v - 1.0 for v in found["v"]])
    here, there = (
        uneven.fuse(body(target=name, record=["cam_lif"])).json()["spikes"]["cam_lif"]
        for name in asked["targets"]
    )
    spikes = [set(zip(one["steps"], one["neurons"], strict=True)) for one in (here, there)]
    assert min(spikes[0] ^ spikes[1]) == (found["step"], 0)
    (cam,) = [one for one in pair["populations"] if one["node"] == "cam_lif"]
    assert cam["mismatched"] == len(spikes[0] ^ spikes[1])


def test_the_tolerance_turns_different_into_equivalent(uneven):
    (pair,) = compared(post(uneven, targets=["numpy", "heavy"], tolerance=1))["pairs"]
    assert pair["tolerance"] == 1
    assert pair["verdict"] == ("equivalent" if pair["decisions_agree"] else "different")


WRONG = {
    "one target": ({"targets": ["numpy"]}, 422, "targets", "two or more"),
    "no target": ({"targets": []}, 422, "targets", "two or more"),
    "one twice": ({"targets": ["numpy", "numpy"]}, 422, "targets", "each once"),
    "unknown": ({"targets": ["numpy", "abacus"]}, 404, "targets[1]", "'abacus'"),
    "names": ({"targets": "numpy,twin"}, 422, "targets", "array"),
    "rejects": ({"targets": ["numpy", "tiny"]}, 422, None, "'tiny' cannot run"),
    "absent": ({"targets": ["numpy", "absent"]}, 503, "target", "none_such"),
    "negative": ({"tolerance": -0.1}, 422, "tolerance", ">= 0"),
    "above 1": ({"tolerance": 1.5}, 422, "tolerance", "<= 1"),
    "no number": ({"tolerance": "a lot"}, 422, "tolerance", "expected float"),
    "typo": ({"tolerence": 0.1}, 422, "tolerence", "try: tolerance"),
    "model": ({"model": "nope"}, 404, "model", "nope"),
    "sensor": ({"sensors": {"nose": {}}}, 422, "sensors.nose", "no such sensor"),
    "steps": ({"dt_s": 5e-5}, 422, "dt_s", "steps is 4000"),
    "records": ({"dt_s": 1.25e-4}, 422, "dt_s", "recorded values"),
    "deadline": ({"deadline_s": 1e6}, 422, "deadline_s", "seconds"),
}


@pytest.mark.parametrize(("sent", "status", "field", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_is_told_by_field(server, sent, status, field, says):
    problem = refused(post(server, **sent), status, says)
    assert problem.get("field") == field


def test_targets_must_be_given(server):
    problem = refused(server.client.post("/v1/compare", json=body()), 422)
    assert problem["field"] == "targets"


def test_a_target_that_rejects_the_model_says_all_of_why(server):
    problem = refused(post(server, targets=["numpy", "tiny"]), 422)
    assert problem["type"].endswith("model-rejected")
    assert {one["limit"] for one in problem["violations"]} == {"node type", "choice"}


def test_fuse_still_refuses_what_only_a_comparison_takes(server):
    problem = refused(server.fuse(body(targets=PAIR)), 422)
    assert (problem["field"], problem["nearest"]) == ("targets", "target")


def test_a_comparison_waits_in_its_own_bounded_queue(shelf_dir):
    gate = Gate()
    settings = load_settings(models_dir=shelf_dir, max_queue=0)
    asked = {"targets": ["numpy", "hooked"]}
    with (
        running(settings, registry=HookedRegistry(gate)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(lambda: post(server, **asked))
        assert gate.entered.acquire(timeout=60)
        refused(post(server, **asked), 503, "'compare'")
        assert server.fuse(body()).status_code == 200, "live requests go on meanwhile"
        gate.opened.set()
        assert compared(first.result())["pairs"][0]["verdict"] == "identical"


def test_a_deadline_holds_for_the_whole_comparison(shelf_dir):
    gate = Gate()
    with running(load_settings(models_dir=shelf_dir), registry=HookedRegistry(gate)) as server:
        late = post(server, targets=["hooked", "numpy"], deadline_s=0.2)
        refused(late, 504, "within 0.2 s")
        gate.opened.set()
        until(lambda: server.service.comparing.running == 0)
        assert post(server, targets=["hooked", "numpy"]).status_code == 200


def test_a_run_that_breaks_off_is_told(shelf_dir):
    with running(load_settings(models_dir=shelf_dir), registry=HookedRegistry(failing)) as server:
        refused(post(server, targets=["numpy", "hooked"]), 502, "the child has ended")


def test_replies_and_examples_are_as_documented(server, uneven):
    document = server.client.get("/openapi.json").json()
    operation = document["paths"]["/v1/compare"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]
    answered = operation["responses"]["200"]["content"]["application/json"]
    for example in asked["examples"].values():
        assert misfits(example["value"], asked["schema"], document, "request") == []
    assert misfits(answered["example"], answered["schema"], document, "example") == []
    for reply in (post(server), post(uneven, targets=["numpy", "heavy"])):
        assert misfits(reply.json(), answered["schema"], document, "reply") == []
    assert "application/octet-stream" in operation["requestBody"]["content"]
    assert {"404", "422", "503", "504"} <= set(operation["responses"])
