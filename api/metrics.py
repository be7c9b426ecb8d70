"""Prometheus metrics, observed once per request; right with several worker processes, too."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from api.memory import MemoryCollector
from api.metrics_files import MULTIPROCESS_DIR
from backends.fuse import FusedAnswer
from fusion.quality import Quality

BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
REQUEST_BUCKETS_S = tuple(sorted({*BUCKETS_S, *(round(0.0003 * 1.19**n, 6) for n in range(36))}))
"""At most a fifth apart from 0.3 to 120 ms, where a percentile of requests is to be read."""
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
Mode = Literal["livesum", "livemax", "livemin", "mostrecent"]
"""How a gauge's values of several processes become one."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MEMORY = 0.9
"""Weight of the past in the exponential average of the quality."""


class Metrics:
    """The service's metrics; label values are only names that the service itself knows.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = Lock()
        # Finding a metric by its labels takes longer than counting with it.
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        make = _Maker(registry)
        place = ("model", "target")
        self.requests = make.counter("requests", "Requests answered", "route", "method", "status")
        self.duration = make.histogram(
            "request_duration_seconds",
            "From first byte to reply",
            "route",
            buckets=REQUEST_BUCKETS_S,
        )
        self.run_seconds = make.histogram("run_seconds", "Time in the engine alone", *place)
        self.queue_seconds = make.histogram("queue_seconds", "Time waited for the target", "target")
        self.batch_size = make.histogram(
            "batch_size", "Requests that shared a run", "target", buckets=BATCH_SIZES
        )
        self._batches = cache(self.batch_size.labels)
        self.spikes = make.counter(
            "spikes_processed",
            "Sensor events that drove a network (input), and its neurons' spikes (network)",
            *(*place, "source"),
        )
        self.synaptic_events = make.counter(
            "synaptic_events", "Synapses that carried activity", *place
        )
        self.dropped_events = make.counter(
            "dropped_events", "Sensor events behind the window's end", "model", "sensor"
        )
        self.restarts = make.counter(
            "backend_restarts",
            "Child processes that took the place of one that broke off",
            "target",
        )
        shadowed = (*place, "shadow")
        self.shadow = make.counter(
            "shadow", "Live requests run again on the shadow target", *shadowed, "verdict"
        )
        self.shadow_mismatched = make.counter(
            "shadow_mismatched_bins", "Bins in which the shadow target differed", *shadowed
        )
        self.shadow_dropped = make.counter(
            "shadow_dropped", "Sampled requests not run again because the shadow was busy"
        )
        self.cut_connections = make.counter(
            "cut_connections", "Connections ended because of a limit, by what exceeded it", "why"
        )
        self.cache = make.counter(
            "cache",
            "Requests of models that take long: hit, miss, bypass, error",
            *place,
            "outcome",
        )
        self.redis_up = make.gauge(
            "redis_up", "1 while every worker process can use Redis", "livemin"
        )
        self.redis_errors = make.counter(
            "redis_errors",
            "Calls of Redis that failed: late, connection, refused, response",
            "kind",
        )
        self.pending = make.gauge(
            "pending_requests", "Requests that wait for or run on a target", "livesum", "target"
        )
        self.forwarded = make.counter(
            "forwarded", "Requests for targets of other deployments", "target", "outcome"
        )
        self.owner_up = make.gauge(
            "owner_up", "Whether the deployment that owns a target answers", "livemin", "target"
        )
        self.models_loaded = make.gauge("models_loaded", "Models in memory", "livesum")
        self.models_memory = make.gauge(
            "models_memory_bytes", "What models and their programs hold in memory", "livesum"
        )
        self.models_evicted = make.counter(
            "models_evicted", "Models that left the memory to make room"
        )
        self.store_failures = make.counter(
            "store_failures", "Looks at the store of models that failed"
        )
        self.loop_lag = make.histogram(
            "event_loop_lag_seconds", "How late the event loop was to wake up a sleeper"
        )
        self.open_fds = make.gauge("open_fds", "Open file descriptors", "livesum")
        self.max_fds = make.gauge("max_fds", "File descriptors that may be open", "livesum")
        self.resident = make.gauge("resident_memory_bytes", "Resident memory", "livesum")
        self.start_time = make.gauge(
            "start_time_seconds", "When the newest process started, since the epoch", "livemax"
        )
        registry.register(MemoryCollector())
        self.refused = make.counter(
            "refused", "Requests refused for want of a key, a scope or an allowance", "reason"
        )
        self.key_reloads = make.counter("key_reloads", "Changes of the keys' file", "outcome")
        self.keys_file_broken = make.gauge(
            "keys_file_broken", "Processes that cannot use the keys' file as it is now", "livesum"
        )
        self.audit_failures = make.counter(
            "audit_failures", "Lines that could not be written to the audit log's file"
        )
        self.quality_gauges = {
            part: make.gauge(
                f"fusion_quality_{part}",
                f"Exponential average of the fused answers' {part}",
                "mostrecent",
                *place,
            )
            for part in ("score", "certainty", "conflict", "coverage")
        }

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in METHODS else "other"
        key = (route, method, status)
        if key not in self._routes:
            counter = self.requests.labels(route, method, str(status))
            self._routes[key] = counter, self.duration.labels(route)
        counter, histogram = self._routes[key]
        counter.inc()
        histogram.observe(seconds)

    def observe_answer(self, model: str, target: str, answer: FusedAnswer, queue_s: float) -> None:
        """Count one fused answer, and the seconds that it waited for the target."""
        place = self._place(model, target)
        for window in answer.windows:
            self._observe_quality(window.quality, place)
            place.events.inc(sum(report.events for report in window.reports.values()))
            for sensor, report in window.reports.items():
                dropped = place.dropped(sensor)  # so that there is one, if only of none
                if report.outside:
                    dropped.inc(report.outside)
        place.spikes.inc(sum(answer.counts.spikes.values()))
        place.synaptic_events.inc(answer.counts.synaptic_events)
        place.run_seconds.observe(answer.run_s)
        place.queue_seconds.observe(queue_s)

    def observe_batch(self, target: str, size: int) -> None:
        """Count a run by the number of requests that share it."""
        self._batches(target).observe(size)

    def cut(self, why: str) -> None:
        """Count a connection that was ended because of a limit."""
        self.cut_connections.labels(why).inc()

    def _place(self, model: str, target: str) -> "_Place":
        if (model, target) not in self._places:
            self._places[model, target] = _Place(
                self.spikes.labels(model, target, "input"),
                self.spikes.labels(model, target, "network"),
                self.synaptic_events.labels(model, target),
                self.run_seconds.labels(model, target),
                self.queue_seconds.labels(target),
                [gauge.labels(model, target) for gauge in self.quality_gauges.values()],
                [],
                cache(partial(self.dropped_events.labels, model)),
            )
        return self._places[model, target]

    def _observe_quality(self, quality: Quality, place: "_Place") -> None:
        now = quality.score, quality.certainty, quality.conflict, quality.coverage
        with self._lock:
            mean = place.mean
            if mean:
                pairs = zip(mean, now, strict=True)
                mean[:] = [MEMORY * old + (1 - MEMORY) * new for old, new in pairs]
            else:
                mean.extend(now)
            for gauge, value in zip(place.quality, mean, strict=True):
                gauge.set(value)

    def exposition(self) -> bytes:
        """Return the metrics of all worker processes as Prometheus text."""
        folder = os.environ.get(MULTIPROCESS_DIR)
        if folder is None:
            return generate_latest(self._registry)
        every = CollectorRegistry()
        MultiProcessCollector(every, folder)  # type: ignore[no-untyped-call]
        every.register(MemoryCollector())
        return generate_latest(every)


@dataclass(frozen=True, slots=True)
class _Place:
    """The metrics of one model on one target; `mean` is the quality's, of nothing yet if empty."""

    events: Counter
    spikes: Counter
    synaptic_events: Counter
    run_seconds: Histogram
    queue_seconds: Histogram
    quality: Sequence[Gauge]
    mean: list[float]
    dropped: Callable[[str], Counter]


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes metrics of one registry, all under one prefix."""

    registry: CollectorRegistry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"snn_fusion_{name}_total", text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = BUCKETS_S
    ) -> Histogram:
        name = f"snn_fusion_{name}"
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, text: str, mode: Mode, *labels: str) -> Gauge:
        name = f"snn_fusion_{name}"
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)
