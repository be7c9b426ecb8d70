"""A front and the deployments that own its targets, over real HTTP."""

import gzip
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from support.api_backends import Gate, HookedRegistry
from support.api_models import CAM_EVENTS, body
from support.api_peer import peer
from support.api_server import answer_of, free_port, leaving, refused, running, tensor, until
from tritonclient.utils import InferenceServerException

from api.settings import load_settings

AWAY = "http://127.0.0.1:9"
"""Nothing listens on the port of the discard protocol here."""


def url_of(server):
    return str(server.client.base_url).rstrip("/")


def front_of(shelf_dir, peers, registry=None, **settings):
    chosen = {"targets": ("none",), **settings}
    return running(load_settings(models_dir=shelf_dir, peers=peers, **chosen), registry=registry)


@pytest.fixture(scope="module")
def owner(shelf_dir):
    with running(load_settings(models_dir=shelf_dir, targets=("numpy", "cpu"))) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def front(shelf_dir, owner, tmp_path_factory):
    """A front with a model of its own name alone, and nothing that it runs itself."""
    peers = {"numpy": url_of(owner), "cpu": url_of(owner)}
    with front_of(tmp_path_factory.mktemp("empty"), peers) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def told():
    """A peer that tells what it was sent, and a front before it."""
    with ExitStack() as stack:
        other = stack.enter_context(peer())
        empty = load_settings(targets=("none",), peers={"numpy": other.url})
        yield other, stack.enter_context(running(empty))


def test_a_front_without_models_answers_as_the_owner_does(owner, front):
    sent = body(target="cpu", record=["cam_lif"])
    assert answer_of(front.fuse(sent)) == answer_of(owner.fuse(sent))
    assert answer_of(front.fuse(body()))["target"] == "numpy", "the first peer is its default"
    times, raw_times = tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8")
    channels, raw_channels = tensor("cam.channels", CAM_EVENTS["channels"], "<i4")
    header, tail = {"inputs": [times, channels], "target": "cpu"}, raw_times + raw_channels
    assert answer_of(front.send_binary(header, tail)) == answer_of(owner.send_binary(header, tail))


def test_what_is_wrong_is_told_as_the_owner_tells_it(owner, front):
    problem = refused(front.fuse(body(model="nope")), 404, "nope")
    there = owner.fuse(body(model="nope")).json()
    assert {**problem, "request_id": ""} == {**there, "request_id": ""}
    refused(front.fuse({"sensors": {"ear": {"sample": "one"}}}), 422)
    unknown = refused(front.fuse(body(target="nope")), 404)
    assert unknown["nearest"] == "cpu, numpy"


def test_bytes_headers_and_ids_arrive_as_they_were_sent(told):
    other, front = told
    content = gzip.compress(json.dumps(body(deadline_s=30)).encode())
    other.headers = {"content-type": "text/x", "connection": "keep-alive", "x-its-own": "kept"}
    reply = front.send(
        content,
        "/v1/fuse?a=%20b",
        content_encoding="gzip",
        content_type="application/json",
        x_request_id="mine-7",
        authorization="Bearer key",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        via="1.1 gateway",
        te="trailers",
    )
    assert reply.status_code == 200
    assert reply.headers["x-its-own"] == "kept"
    assert reply.headers["x-request-id"] == "mine-7"
    ((path, headers, arrived),) = other.got
    assert (path, arrived) == ("/v1/fuse?a=%20b", content)
    assert headers["content-encoding"] == "gzip"
    assert headers["x-request-id"] == "mine-7"
    assert headers["authorization"] == "Bearer key"
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert headers["via"] == "1.1 gateway, 1.1 snn-fusion"
    assert 29 < float(headers["snn-fusion-deadline-s"]) < 30
    assert "te" not in headers


def test_answers_of_any_length_status_and_header_come_back(told):
    other, front = told
    other.status, other.headers = 503, {"retry-after": "7", "content-type": "application/x"}
    other.parts = [b"busy"]
    reply = front.fuse(body())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
    assert (reply.content, reply.headers["content-type"]) == (b"busy", "application/x")
    other.status, other.parts = 200, [os.urandom(700_000) for _ in range(4)]
    assert front.fuse(body()).content == b"".join(other.parts)
    big = {"sensors": {"cam": {"events": {"times_us": list(range(400_000)), "channels": []}}}}
    front.fuse(big)
    assert json.loads(other.got[-1][2]) == big


def test_an_answer_that_breaks_off_is_not_passed_on_as_whole(told):
    other, front = told
    other.parts, other.breaks = [b"x", b"y"], True
    refused(front.fuse(body()), 502, "broke the connection off")
    other.parts = [b"x" * 2_000_000, b"y"]
    with pytest.raises(httpx.RemoteProtocolError):
        front.fuse(body())
    assert front.metric("snn_fusion_forwarded_total", outcome="broken") == 1


