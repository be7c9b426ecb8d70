"""Limits as callers meet them: what is charged for which request, over real HTTP."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from support.access import bearer, id_in
from support.api_backends import Gate, HookedRegistry, failing
from support.api_models import CAM_EVENTS, body
from support.api_server import refused, running, until

from api.access.meter import BOARD_TIME, RUN_TIME, SYNAPTIC_EVENTS
from api.settings import load_settings

ALL = {"synaptic_events_per_day": 10**12, "run_s_per_day": 1e6, "hardware_run_s_per_day": 1e6}
CAM = {"cam": {"events": CAM_EVENTS}}
SCOPES = ("fuse", "compare", "hardware")


@contextmanager
def hooked(keys, shelf_dir, hook=lambda: None, **settings):
    """Serve with keys and the target `hooked`, which is a board and calls a hook at every run."""
    registry = HookedRegistry(hook)
    board = registry.targets["hooked"]
    able = replace(board.capabilities, hardware=True)
    registry.targets = {**registry.targets, "hooked": replace(board, capabilities=able)}
    chosen = load_settings(models_dir=shelf_dir, target="numpy", keys_file=keys.path, **settings)
    with running(chosen, registry=registry) as server:
        server.wait_until_ready()
        yield server


def meter_of(server, key):
    """Return what a server counts of a key."""
    middleware = server.app.middleware_stack
    while not hasattr(middleware, "_guard"):
        middleware = getattr(middleware, "_app", None) or middleware.app
    return middleware._guard._keyring.find(key.encode()).meter


def test_every_way_to_run_something_is_charged(keys, shelf_dir):
    key = keys.add(*SCOPES, limits=ALL)
    with hooked(keys, shelf_dir) as server:
        used = meter_of(server, key).used
        fused = server.fuse({"sensors": CAM}, **bearer(key)).json()
        events = fused["counts"]["synaptic_events"]
        assert events > 0
        assert used(SYNAPTIC_EVENTS) == events
        first_s = used(RUN_TIME)
        assert first_s > 0
        assert used(BOARD_TIME) == 0
        compared = {"sensors": CAM, "targets": ["numpy", "hooked"]}
        reply = server.client.post("/v1/compare", json=compared, headers=bearer(key))
        assert reply.status_code == 200
        assert used(SYNAPTIC_EVENTS) == 3 * events
        assert used(RUN_TIME) > first_s
        assert used(BOARD_TIME) > 0
        raster = {"name": "cam", "datatype": "UINT8", "shape": [2, 40, 2, 2], "data": [1] * 320}
        sent = {"inputs": [raster], "parameters": {"target": "hooked"}}
        board_s = used(BOARD_TIME)
        reply = server.client.post("/v2/models/listening/infer", json=sent, headers=bearer(key))
        assert reply.status_code == 200
        told = {one["name"]: one["data"] for one in reply.json()["outputs"]}
        assert used(SYNAPTIC_EVENTS) == 3 * events + sum(told["synaptic_events"])
        assert used(BOARD_TIME) > board_s


def test_a_run_that_broke_off_is_charged(keys, shelf_dir):
    key = keys.add(*SCOPES, limits=ALL)
    with hooked(keys, shelf_dir, failing) as server:
        used = meter_of(server, key).used
        assert server.fuse(body(target="hooked"), **bearer(key)).status_code == 502
        charged = used(BOARD_TIME)
        assert charged > 0
        compared = {"sensors": CAM, "targets": ["numpy", "hooked"]}
        reply = server.client.post("/v1/compare", json=compared, headers=bearer(key))
        assert reply.status_code == 502
        assert used(BOARD_TIME) > charged
        assert used(SYNAPTIC_EVENTS) > 0, "of the target that ran before"


def test_a_run_whose_caller_has_left_is_charged(keys, shelf_dir):
    key, gate = keys.add(*SCOPES, limits=ALL), Gate()
    with hooked(keys, shelf_dir, gate) as server:
        sent = body(target="hooked")
        with pytest.raises(httpx.ReadTimeout):
            server.client.post("/v1/fuse", json=sent, headers=bearer(key), timeout=0.2)
        meter = meter_of(server, key)
        until(lambda: meter.in_flight == 0)
        assert meter.used(BOARD_TIME) == 0
        gate.opened.set()
        until(lambda: meter.used(BOARD_TIME) > 0)
        assert meter.used(SYNAPTIC_EVENTS) > 0


def test_quotas_of_boards_and_of_other_targets_are_apart(keys, shelf_dir):
    key = keys.add(*SCOPES, limits={"hardware_run_s_per_day": 1e-6})
    with hooked(keys, shelf_dir) as server:
        assert server.fuse(body(target="hooked"), **bearer(key)).status_code == 200
        reply = server.fuse(body(target="hooked"), **bearer(key))
        problem = refused(reply, 429, "hardware_run_s_per_day = 1e-06", "until midnight UTC")
        assert problem["type"].endswith(":limit-reached")
        (violation,) = problem["violations"]
        assert violation["limit"] == "hardware_run_s_per_day"
        assert 0 < int(reply.headers["Retry-After"]) <= 86_400
        assert server.fuse(body(), **bearer(key)).status_code == 200
        compared = {"sensors": CAM, "targets": ["numpy", "hooked"]}
        reply = server.client.post("/v1/compare", json=compared, headers=bearer(key))
        refused(reply, 429)
        infer = {"inputs": [], "parameters": {"target": "hooked"}}
        reply = server.client.post("/v2/models/listening/infer", json=infer, headers=bearer(key))
        assert reply.status_code in (422, 429)


def test_the_requests_of_a_key_at_the_same_time_are_bounded(keys, shelf_dir):
    gate = Gate()
    key, other = keys.add(*SCOPES, limits={"concurrent": 2}), keys.add(*SCOPES)
    with hooked(keys, shelf_dir, gate, threads=4) as server, ThreadPoolExecutor(3) as pool:
        ask = body(target="hooked")
        asked = [pool.submit(server.fuse, ask, **bearer(key)) for _ in range(2)]
        until(lambda: meter_of(server, key).in_flight == 2)
        reply = server.fuse(body(), **bearer(key))
        refused(reply, 429, f"key {id_in(key)} may use concurrent = 2")
        assert reply.headers["Retry-After"] == "1"
        assert server.fuse(body(), **bearer(other)).status_code == 200
        gate.opened.set()
        assert [one.result().status_code for one in asked] == [200, 200]
        assert server.fuse(body(), **bearer(key)).status_code == 200
        assert meter_of(server, key).in_flight == 0


def test_replies_say_what_is_left_and_the_protocol_of_others_is_kept(keys, shelf_dir):
    key = keys.add("fuse", "models:read", limits={"requests_per_s": 1e-6, "burst": 3})
    with hooked(keys, shelf_dir) as server:
        left = [server.fuse(body(), **bearer(key)).headers["RateLimit"] for _ in range(2)]
        assert [one.split(";")[1] for one in left] == ["r=2", "r=1"]
        assert server.client.get("/v1/models", headers=bearer(key)).status_code == 200
        reply = server.client.get("/v2/models/listening", headers=bearer(key))
        assert reply.status_code == 429
        assert set(reply.json()) == {"error"}
        assert reply.headers["RateLimit-Policy"] == '"requests_per_s";q=3;w=3000000'
        assert "r=0" in reply.headers["RateLimit"]
        assert server.client.get("/healthz/ready").status_code == 200
