"""The server as a process of its own, over real HTTP, told to stop by signals."""

import json
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from support.api_models import CAM_EVENTS, body
from support.api_process import process, wait_until_ready
from support.api_server import metric, until


def alive_in_group(group):
    """Return the processes of a process group that still run, zombies apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def assert_gone(group):
    """Multiprocessing's own helper notices the end of its parent a moment later."""
    until(lambda: alive_in_group(group) == [])


def stop(started):
    started.send_signal(signal.SIGTERM)
    _, logged = started.communicate(timeout=60)
    assert_gone(started.pid)
    return [json.loads(line) for line in logged.splitlines()]


def test_one_process_serves_logs_json_and_ends_on_sigterm(shelf_dir):
    with process(shelf_dir) as (started, client):
        wait_until_ready(started, client)
        reply = client.post("/v1/fuse", json=body(), headers={"X-Request-Id": "one"})
        assert reply.status_code == 200
        assert "server" not in reply.headers
        lines = stop(started)
    (line,) = [one for one in lines if one.get("request_id") == "one"]
    assert line["event"] == "request"
    assert line["level"] == "info"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/fuse", 200)
    assert (line["model"], line["target"]) == ("listening", "cpu")
    assert line["duration_ms"] > 0
    assert line["timestamp"]


def test_readiness_ends_before_the_listening_does(shelf_dir):
    with process(shelf_dir, DRAIN_S=3) as (started, client):
        wait_until_ready(started, client)
        started.send_signal(signal.SIGTERM)
        until(lambda: client.get("/healthz/ready").status_code == 503)
        assert client.get("/healthz/ready").json()["reasons"] == ["draining"]
        assert client.post("/v1/fuse", json=body()).status_code == 200
        started.communicate(timeout=60)
        assert_gone(started.pid)


def test_two_processes_share_their_metrics_and_leave_no_orphan(shelf_dir, tmp_path):
    with process(shelf_dir, tmp_path, WORKERS=2) as (started, client):
        wait_until_ready(started, client)
        sent = 0

        def both_have_counted():  # every connection may reach another process
            nonlocal sent
            with httpx.Client(base_url=client.base_url, timeout=60) as another:
                events = {"cam": {"events": CAM_EVENTS}}
                assert another.post("/v1/fuse", json={"sensors": events}).status_code == 200
                sent += 1
                text = another.get("/metrics").text
            # Whichever process is asked knows what all of them did.
            assert metric(text, "snn_fusion_requests_total", route="/v1/fuse") == sent
            spikes = metric(text, "snn_fusion_spikes_processed_total", source="input")
            assert spikes == sent * len(CAM_EVENTS["times_us"])
            assert text.count("snn_fusion_fusion_quality_score{") == 1
            return len(list(folder.glob("histogram_*.db"))) == 2

        (folder,) = tmp_path.glob("snn-fusion-metrics-*")
        until(both_have_counted)
        lines = stop(started)
        assert not folder.exists()
        assert len({line.get("request_id") for line in lines if "route" in line}) >= sent


def test_what_a_killed_worker_counted_stays_and_what_it_held_does_not(shelf_dir, tmp_path):
    with process(shelf_dir, tmp_path, WORKERS=2) as (started, client):
        wait_until_ready(started, client)
        (folder,) = tmp_path.glob("snn-fusion-metrics-*")

        def told(name, **labels):
            with httpx.Client(base_url=client.base_url, timeout=60) as another:
                return metric(another.get("/metrics").text, name, **labels)

        def workers():
            return {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_livesum_*")}

        until(lambda: len(workers()) == 2)
        for _ in range(5):
            assert client.post("/v1/fuse", json=body()).status_code == 200
        assert told("snn_fusion_requests_total", route="/v1/fuse") == 5
        before = workers()
        born = told("snn_fusion_start_time_seconds")
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(workers()) == 2 and workers() != before)
        until(lambda: told("snn_fusion_start_time_seconds") > born)
        assert told("snn_fusion_requests_total", route="/v1/fuse") == 5
        assert told("snn_fusion_max_fds") == 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert told("snn_fusion_pending_requests") == 0
        with httpx.Client(base_url=client.base_url, timeout=60) as another:
            assert another.post("/v1/fuse", json=body()).status_code == 200
        assert told("snn_fusion_requests_total", route="/v1/fuse") == 6
        assert told("snn_fusion_request_duration_seconds_count", route="/v1/fuse") == 6


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"TARGET": "nope"}, "SNN_FUSION_TARGET"), ({"MODEL": "nope"}, "SNN_FUSION_MODEL")],
)
def test_names_that_do_not_exist_stop_the_start(shelf_dir, settings, says):
    with process(shelf_dir, **settings, WORKERS=2) as (started, _):
        _, logged = started.communicate(timeout=60)
        assert started.returncode != 0
        assert says in logged
