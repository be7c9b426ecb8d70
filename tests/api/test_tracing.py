"""Traces, received over OTLP by a real HTTP server, as a collector would."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.api_models import body
from support.api_server import running, tensor

from api.settings import InvalidSettings, load_settings
from api.tracing import make_tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps every span that it is sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans = []

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = ExportTraceServiceRequest()
        sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for part in sent.resource_spans:
            for scope in part.scope_spans:
                self.server.spans += [(self.path, part.resource, span) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


@contextmanager
def collecting():
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


@pytest.fixture
def collector(monkeypatch):
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
        yield made


def told(span):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def named(collector, name):
    return [span for _, _, span in collector.spans if span.name == name]


def test_a_request_is_a_part_of_its_caller_s_trace_and_its_stages_of_it(shelf_dir, collector):
    with running(load_settings(models_dir=shelf_dir)) as server:
        server.wait_until_ready()
        server.fuse(body(), traceparent=f"00-{TRACE}-{PARENT}-01")
        server.client.get("/healthz/live")
    assert {path for path, _, _ in collector.spans} == {"/v1/traces"}
    assert {told(resource)["service.name"] for _, resource, _ in collector.spans} == {"snn-fusion"}
    (whole,) = named(collector, "POST /v1/fuse")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    facts = told(whole)
    assert facts["http.response.status_code"] == 200
    assert (facts["snn_fusion.model"], facts["snn_fusion.target"]) == ("listening", "cpu")
    stages = [named(collector, name)[0] for name in ("parse", "queue", "run", "encode")]
    assert len(collector.spans) == 5, "probes have no traces"
    for stage in stages:
        assert stage.parent_span_id == whole.span_id
        assert whole.start_time_unix_nano <= stage.start_time_unix_nano
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano <= whole.end_time_unix_nano
    for before, after in pairwise(stages):
        assert before.end_time_unix_nano <= after.start_time_unix_nano


def test_a_request_that_is_sent_on_is_one_trace_of_both_deployments(shelf_dir, collector):
    with running(load_settings(models_dir=shelf_dir)) as owner:
        owner.wait_until_ready()
        url = str(owner.client.base_url).rstrip("/")
        with running(load_settings(targets=("none",), peers={"cpu": url})) as front:
            front.fuse(body(), traceparent=f"00-{TRACE}-{PARENT}-01")
            front.fuse(body(model="nope"))
    ids = {span.span_id: span for _, _, span in collector.spans if span.trace_id.hex() == TRACE}
    (forward,) = [span for span in ids.values() if span.name == "forward"]
    (there,) = [span for span in ids.values() if span.parent_span_id == forward.span_id]
    here = ids[forward.parent_span_id]
    assert here.name == there.name == "POST /v1/fuse"
    assert here.parent_span_id.hex() == PARENT
    assert told(forward)["snn_fusion.outcome"] == "answered"
    others = {span.trace_id for _, _, span in collector.spans if span.trace_id.hex() != TRACE}
    assert len(others) == 1, "a request without a parent begins a trace of its own"


def test_rasters_have_their_stages_too(shelf_dir, collector):
    with running(load_settings(models_dir=shelf_dir)) as server:
        server.wait_until_ready()
        header, tail = tensor("cam", [0.0] * 160, "<f4")
        header = {**header, "shape": [1, 40, 2, 2]}
        reply = server.send_binary({"inputs": [header]}, tail, "/v2/models/listening/infer")
        assert reply.status_code == 200, reply.text
    (whole,) = named(collector, "POST /v2/models/{model}/infer")
    for name in ("parse", "queue", "run"):
        assert [one.parent_span_id for one in named(collector, name)] == [whole.span_id]


def test_a_failure_of_the_service_is_told_as_one(shelf_dir, collector):
    away = {"numpy": "http://127.0.0.1:9"}
    with running(load_settings(models_dir=shelf_dir, targets=("none",), peers=away)) as front:
        assert front.fuse(body()).status_code == 503
        assert front.fuse({"sensors": {}, "unknown": 1}).status_code == 422
    by_status = {
        told(span)["http.response.status_code"]: span.status.code
        for span in named(collector, "POST /v1/fuse")
    }
    assert by_status == {503: 2, 422: 0}
    (forward,) = named(collector, "forward")
    assert told(forward)["snn_fusion.outcome"] == "away"


def test_a_collector_that_is_gone_costs_no_request_anything(shelf_dir, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with running(load_settings(models_dir=shelf_dir)) as server:
        server.wait_until_ready()
        assert server.fuse(body()).status_code == 200


def test_without_an_endpoint_nothing_is_imported():
    code = (
        "import sys; from api.tracing import make_tracing; import api.app; "
        "assert make_tracing() is None; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.exporter')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout == "[]\n"


def test_traces_can_be_turned_off_and_need_the_extra(monkeypatch):
    asked = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}
    assert make_tracing({**asked, "OTEL_SDK_DISABLED": "true"}) is None
    assert make_tracing({**asked, "OTEL_TRACES_EXPORTER": "none"}) is None
    monkeypatch.setattr("api.tracing.find_spec", lambda _: None)
    with pytest.raises(InvalidSettings, match=r"snn-fusion\[otel\]"):
        make_tracing(asked)
