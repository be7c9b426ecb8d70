"""A front whose peer, a process of its own, is killed, frozen and started again."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.api_models import body
from support.api_process import process, wait_until_ready
from support.api_server import answer_of, free_port, refused, running, until

from api.settings import load_settings


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def front(tmp_path_factory, port):
    peers = {"numpy": f"http://127.0.0.1:{port}"}
    shelf = tmp_path_factory.mktemp("none")
    with running(load_settings(models_dir=shelf, targets=("none",), peers=peers)) as server:
        yield server


@pytest.fixture(scope="module")
def beside(shelf_dir, port):
    """A front that runs `cpu` itself."""
    peers = {"numpy": f"http://127.0.0.1:{port}"}
    with running(load_settings(models_dir=shelf_dir, targets=("cpu",), peers=peers)) as server:
        yield server


def compared(server):
    """Return a comparison's reply, and what it says without the times of its runs."""
    reply = server.client.post("/v1/compare", json=body(targets=["numpy", "cpu"]))
    answer = reply.json()
    for target in answer.get("targets", ()):
        assert target.pop("run_s") > 0
    return reply, answer


def up(front):
    return front.metric("snn_fusion_owner_up", target="numpy") == 1


def outcomes(front, outcome):
    return front.metric("snn_fusion_forwarded_total", outcome=outcome)


def test_a_peer_that_hangs_dies_and_comes_back_costs_what_was_under_way(shelf_dir, front, port):
    with process(shelf_dir, PORT=port, TARGETS="numpy") as (started, client):
        wait_until_ready(started, client)
        until(lambda: front.fuse(body()).status_code == 200)
        answer = answer_of(front.fuse(body()))

        os.killpg(started.pid, signal.SIGSTOP)
        refused(front.fuse(body(deadline_s=0.5)), 504, "within 0.5 s")
        until(lambda: not up(front))
        refused(front.fuse(body(deadline_s=50)), 503, "does not answer, at a loopback address")
        os.killpg(started.pid, signal.SIGCONT)
        until(lambda: up(front))
        assert answer_of(front.fuse(body())) == answer

        os.killpg(started.pid, signal.SIGSTOP)
        broken = outcomes(front, "broken")
        with ThreadPoolExecutor(1) as pool:
            caught = pool.submit(front.fuse, body())
            until(lambda: front.service.owners.of("numpy").under_way == 1)
            os.killpg(started.pid, signal.SIGKILL)
            refused(caught.result(), 502, "broke the connection off")
        assert outcomes(front, "broken") == broken + 1
        started.wait()
        until(lambda: front.fuse(body()).status_code != 502)  # its workers die a moment later
        refused(front.fuse(body()), 503, "numpy")

    with process(shelf_dir, PORT=port, TARGETS="numpy") as (started, client):
        wait_until_ready(started, client)
        until(lambda: up(front))
        assert answer_of(front.fuse(body())) == answer


def test_processes_compare_as_one_does(shelf_dir, beside, port):
    with running(load_settings(models_dir=shelf_dir, targets=("cpu", "numpy"))) as whole:
        expected = compared(whole)[1]
    with process(shelf_dir, PORT=port, TARGETS="numpy") as (started, client):
        wait_until_ready(started, client)
        until(lambda: up(beside))
        assert compared(beside)[1] == expected
        os.killpg(started.pid, signal.SIGSTOP)
        broken = beside.metric("snn_fusion_forwarded_total", outcome="broken")
        with ThreadPoolExecutor(1) as pool:
            caught = pool.submit(compared, beside)
            until(lambda: beside.service.owners.of("numpy").under_way == 1)
            os.killpg(started.pid, signal.SIGKILL)
            refused(caught.result()[0], 502, "'numpy'", "broke the connection off")
        assert beside.metric("snn_fusion_forwarded_total", outcome="broken") == broken + 1
        started.wait()
        until(lambda: compared(beside)[0].status_code != 502)  # its workers die a moment later
        refused(compared(beside)[0], 503, "'numpy'", "at a loopback address")


def test_a_peer_that_drains_loses_no_request(shelf_dir, front, port):
    settings = {"PORT": port, "TARGETS": "numpy", "DRAIN_S": 60, "LOG_LEVEL": "WARNING"}
    with process(shelf_dir, **settings) as (started, client):
        wait_until_ready(started, client)
        until(lambda: up(front))
        asked = {"sensors": {"cam": {"sample": "one"}}}

        def ask(n):
            if n == 20:
                started.send_signal(signal.SIGTERM)
            return front.fuse(asked).status_code

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(ask, range(80))) == {200}
        until(lambda: client.get("/healthz/ready").status_code == 503)
        assert {front.fuse(asked).status_code for _ in range(20)} == {200}
        started.send_signal(signal.SIGTERM)
        assert started.wait() == 0
        refused(front.fuse(asked), 503, "takes no connections, at a loopback address")