def test_a_deadline_is_the_way_s_and_the_owner_s_together(told):
    other, front = told
    other.hangs = True
    refused(front.fuse(body(deadline_s=0.3)), 504, "within 0.3 s")
    assert float(other.got[-1][1]["snn-fusion-deadline-s"]) < 0.3
    until(lambda: other.left == 1)  # the owner is told that nobody waits any more
    assert front.metric("snn_fusion_forwarded_total", outcome="deadline") == 1


def test_an_owner_keeps_the_deadline_that_a_front_leaves_it(shelf_dir):
    gate = Gate()
    with running(load_settings(models_dir=shelf_dir), registry=HookedRegistry(gate)) as server:
        sent = json.dumps(body(target="hooked", deadline_s=50)).encode()
        marked = {"via": "1.1 gateway, 1.1 snn-fusion", "snn_fusion_deadline_s": "0.2"}
        refused(server.send(sent, **marked), 504, "within 0.2 s")
        gate.opened.set()
        assert server.send(sent, snn_fusion_deadline_s="1e-9").status_code == 200, "nobody's word"
        bad = server.send(sent, **{**marked, "snn_fusion_deadline_s": "soon"})
        assert refused(bad, 422)["field"] == "SNN-Fusion-Deadline-S"


def test_a_caller_who_leaves_the_front_leaves_the_owner_s_queue(shelf_dir):
    gate = Gate()
    limits = {"threads": 1, "models_dir": shelf_dir}
    with ExitStack() as stack:
        owner = stack.enter_context(running(load_settings(**limits), registry=HookedRegistry(gate)))
        front = stack.enter_context(
            front_of(shelf_dir, {"hooked": url_of(owner)}, HookedRegistry(gate))
        )
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stays = pool.submit(front.fuse, body())
        assert gate.entered.acquire(timeout=60)
        lane = owner.service.lanes["hooked"]
        with leaving(front, body()):
            until(lambda: lane.waiting == 1)
        until(lambda: lane.waiting == 0)
        gate.opened.set()
        assert answer_of(stays.result())["target"] == "hooked"
        until(lambda: front.metric("snn_fusion_forwarded_total", outcome="gone") == 1)


def test_a_circle_is_told_after_one_hop(shelf_dir):
    port = free_port()
    with ExitStack() as stack:
        first = stack.enter_context(front_of(shelf_dir, {"numpy": f"http://127.0.0.1:{port}"}))
        assert first.client.get("/healthz/ready").status_code in (200, 503)
        second = stack.enter_context(front_of(shelf_dir, {"numpy": url_of(first)}))
        refused(second.fuse(body()), 508, "circle")
        marked = second.send(json.dumps(body()).encode(), via="1.1 snn-fusion")
        assert refused(marked, 508)["type"].endswith("forwarded-twice")
        check = {"model": "listening", "targets": ["numpy"]}
        refused(second.send(json.dumps(check).encode(), "/v1/check", via="2 snn-fusion"), 508)


def test_an_owner_that_is_away_is_told_at_once_and_asked_until_it_is_back(shelf_dir, owner):
    port = free_port()
    with front_of(shelf_dir, {"numpy": f"http://127.0.0.1:{port}"}) as front:
        front.wait_until_ready()
        for _ in range(3):
            reply = front.fuse(body())
            problem = refused(reply, 503, "takes no connections, at a loopback address")
            assert problem["type"].endswith("target-unavailable")
            assert "numpy" in problem["detail"]
            assert reply.headers["retry-after"] == "1"
        assert front.metric("snn_fusion_owner_up", target="numpy") == 0
        (row,) = front.client.get("/v1/targets").json()["targets"]
        assert (row["available"], row["queue"]) == (False, None)
        assert row["capabilities"]["deterministic"]
        assert front.client.get("/healthz/ready").status_code == 200
        with socket.create_server(("127.0.0.1", port)) as listener:
            server = listener.accept()[0]
            server.recv(65536)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            until(lambda: front.metric("snn_fusion_owner_up", target="numpy") == 1)
            server.close()


def test_a_name_that_nobody_knows_is_told_apart(shelf_dir):
    with front_of(shelf_dir, {"numpy": "http://no-such-host.invalid:1"}) as front:
        refused(front.fuse(body()), 503, "cannot be resolved, at a host name")


def test_the_catalogue_is_of_all_deployments(shelf_dir, owner):
    peers = {"numpy": url_of(owner), "brian2": AWAY, "loihi-emulator": url_of(owner)}
    with front_of(shelf_dir, peers, targets=("cpu",)) as front:
        rows = {row["name"]: row for row in front.client.get("/v1/targets").json()["targets"]}
        assert list(rows) == ["cpu", *peers]
        assert rows["cpu"]["owner"] is None
        assert rows["cpu"]["default"]
        assert rows["numpy"]["owner"] == url_of(owner).removeprefix("http://")
        assert rows["numpy"]["available"]
        assert not rows["numpy"]["default"]
        assert rows["numpy"]["queue"]["waiting"] == 0
        assert "takes no connections" in rows["brian2"]["reason"]
        assert "does not serve it" in rows["loihi-emulator"]["reason"]
        assert front.client.get("/v1/targets", headers={"via": "1.1 snn-fusion"}).json() == {
            "targets": [rows["cpu"]]
        }


