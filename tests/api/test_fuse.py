import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.api_models import CAM_EVENTS, STEPS, body, tone
from support.api_server import answer_of, tensor


def cam(**changes):
    return {"events": {**CAM_EVENTS, **changes}}


def test_both_sensors_are_fused_under_the_contract_that_is_echoed(server):
    reply = server.fuse(body(seed=7, dt_s=0.004, contract={"integrator": "exponential"})).json()
    assert reply["model"]["name"] == "listening"
    assert reply["model"]["version"] == "2"
    assert len(reply["model"]["digest"]) == 64
    assert reply["target"] == "cpu"
    assert reply["contract"]["integrator"] == "exponential"
    assert reply["contract"]["dt_s"] == reply["dt_s"] == 0.004
    assert reply["seed"] == 7
    assert reply["steps"] == 50
    (window,) = reply["windows"]
    assert (window["start_us"], window["end_us"]) == (0, 200_000)
    assert sum(window["posterior"].values()) == pytest.approx(1)
    assert window["posterior"][window["label"]] == window["confidence"]
    assert set(window["sensors"]) == {"cam", "mic"}
    assert window["sensors"]["cam"]["events"] == len(CAM_EVENTS["times_us"])
    assert window["sensors"]["mic"]["onset_us"] > 0
    assert window["quality"]["coverage"] == 1
    assert reply["energy"] is None
    assert "processor" in reply["energy_reason"]
    assert reply["timing"]["total_s"] >= reply["timing"]["run_s"] > 0


def test_energy_is_estimated_where_the_target_says_what_operations_take(server):
    reply = server.fuse(body(target="twin")).json()
    counts = reply["counts"]
    assert reply["energy_reason"] is None
    assert reply["energy"].pop("joules") == pytest.approx(
        20e-12 * counts["synaptic_events"] + 50e-12 * counts["neuron_updates"], rel=1e-12
    )
    formula = reply["energy"].pop("formula")
    assert "20 pJ x synaptic events" in formula
    assert "50 pJ x neuron updates" in formula
    assert reply["energy"] == {"kind": "estimate", "model": "guessed", "excludes": ["host"]}


@pytest.mark.parametrize(("name", "coverage"), [("cam", 0.6), ("mic", 0.4)])
def test_one_sensor_is_enough_and_the_missing_one_is_told(server, name, coverage):
    sensors = {name: body()["sensors"][name]}
    reply = server.fuse({"sensors": sensors}).json()
    (window,) = reply["windows"]
    assert list(window["sensors"]) == [name]
    assert window["posterior"] == pytest.approx(window["sensors"][name]["posterior"])
    assert window["quality"]["coverage"] == pytest.approx(coverage)
    assert any("not given" in told for told in reply["warnings"])


def test_events_behind_the_window_and_a_silent_sensor_are_told(server):
    late = {"cam": cam(times_us=[0, 0, 0, 0, 0, 200_000, 300_000])}
    silent = {"mic": {"samples": {"rate_hz": 8000, "values": [0.0] * 4000}}}
    reply = server.fuse({"sensors": late | silent}).json()
    (window,) = reply["windows"]
    assert window["sensors"]["cam"]["outside_window"] == 2
    assert window["sensors"]["cam"]["events"] == 5
    assert window["sensors"]["mic"] == {
        "posterior": None,
        "contribution": None,
        "events": 0,
        "outside_window": 0,
        "onset_us": None,
        "live": False,
    }
    assert any("cam: 2 events" in told for told in reply["warnings"])
    assert any("mic: no onset" in told for told in reply["warnings"])


def test_output_populations_are_always_recorded_others_on_request(server):
    reply = server.fuse(body()).json()
    assert set(reply["spikes"]) == {"cam_lif", "mic_lif"}
    assert reply["recorded"] == {}
    assert len(reply["spikes"]["cam_lif"]["steps"]) == reply["counts"]["spikes"]["cam_lif"] > 0
    reply = server.fuse(body(record=["cam_lif", "mic_li"])).json()
    assert set(reply["recorded"]) == {"cam_lif", "mic_li"}
    assert set(reply["recorded"]["cam_lif"]) == {"v", "i"}
    assert np.shape(reply["recorded"]["cam_lif"]["v"]) == (STEPS, 6)
    assert np.shape(reply["recorded"]["mic_li"]["v"]) == (STEPS, 3)
    everything = server.fuse(body(record=["all"])).json()
    assert set(everything["recorded"]) == {"cam_lif", "cam_li", "mic_lif", "mic_li"}


