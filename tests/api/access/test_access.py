"""Access as callers meet it, over real HTTP."""

import asyncio
import json
from contextlib import contextmanager
from datetime import date

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from support.access import KeysFile, bearer, id_in
from support.api_models import CAM_EVENTS, body
from support.api_server import refused, running, until
from support.stored import upload
from tritonclient.utils import InferenceServerException

from api.access.guard import Guard
from api.access.middleware import Access
from api.access.scopes import RouteScopes, Scope, needs
from api.metrics import Metrics
from api.settings import InvalidSettings, load_settings


@contextmanager
def guarded(keys, shelf_dir, boards, **settings):
    """Serve with keys, the targets `numpy` and `lab-board`, and an audit log beside the keys."""
    chosen = {
        "models_dir": shelf_dir,
        "hw_configs": boards,
        "keys_file": keys.path,
        "audit_file": keys.path.with_name("audit.jsonl"),
        "targets": "numpy,lab-board",
        "target": "numpy",
        **settings,
    }
    with running(load_settings(**chosen)) as server:
        server.wait_until_ready()
        yield server


def audited(keys, event):
    path = keys.path.with_name("audit.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def audited_of(keys, event, reply):
    """Return the line of a request, which is written once its reply is out."""

    def found():
        sent = reply.headers["X-Request-Id"]
        return [line for line in audited(keys, event) if line["request_id"] == sent]

    until(found)
    (line,) = found()
    return line


@pytest.fixture(scope="module")
def site(tmp_path_factory, shelf_dir, boards):
    """A server, its keys' file, and some keys by name."""
    keys = KeysFile(tmp_path_factory.mktemp("site") / "keys.yaml")
    everything = [scope for scope in Scope if scope is not Scope.NONE]
    named = {
        "all": keys.add(*everything, name="everything"),
        "fuse": keys.add("fuse"),
        "reader": keys.add("models:read", "targets:read"),
        "board": keys.add("fuse", "compare", "hardware", targets=["lab-*"], name="the lab"),
        "disabled": keys.add("fuse", disabled=True, name="gone"),
        "expired": keys.add("fuse", expires=date(2020, 1, 1)),
    }
    with guarded(keys, shelf_dir, boards) as server:
        yield server, keys, named


def test_without_a_key_nothing_but_probes_is_answered(site):
    server, *_ = site
    for path in ("/", "/healthz/live", "/healthz/ready", "/v2", "/v2/health/live", "/docs"):
        assert server.client.get(path).status_code == 200
    for path in ("/v1/targets", "/v1/models", "/v1/samples", "/metrics", "/nothing", "/v1/fuse"):
        problem = refused(server.client.get(path), 401, "a key is needed")
        assert problem["type"].endswith(":unauthenticated")
        assert "Authorization: Bearer" in problem["nearest"]
    reply = server.fuse(body())
    refused(reply, 401)
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="snn-fusion"'


def test_a_key_is_taken_in_either_header_and_bearer_in_any_case(site):
    server, _, named = site
    key = named["fuse"]
    for headers in (
        bearer(key),
        {"X-API-Key": key},
        {"authorization": f"bEARER  {key}"},
        {"Authorization": "Basic abc", "X-API-Key": key},
    ):
        assert server.fuse(body(), **headers).status_code == 200


@pytest.mark.parametrize(
    ("name", "says"),
    [("disabled", "(gone) is disabled"), ("expired", "has expired"), (None, "no such key")],
)
def test_a_key_that_is_not_good_is_told_why(site, name, says):
    server, keys, named = site
    key = named[name] if name else named["fuse"][:-1] + "!"
    reply = server.fuse(body(), **bearer(key))
    refused(reply, 401, says)
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert key not in reply.text
    line = audited(keys, "refused")[-1]
    assert line["reason"] == f"{name or 'unknown'}_key"
    assert line.get("key") == (id_in(key) if name else None)


def test_a_key_without_the_scope_is_told_which_and_what_it_has(site):
    server, keys, named = site
    reply = server.fuse(body(), **bearer(named["reader"]), X_Unused="1")
    problem = refused(reply, 403, "lacks the scope fuse", id_in(named["reader"]))
    assert problem["type"].endswith(":forbidden")
    assert "models:read, targets:read" in problem["nearest"]
    assert 'error="insufficient_scope", scope="fuse"' in reply.headers["WWW-Authenticate"]
    assert server.client.get("/v1/models", headers=bearer(named["reader"])).status_code == 200
    refused(server.client.get("/metrics", headers=bearer(named["reader"])), 403, "metrics")
    assert server.client.get("/metrics", headers=bearer(named["all"])).status_code == 200
    line = audited(keys, "refused")[-1]
    assert (line["reason"], line["scope"], line["path"]) == ("scope", "metrics", "/metrics")


def test_boards_are_not_for_everyone(site):
    server, keys, named = site
    on_board = body(target="lab-board")
    problem = refused(server.fuse(on_board, **bearer(named["fuse"])), 403, "lacks the scope hardw")
    assert problem["field"] == "target"
    problem = refused(server.fuse(body(), **bearer(named["board"])), 403, "target 'numpy'")
    assert problem["nearest"] == "a target of lab-*"
    reply = server.fuse(on_board, X_Request_Id="x", **bearer(named["board"]))
    assert reply.status_code == 200
    compared = body(targets=["lab-board", "numpy"])
    refused(server.client.post("/v1/compare", json=compared, headers=bearer(named["board"])), 403)
    compare = server.client.post("/v1/compare", json=compared, headers=bearer(named["all"]))
    assert compare.status_code == 200
    one, two = (audited_of(keys, "hardware", told) for told in (reply, compare))
    assert one["key"] == id_in(named["board"])
    assert (one["name"], one["scope"], one["target"]) == ("the lab", "fuse", "lab-board")
    assert one["digest"] == reply.json()["model"]["digest"]
    assert (one["status"], one["outcome"], one["model"]) == (200, "done", "listening")
    assert (two["target"], two["scope"]) == ("lab-board,numpy", "compare")


def test_a_failed_run_on_a_board_is_audited_as_failed(site):
    server, keys, named = site
    sensors = {"cam": {"events": {"times_us": [3, 2], "channels": [0, 0]}}}
    reply = server.fuse({"sensors": sensors, "target": "lab-board"}, **bearer(named["board"]))
    refused(reply, 422)
    line = audited_of(keys, "hardware", reply)
    assert (line["status"], line["outcome"]) == (422, "failed")


def test_an_audit_line_holds_no_key_and_no_recording(site):
    server, keys, named = site
    server.fuse(body(target="lab-board"), **bearer(named["board"]))
    text = keys.path.with_name("audit.jsonl").read_text()
    assert "times_us" not in text
    for key in named.values():
        assert key[17:] not in text


def test_paths_without_a_declared_scope_are_not_reached(site):
    server, _, named = site
    refused(server.client.get("/nothing", headers=bearer(named["all"])), 404, "Not Found")
    reply = server.client.get("/v1/fuse", headers=bearer(named["all"]))
    refused(reply, 405, "Method Not Allowed")
    assert reply.headers["Allow"] == "POST"


def test_the_open_inference_protocol_keeps_its_shape_and_its_client_its_headers(site):
    server, _, named = site
    reply = server.client.post("/v2/models/listening/infer", json={})
    assert reply.status_code == 401
    assert reply.json() == {"error": "a key is needed, and none was sent"}
    address = str(server.client.base_url).removeprefix("http://").rstrip("/")
    client = triton.InferenceServerClient(address)
    times = triton.InferInput("cam.times_us", [7], "INT64")
    channels = triton.InferInput("cam.channels", [7], "INT32")
    times.set_data_from_numpy(np.array(CAM_EVENTS["times_us"], np.int64))
    channels.set_data_from_numpy(np.array(CAM_EVENTS["channels"], np.int32))
    assert client.is_server_live()
    with pytest.raises(InferenceServerException, match="lacks the scope fuse"):
        client.infer("listening", [times, channels], headers=bearer(named["reader"]))
    with pytest.raises(InferenceServerException, match="not for the target"):
        client.infer("listening", [times, channels], headers=bearer(named["board"]))
    answer = client.infer("listening", [times, channels], headers=bearer(named["fuse"]))
    assert answer.as_numpy("label") is not None
    with pytest.raises(InferenceServerException, match="lacks the scope repository"):
        client.unload_model("listening", headers=bearer(named["fuse"]))
    client.close()


def test_changes_are_audited_whatever_comes_of_them(site):
    server, keys, named = site
    load = "/v2/repository/models/{}/load"
    assert server.client.post(load.format("nope"), headers=bearer(named["all"])).status_code == 404
    done = server.client.post(load.format("listening"), headers=bearer(named["all"]))
    assert done.status_code == 200
    until(lambda: len(audited(keys, "change")) == 2)
    failed, loaded = audited(keys, "change")
    assert (failed["outcome"], failed["status"]) == ("failed", 404)
    assert (loaded["outcome"], loaded["scope"]) == ("done", "repository")
    assert loaded["path"] == load.format("listening")
    assert loaded["key"] == id_in(named["all"])


def test_an_upload_is_audited_with_the_digest_of_what_was_stored(keys, shelf_dir, boards, tmp_path):
    writer, reader = keys.add("models:write"), keys.add("models:read")
    with guarded(keys, shelf_dir, boards, store=str(tmp_path / "store")) as server:
        sent = {"content": upload(), "headers": {"Content-Type": "application/zip"}}
        sent["headers"] |= bearer(reader)
        refused(server.client.post("/v1/models", **sent), 403, "lacks the scope models:write")
        sent["headers"] |= bearer(writer)
        reply = server.client.post("/v1/models", **sent)
        assert reply.status_code == 201
        gone = server.client.delete("/v1/models/small", headers=bearer(writer))
        assert gone.status_code == 200
        until(lambda: len(audited(keys, "change")) == 2)
    stored, deleted = audited(keys, "change")
    assert stored["digest"] == reply.json()["digest"]
    assert (stored["method"], stored["status"], stored["model"]) == ("POST", 201, "small")
    assert (deleted["method"], deleted["outcome"]) == ("DELETE", "done")
    assert deleted["path"] == "/v1/models/small"
    assert len(audited(keys, "refused")) == 1


def test_refusals_are_counted_by_reason(site):
    server, _, named = site

    def seen(reason):
        text = server.client.get("/metrics", headers=bearer(named["all"])).text
        return [line for line in text.splitlines() if f'refused_total{{reason="{reason}"}}' in line]

    server.fuse(body())
    server.fuse(body(), **bearer(named["reader"]))
    assert seen("no_key")
    assert seen("scope")


def test_refusals_do_not_flood_the_audit_log(keys, shelf_dir, boards):
    keys.add("fuse")
    with guarded(keys, shelf_dir, boards) as server:
        for _ in range(400):
            assert server.client.get("/v1/models").status_code == 401
        told = audited(keys, "refused")
        assert 100 <= len(told) < 300
        until(
            lambda: (
                server.client.get("/v1/models")
                and any("not_told" in line for line in audited(keys, "refused"))
            )
        )


def test_metrics_are_open_if_the_settings_say_so(keys, shelf_dir, boards):
    keys.add("fuse")
    with guarded(keys, shelf_dir, boards, open_metrics=True) as server:
        assert server.client.get("/metrics").status_code == 200
        assert server.client.get("/v1/models").status_code == 401


def test_without_keys_boards_and_changes_are_audited_too(shelf_dir, boards, tmp_path):
    keys = KeysFile(tmp_path / "none")
    with guarded(keys, shelf_dir, boards, keys_file=None) as server:
        assert server.fuse(body(target="lab-board")).status_code == 200
        until(lambda: audited(keys, "hardware"))
        (line,) = audited(keys, "hardware")
        assert line["name"] == "anyone"
        assert "key" not in line
        assert server.client.get("/nothing").status_code == 404


def test_a_broken_keys_file_is_told_by_a_metric_and_a_new_key_works(keys, shelf_dir, boards):
    old = keys.add("fuse", "metrics")
    with guarded(keys, shelf_dir, boards) as server:

        def metrics():
            return server.client.get("/metrics", headers=bearer(old)).text

        keys.path.write_text("keys: [")
        until(lambda: "snn_fusion_keys_file_broken 1.0" in metrics())
        new = keys.add("fuse")
        until(lambda: "snn_fusion_keys_file_broken 0.0" in metrics())
        until(lambda: server.fuse(body(), **bearer(new)).status_code == 200)
        assert 'snn_fusion_key_reloads_total{outcome="taken"} 1.0' in metrics()
    refusal, taken = audited(keys, "keys")
    assert (refusal["outcome"], taken["outcome"]) == ("refused", "taken")
    assert "is not YAML" in refusal["problem"]
    assert taken["added"] == [id_in(new)]


def handshake(keys, path, headers):
    """Return the messages that a WebSocket's handshake is answered with, behind the keys."""

    @needs(Scope.FUSE)
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/socket", echo)])
    guard = Guard(load_settings(keys_file=keys.path), Metrics(CollectorRegistry()))
    access = Access(app, guard, RouteScopes(app.routes, frozenset()))
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": path, "headers": named, "query_string": b""}
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(access(scope, receive, send))
    return sent


def test_websockets_want_a_key_at_the_handshake(keys):
    good, other = keys.add("fuse"), keys.add("check")
    assert handshake(keys, "/socket", bearer(good))[0]["type"] == "websocket.accept"
    for path, headers in (("/socket", {}), ("/socket", bearer(other)), ("/other", bearer(good))):
        (closed,) = handshake(keys, path, headers)
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize("env", ["production", "staging"])
def test_outside_development_keys_are_needed(env, keys):
    metrics = Metrics(CollectorRegistry())
    with pytest.raises(InvalidSettings, match=f"SNN_FUSION_KEYS_FILE: is not set.*ENV={env}"):
        Guard(load_settings(env=env), metrics)
    assert Guard(load_settings(env=env, without_keys=True), metrics).open
    keys.add("fuse")
    assert not Guard(load_settings(env=env, keys_file=keys.path), metrics).open


def test_settings_of_access_that_cannot_be_name_their_variable(keys, tmp_path):
    metrics = Metrics(CollectorRegistry())
    keys.write()
    wrong = [
        ({"keys_file": keys.path}, "KEYS_FILE.*holds no key"),
        ({"keys_file": tmp_path / "none"}, "KEYS_FILE.*No such file"),
        ({"keys_file": tmp_path / "none", "without_keys": True}, "WITHOUT_KEYS.*contradicts"),
        ({"audit_file": tmp_path / "no" / "file"}, "AUDIT_FILE.*No such file"),
    ]
    for settings, says in wrong:
        with pytest.raises(InvalidSettings, match=f"SNN_FUSION_{says}"):
            Guard(load_settings(**settings), metrics)
    keys.path.write_text("keys: [1]")
    with pytest.raises(InvalidSettings, match=r"SNN_FUSION_KEYS_FILE: keys.yaml.keys\[0\]"):
        Guard(load_settings(keys_file=keys.path), metrics)


@pytest.mark.parametrize(
    ("settings", "warns"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"env": "production", "without_keys": True}, True),
    ],
)
def test_serving_whoever_asks_is_warned_of(settings, warns, capfd):
    Guard(load_settings(**settings), Metrics(CollectorRegistry()))
    told = capfd.readouterr()
    assert ("NO KEYS ARE ASKED FOR" in told.out + told.err) == warns


def test_a_connection_that_is_refused_goes_on(site):
    server, _, named = site
    with httpx.Client(base_url=server.client.base_url) as client:
        for _ in range(3):
            big = {"sensors": {"mic": {"samples": {"rate_hz": 8000, "values": [0.5] * 50_000}}}}
            assert client.post("/v1/fuse", json=big).status_code == 401
            assert client.post("/v1/fuse", json=body(), headers=bearer(named["fuse"])).is_success
