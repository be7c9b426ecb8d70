"""Full queues, deadlines, callers that leave, and targets that fail, each costing itself only."""

import errno
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import httpx
import pytest
import structlog
from support.api_backends import Gate, HookedRegistry, Turnstile, erring, failing
from support.api_models import body
from support.api_server import answer_of, leaving, refused, running, until
from support.lava import installed

from api.settings import load_settings
from backends.registry import Registry


def start(shelf_dir, registry, **settings):
    return running(load_settings(models_dir=shelf_dir, **settings), registry=registry)


def test_a_full_queue_is_told_at_once_and_the_queued_are_answered(shelf_dir):
    gate = Gate()
    limits = {"threads": 1, "max_queue": 1}
    with start(shelf_dir, HookedRegistry(gate), **limits) as server, ThreadPoolExecutor(2) as pool:
        running_one = pool.submit(server.fuse, body(target="hooked"))
        assert gate.entered.acquire(timeout=60)
        queued = pool.submit(server.fuse, body(target="hooked"))
        until(lambda: server.service.lanes["hooked"].waiting == 1)
        refused = server.fuse(body(target="hooked"))
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("queue-full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.fuse(body()).status_code == 200, "another target is not concerned"
        (row,) = [
            t for t in server.client.get("/v1/targets").json()["targets"] if t["queue"]["running"]
        ]
        assert row["queue"]["waiting"] == row["queue"]["max_waiting"] == 1
        assert server.metric("snn_fusion_pending_requests", target="hooked") == 2
        gate.opened.set()
        assert running_one.result().status_code == queued.result().status_code == 200
        assert server.fuse(body(target="hooked")).status_code == 200


def test_the_urgent_is_served_first_and_pushes_the_unimportant_out(shelf_dir):
    gate = Turnstile()
    limits = {"threads": 1, "max_queue": 2, "max_batch_size": 1}

    def ask(priority):
        return server.fuse(body(target="hooked", priority=priority))

    def infer(priority):
        tensors = [
            {"name": "cam.times_us", "datatype": "INT64", "shape": [1], "data": [1]},
            {"name": "cam.channels", "datatype": "INT32", "shape": [1], "data": [1]},
        ]
        chosen = {"target": "hooked", "priority": priority}
        sent = {"parameters": chosen, "inputs": tensors}
        return server.client.post("/v2/models/listening/infer", json=sent)

    with start(shelf_dir, HookedRegistry(gate), **limits) as server, ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, 2)
        assert gate.entered.acquire(timeout=60)
        lane = server.service.lanes["hooked"]
        usual = pool.submit(ask, 2)
        until(lambda: lane.waiting == 1)
        unimportant = pool.submit(infer, 3)
        until(lambda: lane.waiting == 2)
        urgent = pool.submit(infer, 1)
        dropped = unimportant.result(60)
        assert dropped.status_code == 503
        assert int(dropped.headers["Retry-After"]) >= 1
        assert "already wait" in dropped.json()["error"]
        for one in (first, urgent):
            gate.release()
            assert one.result(60).status_code == 200
        assert not usual.done()
        gate.release()
        assert usual.result(60).status_code == 200


@pytest.mark.parametrize("priority", [0, 4, "high"])
def test_a_priority_that_there_is_not_is_refused(shelf_dir, priority):
    with start(shelf_dir, Registry()) as server:
        refused(server.fuse(body(priority=priority)), 422, "priority")
        sent = {"parameters": {"priority": priority}, "inputs": []}
        reply = server.client.post("/v2/models/listening/infer", json=sent)
        assert reply.status_code == 422
        assert "parameters.priority" in reply.json()["error"]


def test_a_deadline_that_passes_is_told_while_the_run_goes_on(shelf_dir):
    gate = Gate()
    with start(shelf_dir, HookedRegistry(gate), threads=1) as server:
        late = server.fuse(body(target="hooked", deadline_s=0.2))
        assert late.status_code == 504
        assert "within 0.2 s" in late.json()["detail"]
        queued = server.fuse(body(target="hooked", deadline_s=0.1))
        assert queued.status_code == 504
        gate.opened.set()
        assert server.fuse(body(target="hooked")).status_code == 200


def test_without_a_deadline_the_targets_own_holds(shelf_dir):
    gate = Gate()
    with start(shelf_dir, HookedRegistry(gate, max_run_s=0.1)) as server:
        assert server.fuse(body(target="hooked")).status_code == 504
        gate.opened.set()


def test_a_caller_who_leaves_costs_nobody_else_anything(shelf_dir):
    gate = Gate()
    with start(shelf_dir, HookedRegistry(gate), threads=1) as server, ThreadPoolExecutor(1) as pool:
        stays = pool.submit(server.fuse, body(target="hooked"))
        assert gate.entered.acquire(timeout=60)
        lane = server.service.lanes["hooked"]
        with leaving(server, body(target="hooked")):
            until(lambda: lane.waiting == 1)
        # its work leaves the queue while the other one still runs
        until(lambda: lane.waiting == 0)
        gate.opened.set()
        assert answer_of(stays.result())["target"] == "hooked"
        assert not gate.entered.acquire(blocking=False), "the leaver's work was never run"
        until(lambda: server.metric("snn_fusion_requests_total", route="/v1/fuse", status="499"))


