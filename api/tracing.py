"""Traces of requests by OpenTelemetry, where the environment asks for them.

They are on if OpenTelemetry's own variables set an endpoint, and need `snn-fusion[otel]`. Stages
are told when they are over, with the times that were measured. Without an endpoint nothing of it
is imported here, and a request pays a few looks at a variable.
"""

import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.types import Scope

from api.settings import InvalidSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PARENTS = frozenset((b"traceparent", b"tracestate"))
"""Headers of the W3C that tell what a request is a part of."""


def make_tracing(environ: Mapping[str, str] = os.environ) -> "Tracing | None":
    """Return what traces requests, None if the environment asks for no traces.

    Raises:
        InvalidSettings: if it does, and `snn-fusion[otel]` is not installed.
    """
    endpoint = next((name for name in ENDPOINTS if environ.get(name)), None)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise InvalidSettings(f"{endpoint}: traces need pip install 'snn-fusion[otel]'")
    return Tracing(_provider(environ))


class Tracing:
    """Makes the traces of requests.

    Args:
        provider: where spans go.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415 (only where traces are wanted)
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._api = trace
        self._tracer = provider.get_tracer("snn_fusion", version("snn-fusion"))
        self._propagator = TraceContextTextMapPropagator()
        # Spans have times since the epoch, requests those of `perf_counter`.
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()

    def begin(self, scope: Scope, request_id: str, started: float) -> "Trace":
        """Return the trace of a request that arrived at a moment of `time.perf_counter`."""
        sent = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in PARENTS
        }
        span = self._tracer.start_span(
            scope["method"],
            self._propagator.extract(sent),
            self._api.SpanKind.SERVER,
            {"http.request.method": scope["method"], "snn_fusion.request_id": request_id},
            start_time=self.ns(started),
        )
        return Trace(self, span)

    def stage(self, parent: "Span", name: str, begun: float, ended: float) -> None:
        """Tell of a stage of a request that is over."""
        context = self._api.set_span_in_context(parent)
        span = self._tracer.start_span(name, context, start_time=self.ns(begun))
        span.end(self.ns(ended))

    def client(self, parent: "Span", target: str) -> "Span":
        """Return the span of a request to another deployment, which begins now."""
        context = self._api.set_span_in_context(parent)
        kind = self._api.SpanKind.CLIENT
        return self._tracer.start_span("forward", context, kind, {"snn_fusion.target": target})

    def headers(self, span: "Span") -> list[tuple[str, str]]:
        """Return the headers that make a request to another deployment a part of a span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._api.set_span_in_context(span))
        return list(carrier.items())

    def ns(self, moment: float) -> int:
        """Return a moment of `time.perf_counter` in nanoseconds since the epoch."""
        return self._epoch_ns + round(moment * 1e9)

    def failed(self, span: "Span") -> None:
        """Mark a span as one that ended with an error of the service."""
        span.set_status(self._api.StatusCode.ERROR)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


class Trace:
    """The trace of one request.

    Args:
        tracing: what makes spans.
        span: the request's own.
    """

    def __init__(self, tracing: Tracing, span: "Span") -> None:
        self._tracing = tracing
        self._span = span
        self._last = 0.0

    @property
    def trace_id(self) -> str:
        """The trace's id, for log lines."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def stage(self, name: str, begun: float, ended: float) -> None:
        """Tell of a stage that is over; both moments on the clock of `time.perf_counter`."""
        self._tracing.stage(self._span, name, begun, ended)
        self._last = ended

    def waited(self, until: float) -> None:
        """Tell that the request has waited for its target since the last stage."""
        self.stage("queue", self._last, until)

    def forward(self, target: str) -> "Forwarded":
        """Return the stage of a request that is sent on; it begins now."""
        return Forwarded(self._tracing, self._tracing.client(self._span, target))

    def place(self, model: str | None, target: str | None) -> None:
        """Tell what runs where."""
        known = {"snn_fusion.model": model, "snn_fusion.target": target}
        self._span.set_attributes({k: v for k, v in known.items() if v is not None})

    def end(self, method: str, route: str, status: int) -> None:
        """Tell of the whole request, which is answered."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            self._tracing.failed(self._span)
        self._span.end()


class Forwarded:
    """The stage of a request that is sent to another deployment.

    Args:
        tracing: what makes spans.
        span: the stage's.
    """

    def __init__(self, tracing: Tracing, span: "Span") -> None:
        self._tracing = tracing
        self._span = span
        self.headers = tracing.headers(span)

    def end(self, way: str) -> None:
        """Tell what became of it."""
        self._span.set_attribute("snn_fusion.outcome", way)
        if way != "answered":
            self._tracing.failed(self._span)
        self._span.end()


def _provider(environ: Mapping[str, str]) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "snn-fusion"}
    provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
