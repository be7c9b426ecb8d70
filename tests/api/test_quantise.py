"""Requests to a target that computes in Loihi's integers."""

import time

import pytest
from support.api_models import CAM_EVENTS, STEPS, body
from support.api_schema import misfits
from support.api_server import answer_of, refused

from api.calibrating import calibration_of
from api.quantising import Quantiser
from backends.contracts import contract_on
from backends.registry import Registry
from fusion.model import load_model
from fusion.shelf import ShelvedModel
from simulators.quantise_report import LossReport

TARGET = "loihi-emulator"
FORCED = {"arithmetic_form": "decay", "feedforward_delay_steps": 1, "arithmetic": "loihi_fixed"}


def asked(server, **changes):
    return server.fuse(body(target=TARGET, quantise=True, **changes))


def test_a_model_without_integers_is_refused_with_the_way_to_them(server):
    problem = refused(server.fuse(body(target=TARGET)), 422, "snn-fusion quantise MODEL --target")
    (violation,) = problem["violations"]
    assert (violation["limit"], violation["used"]) == ("model", "not quantised")
    assert "quantise: true" in violation["nearest_feasible"]


def test_a_request_may_ask_for_integers_and_is_told_what_they_lose(server):
    answer = answer_of(asked(server))
    own = answer_of(server.fuse(body()))
    assert own["quantisation"] is None
    assert answer["contract"] == own["contract"] | FORCED
    assert answer["steps"] == STEPS + 2  # two layers of weights, a step each
    assert answer["model"]["digest"] != own["model"]["digest"]
    assert answer["windows"][0]["label"] == own["windows"][0]["label"]
    for label, belief in own["windows"][0]["posterior"].items():
        assert answer["windows"][0]["posterior"][label] == pytest.approx(belief, abs=0.05)
    lost = answer["quantisation"]
    assert (lost["calibration"], lost["held_out"]) == (1, 0)
    assert {one["node"] for one in lost["loss"]["populations"]} == {
        "cam_lif", "mic_lif", "cam_li", "mic_li"
    }  # fmt: skip
    assert lost["loss"]["predicted"] > 0.9
    assert set(lost["loss"]) == set(LossReport.__slots__)
    assert [one for one in answer["warnings"] if one.startswith("contract.")] == [
        f"contract.{name}: {here} on {TARGET}, {there} in the model's own contract"
        for name, there, here in (
            ("arithmetic_form", "increment", "decay"),
            ("feedforward_delay_steps", 0, 1),
            ("arithmetic", "float64", "loihi_fixed"),
        )
    ]


def test_the_reply_is_as_the_document_says(server):
    document = server.client.get("/openapi.json").json()
    schema = document["paths"]["/v1/fuse"]["post"]["responses"]["200"]["content"]
    reply = asked(server).json()
    assert misfits(reply, schema["application/json"]["schema"], document, "reply") == []


def test_every_request_gets_the_same_integers_from_the_shipped_samples(server):
    quiet = {"cam": {"events": {key: values[:2] for key, values in CAM_EVENTS.items()}}}
    digests = {
        answer_of(one)["model"]["digest"] for one in (asked(server), asked(server, sensors=quiet))
    }
    assert len(digests) == 1


def test_floats_need_no_integers(server):
    own = answer_of(server.fuse(body()))
    assert answer_of(server.fuse(body(quantise=True))) == own


def test_what_the_chip_cannot_do_is_refused_even_so(server):
    reply = asked(server, contract={"reset": "subtract_threshold"})
    problem = refused(reply, 422)
    assert [one["node"] for one in problem["violations"]] == ["contract.reset"]


def test_targets_are_compared_each_under_its_own_contract(server):
    reply = server.client.post(
        "/v1/compare", json=body(targets=["numpy", "twin", TARGET], quantise=True)
    )
    answer = reply.json()
    assert reply.status_code == 200, answer
    contracts = {one["target"]: one["contract"] for one in answer["targets"]}
    assert contracts["numpy"] == contracts["twin"]
    assert contracts[TARGET] == contracts["numpy"] | FORCED
    assert len({one["label"] for one in answer["targets"]}) == 1
    same, first, second = answer["pairs"]
    assert same["verdict"] == "identical"
    for pair in (first, second):
        assert set(pair["contract_differences"]) == set(FORCED)
        assert pair["verdict"] != "identical"
        assert pair["decisions_agree"]
        for one in pair["populations"]:
            floats, integers = one["spikes"]
            assert abs(floats - integers) <= 0.2 * floats
    assert answer["quantisation"]["calibration"] == 1


def test_a_comparison_with_integers_has_to_ask_for_them(server):
    reply = server.client.post("/v1/compare", json=body(targets=["numpy", TARGET]))
    refused(reply, 422, "snn-fusion quantise")


def test_a_check_tells_that_the_model_is_not_quantised(server):
    reply = server.client.post("/v1/check", json={"targets": [TARGET, "numpy"]})
    here, numpy = reply.json()["targets"]
    assert numpy["fits"]
    assert not here["fits"]
    assert [one["used"] for one in here["violations"]] == ["not quantised"]


def test_a_model_without_samples_is_calibrated_on_the_request(server, shelf_dir):
    model = load_model(shelf_dir / "listening")
    target = Registry().target(TARGET)
    own = model.contract()
    contract = contract_on(target, own)
    (shipped,) = calibration_of(ShelvedModel(shelf_dir / "listening", model), None, contract)
    bare = ShelvedModel(shelf_dir, model)
    loud = {node: 3 * raster for node, raster in shipped.items()}
    quantiser = Quantiser()
    digests = {
        quantiser.ready(bare, own, [target], lambda _, one=one: one).model.digest
        for one in (shipped, loud)
    }
    assert len(digests) == 2


def test_time_spent_on_integers_counts_to_the_deadline(server, monkeypatch):
    def slow(*given):
        time.sleep(0.3)
        return original(*given)

    quantiser = server.app.state.service.runner.quantiser
    original = quantiser.ready
    monkeypatch.setattr(quantiser, "ready", slow)
    reply = asked(server, deadline_s=0.2)
    refused(reply, 504)