def test_a_shipped_sample_is_what_its_files_hold(server):
    named = {"cam": {"sample": "one"}, "mic": {"sample": "one"}}
    assert answer_of(server.fuse({"sensors": named})) == answer_of(server.fuse(body()))


def test_a_model_is_found_by_name_and_digest(server):
    digest = server.fuse(body()).json()["model"]["digest"]
    for name in ("listening", digest, digest[:8]):
        assert server.fuse(body(model=name)).json()["model"]["digest"] == digest


def binary_parts(samples="<f8"):
    weights = [1.0, 0.5, 2.0, 1.0, 1.0, 1.0, 3.0]
    return [
        tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8"),
        tensor("cam.channels", CAM_EVENTS["channels"], "<i4"),
        tensor("cam.values", weights, "<f4"),
        tensor("mic.samples", tone(), samples, rate_hz=8000),
    ], weights


def test_binary_and_json_give_identical_answers(server):
    parts, weights = binary_parts()
    header = {"inputs": [entry for entry, _ in parts], "seed": 1, "record": ["all"]}
    binary = server.send_binary(header, b"".join(raw for _, raw in parts))
    plain = body(seed=1, record=["all"])
    plain["sensors"]["cam"]["events"]["values"] = weights
    assert answer_of(binary) == answer_of(server.fuse(plain))


def test_tensors_may_carry_data_and_stand_beside_sensors(server):
    plain = body()
    nested = [[time] for time in CAM_EVENTS["times_us"]]
    header = {
        "sensors": {"mic": plain["sensors"]["mic"]},
        "inputs": [{"name": "cam.times_us", "datatype": "INT64", "shape": [7], "data": nested}],
    }
    entry, raw = tensor("cam.channels", CAM_EVENTS["channels"], "<i4")
    header["inputs"].append(entry)
    wanted = answer_of(server.fuse(plain))
    assert answer_of(server.send_binary(header, raw)) == wanted
    del entry["parameters"]
    entry["data"] = CAM_EVENTS["channels"]
    assert answer_of(server.fuse(header)) == wanted


def test_sixteen_bit_samples_are_taken_as_they_are(server):
    loud = [round(20_000 * value) for value in tone()]
    entry, raw = tensor("mic.samples", loud, "<i2", rate_hz=8000)
    plain = {"sensors": {"mic": {"samples": {"rate_hz": 8000, "values": loud}}}}
    binary = server.send_binary({"inputs": [entry]}, raw)
    assert answer_of(binary) == answer_of(server.fuse(plain))


@pytest.mark.parametrize(("name", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_are_read(server, name, squeeze):
    content = squeeze(json.dumps(body()).encode())
    reply = server.send(content, content_encoding=name, content_type="application/json")
    assert answer_of(reply) == answer_of(server.fuse(body()))


def test_a_body_without_content_type_is_read(server):
    reply = server.send(json.dumps(body()).encode())
    assert "content-type" not in reply.request.headers
    assert answer_of(reply) == answer_of(server.fuse(body()))


def test_parallel_requests_equal_the_single_ones(server):
    bodies = [body(seed=n, dt_s=0.005 if n % 2 else 0.004, record=["all"]) for n in range(20)]
    for n, one in enumerate(bodies):
        one["sensors"]["cam"]["events"]["times_us"] = [
            time + 1000 * n for time in CAM_EVENTS["times_us"]
        ]
    alone = [answer_of(server.fuse(one)) for one in bodies]
    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(server.fuse, bodies))
    assert [answer_of(reply) for reply in together] == alone


def test_a_sane_request_id_is_kept_and_any_other_replaced(server):
    kept = server.fuse(body(), **{"X-Request-Id": "abc-1"})
    assert kept.headers["X-Request-Id"] == kept.json()["request_id"] == "abc-1"
    replaced = server.fuse(body(), **{"X-Request-Id": "no spaces, please"})
    assert replaced.headers["X-Request-Id"] == replaced.json()["request_id"] != "no spaces, please"
