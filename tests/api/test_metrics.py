import time
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from support.api_models import CAM_EVENTS, body
from support.api_server import running, until

from api.metrics import REQUEST_BUCKETS_S
from api.settings import load_settings


@pytest.fixture(scope="module")
def fresh(shelf_dir):
    """A server whose metrics only this file's tests move."""
    registry = CollectorRegistry()
    with running(load_settings(models_dir=shelf_dir), metrics_registry=registry) as server:
        server.wait_until_ready()
        yield server


def test_the_promised_names_are_there_before_and_after_the_first_request(shelf_dir):
    with running(load_settings(models_dir=shelf_dir)) as server:
        text = server.client.get("/metrics").text
        for name in ("requests_total", "request_duration_seconds", "spikes_processed_total"):
            assert f"snn_fusion_{name}" in text
        assert "snn_fusion_fusion_quality_score{" not in text, "absent before the first result"
        quality = server.fuse(body()).json()["windows"][0]["quality"]
        for part, value in quality.items():
            shown = server.metric(
                f"snn_fusion_fusion_quality_{part}", model="listening", target="cpu"
            )
            assert shown == pytest.approx(value)


def test_quality_is_an_exponential_average(fresh):
    def score(sent):
        return fresh.fuse(sent).json()["windows"][0]["quality"]["score"]

    name = "snn_fusion_fusion_quality_score"
    score(body())
    before = fresh.metric(name)
    one = score({"sensors": {"cam": {"sample": "one"}}})
    assert fresh.metric(name) == pytest.approx(0.9 * before + 0.1 * one)


def test_requests_and_durations_are_counted_by_route_and_status(fresh):
    def seen(status):
        return fresh.metric(
            "snn_fusion_requests_total", route="/v1/fuse", method="POST", status=status
        )

    good, bad = seen("200"), seen("422")
    timed = fresh.metric("snn_fusion_request_duration_seconds_count", route="/v1/fuse")
    fresh.fuse(body())
    fresh.fuse({})
    assert (seen("200"), seen("422")) == (good + 1, bad + 1)
    later = fresh.metric("snn_fusion_request_duration_seconds_count", route="/v1/fuse")
    assert later == timed + 2


def test_spikes_are_counted_by_where_they_came_from(fresh):
    def seen(source):
        return fresh.metric("snn_fusion_spikes_processed_total", source=source, model="listening")

    into, inside = seen("input"), seen("network")
    reply = fresh.fuse({"sensors": {"cam": {"events": CAM_EVENTS}}}).json()
    assert seen("input") == into + len(CAM_EVENTS["times_us"])
    assert seen("network") == inside + sum(reply["counts"]["spikes"].values())


def test_a_p95_of_ten_milliseconds_can_be_read(fresh):
    text = fresh.client.get("/metrics").text
    for edge in ("0.0005", "0.001", "0.002", "0.003", "0.005", "0.0075", "0.01", "0.015", "0.025"):
        assert f'snn_fusion_request_duration_seconds_bucket{{le="{edge}"' in text
    assert 'le="60.0"' in text


def test_durations_are_told_to_a_fifth_from_a_third_of_a_millisecond_to_an_eighth_of_a_second():
    edges = [edge for edge in REQUEST_BUCKETS_S if 0.0003 <= edge <= 0.12]
    assert all(after <= 1.2 * before for before, after in pairwise(edges))


def test_events_behind_the_window_are_counted_by_sensor(fresh):
    def seen():
        return fresh.metric("snn_fusion_dropped_events_total", model="listening", sensor="cam")

    before = seen()
    late = {"times_us": [1000, 300_000, 400_000], "channels": [0, 1, 2]}
    fresh.fuse({"sensors": {"cam": {"events": late}}})
    assert seen() == before + 2


def test_the_process_tells_of_itself(fresh):
    until(lambda: fresh.metric("snn_fusion_event_loop_lag_seconds_count") > 0)
    assert 0 < fresh.metric("snn_fusion_open_fds") < fresh.metric("snn_fusion_max_fds")
    assert fresh.metric("snn_fusion_resident_memory_bytes") > 2**20
    assert 1.7e9 < fresh.metric("snn_fusion_start_time_seconds") <= time.time()
    assert (
        'snn_fusion_backend_restarts_total{target="brian2"} 0.0'
        in fresh.client.get("/metrics").text
    )


def test_what_callers_make_up_never_becomes_a_label(fresh):
    for n in range(3):
        fresh.fuse(body(model=f"made-up-{n}"))
        fresh.fuse(body(target=f"made-up-{n}"))
        fresh.fuse({"sensors": {f"made-up-{n}": {"sample": "one"}}})
        fresh.client.get(f"/made-up-{n}")
        fresh.client.request(f"MADEUP{n}", "/v1/fuse")
    text = fresh.client.get("/metrics").text
    assert "made-up" not in text
    assert "MADEUP" not in text
    assert fresh.metric("snn_fusion_requests_total", route="unmatched") >= 3
    assert list(text_string_to_metric_families(text))