def test_a_run_that_breaks_off_is_told_and_the_next_target_answers(shelf_dir):
    with start(shelf_dir, HookedRegistry(failing)) as server:
        reply = server.fuse(body(target="hooked"))
        assert reply.status_code == 502
        assert "the child has ended" in reply.json()["detail"]
        assert server.fuse(body()).status_code == 200


def test_the_unforeseen_is_logged_but_not_told(shelf_dir, capfd):
    with start(shelf_dir, HookedRegistry(erring)) as server:
        reply = server.fuse(body(target="hooked"), **{"X-Request-Id": "find-me"})
        assert reply.status_code == 500
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["X-Request-Id"] == reply.json()["request_id"] == "find-me"
        assert "secret" not in reply.text
        assert "ZeroDivision" not in reply.text
        assert server.metric("snn_fusion_requests_total", status="500") == 1
    logged = capfd.readouterr().err
    assert "secret of the house" in logged
    assert "find-me" in logged


def test_the_unforeseen_behind_fastapi_is_told_alike(shelf_dir, capfd, monkeypatch):
    with start(shelf_dir, Registry()) as server:
        monkeypatch.setattr(server.service, "find_targets", lambda _: 1 // 0)
        reply = server.client.post("/v1/check", json={}, headers={"X-Request-Id": "find-me"})
        assert reply.status_code == 500
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["X-Request-Id"] == reply.json()["request_id"] == "find-me"
        assert "ZeroDivision" not in reply.text
        assert server.metric("snn_fusion_requests_total", status="500") == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_without_descriptors_a_request_is_told_to_come_back(shelf_dir, capfd):
    def no_file_left():
        raise OSError(errno.EMFILE, "Too many open files", "/secret")

    with start(shelf_dir, HookedRegistry(no_file_left)) as server:
        problem = refused(server.fuse(body(target="hooked")), 503, "no file can be opened")
        assert problem["type"].endswith("out-of-files")
        assert server.fuse(body(target="hooked")).headers["Retry-After"] == "1"
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_run_logs_bears_the_request_s_id(shelf_dir, capfd):
    def hook():
        structlog.get_logger().warning("said in a run")

    with start(shelf_dir, HookedRegistry(hook)) as server:
        server.fuse(body(target="hooked"), **{"X-Request-Id": "find-me-there"})
    (line,) = [one for one in capfd.readouterr().err.splitlines() if "said in a run" in one]
    assert "find-me-there" in line


def test_stopping_finishes_running_requests_and_closes_backends(shelf_dir):
    gate = Gate()
    registry = HookedRegistry(gate)
    with ThreadPoolExecutor(1) as pool:
        with start(shelf_dir, registry) as server:
            url = f"{server.client.base_url}/v1/fuse"
            reply = pool.submit(httpx.post, url, json=body(target="hooked"), timeout=60)
            assert gate.entered.acquire(timeout=60)
            threading.Timer(0.3, gate.opened.set).start()
        assert reply.result().status_code == 200
    assert server.service.health.draining
    assert registry.hooked.closed.is_set()


@pytest.mark.full
def test_a_child_that_is_killed_costs_one_request_at_most(shelf_dir):
    registry = Registry()
    with start(shelf_dir, registry) as server:
        first = answer_of(server.fuse(body(target="brian2")))
        assert first["windows"] == answer_of(server.fuse(body()))["windows"]
        pid = registry.backend("brian2")._host.pid
        os.kill(pid, signal.SIGKILL)
        again = server.fuse(body(target="brian2"))
        assert again.status_code in (200, 502)
        assert answer_of(server.fuse(body(target="brian2"))) == first
        restarted = partial(server.metric, "snn_fusion_backend_restarts_total", target="brian2")
        until(lambda: restarted() == 1)
        last = registry.backend("brian2")._host.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


@pytest.mark.full
@pytest.mark.parametrize("target", ["brian2", "loihi-lava"])
def test_a_child_that_hangs_is_killed_at_the_deadline(shelf_dir, target):
    registry = Registry()
    if target == "loihi-lava":
        installed()
    with start(shelf_dir, registry) as server:
        asked = body(target=target, quantise=target == "loihi-lava")
        first = answer_of(server.fuse(asked))
        backend = registry.backend(target)
        host = backend._host if target == "brian2" else backend._children._hosts[-1]()
        hung = host.pid
        os.kill(hung, signal.SIGSTOP)
        late = server.fuse({**asked, "deadline_s": 3})
        refused(late, 504, "within 3 s")
        assert answer_of(server.fuse(body())), "another target is not concerned"
        until(lambda: not alive(hung))
        assert answer_of(server.fuse(asked)) == first
        assert host.pid != hung


def alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