def test_models_and_samples_of_all_deployments_are_listed_once(shelf_dir, owner, front):
    def listed(server, what):
        return server.client.get(f"/v1/{what}").json()

    there = url_of(owner).removeprefix("http://")
    for what in ("models", "samples"):
        own = listed(owner, what)[what]
        assert [one["owner"] for one in own] == [None] * len(own)
        seen = listed(front, what)[what]
        elsewhere = {"owner": there} | ({"default": False} if what == "models" else {})
        assert seen == [{**one, **elsewhere} for one in own]
        assert own
    peers = {"numpy": url_of(owner), "brian2": AWAY}
    with front_of(shelf_dir, peers, targets=("cpu",)) as mixed:
        mixed.wait_until_ready()
        models = listed(mixed, "models")
        assert [one["owner"] for one in models["models"]] == [None]
        problem = models["problems"][-1]  # behind the one of the folder itself
        assert (problem["path"], problem["field"]) == ("127.0.0.1:9", "owner")
        assert listed(mixed, "samples") == listed(owner, "samples")


def test_a_check_of_targets_in_several_places_is_one_answer(shelf_dir, owner, front):
    sent = {"model": "listening", "targets": ["cpu", "numpy"]}
    whole = owner.client.post("/v1/check", json=sent).json()
    assert front.client.post("/v1/check", json=sent).json() == whole
    peers = {"numpy": url_of(owner), "brian2": AWAY}
    with front_of(shelf_dir, peers, targets=("cpu",)) as mixed:
        asked = {"model": "listening", "targets": ["brian2", "numpy", "cpu"]}
        reply = mixed.client.post("/v1/check", json=asked).json()
        away, *there = reply["targets"]
        assert {**reply, "targets": there[::-1]} == whole
        assert (away["target"], away["fits"], away["available"]) == ("brian2", None, False)
        every = mixed.client.post("/v1/check", json={"model": "listening"}).json()
        assert [fit["target"] for fit in every["targets"]] == ["cpu", "numpy", "brian2"]
    refused(
        front.client.post("/v1/check", json={**sent, "model": "nope"}), 502, "answered with 404"
    )


def test_an_owner_with_too_much_to_do_is_told_in_every_list(owner, front, monkeypatch):
    (busy,) = front.service.owners.all
    monkeypatch.setattr(busy, "under_way", 10**6)
    rows = front.client.get("/v1/targets").json()["targets"]
    assert [(row["available"], "is busy" in row["reason"]) for row in rows] == [(False, True)] * 2
    (problem,) = front.client.get("/v1/models").json()["problems"]
    assert "is busy" in problem["problem"]
    sent = {"model": "listening", "targets": ["cpu", "numpy"]}
    refused(front.client.post("/v1/check", json=sent), 502, "is busy")


def test_a_comparison_goes_where_all_its_targets_are(front):
    reply = front.client.post("/v1/compare", json=body(targets=["cpu", "numpy"])).json()
    (pair,) = reply["pairs"]
    assert pair["verdict"] == "identical"
    assert front.metric("snn_fusion_forwarded_total", target="cpu", outcome="answered") > 0


def test_tritonclient_reaches_a_target_elsewhere(owner, front):
    def answer(server, **chosen):
        times, channels = CAM_EVENTS["times_us"], CAM_EVENTS["channels"]
        inputs = [
            triton.InferInput("cam.times_us", [len(times)], "INT64"),
            triton.InferInput("cam.channels", [len(channels)], "INT32"),
        ]
        inputs[0].set_data_from_numpy(np.array(times, np.int64))
        inputs[1].set_data_from_numpy(np.array(channels, np.int32))
        with triton.InferenceServerClient(url_of(server).removeprefix("http://")) as client:
            return client.infer("listening", inputs, parameters=chosen)

    here, there = answer(owner, target="cpu"), answer(front, target="cpu")
    for name in ("posterior", "label"):
        np.testing.assert_array_equal(here.as_numpy(name), there.as_numpy(name))
    assert here.as_numpy("posterior") is not None
    with pytest.raises(InferenceServerException, match="'nope' is unknown"):
        answer(front, target="nope")
    with pytest.raises(InferenceServerException, match="parameters"):
        answer(front, target="cpu", dt_s=-1)


def test_a_front_serves_its_own_targets_beside_those_of_others(shelf_dir, owner):
    with front_of(shelf_dir, {"numpy": url_of(owner)}, targets=()) as front:
        front.wait_until_ready()
        assert answer_of(front.fuse(body()))["target"] == "cpu"
        assert answer_of(front.fuse(body(target="numpy")))["target"] == "numpy"
        assert front.metric("snn_fusion_forwarded_total") == 1
