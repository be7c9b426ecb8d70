"""Prometheus metrics, observed once per request; right with several worker processes, too."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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

from fusion.quality import Quality

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""Variable under which prometheus_client finds the files that worker processes share."""

BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
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
        self._quality: dict[tuple[str, str], dict[str, float]] = {}
        make = _Maker(registry)
        place = ("model", "target")
        self.requests = make.counter("requests", "Requests answered", "route", "method", "status")
        self.duration = make.histogram(
            "request_duration_seconds", "From first byte to reply", "route"
        )
        self.run_seconds = make.histogram("run_seconds", "Time in the engine alone", *place)
        self.queue_seconds = make.histogram("queue_seconds", "Time waited for the target", "target")
        self.batch_size = make.histogram(
            "batch_size", "Requests that shared a run", "target", buckets=BATCH_SIZES
        )
        self.spikes = make.counter(
            "spikes_processed",
            "Sensor events that drove a network (input), and its neurons' spikes (network)",
            *(*place, "source"),
        )
        self.synaptic_events = make.counter(
            "synaptic_events", "Synapses that carried activity", *place
        )
        self.outside_events = make.counter(
            "outside_window_events", "Events behind the window's end", "model", "sensor"
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
        self.pending = make.gauge(
            "pending_requests", "Requests that wait for or run on a target", "livesum", "target"
        )
        self._gauges = {
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
        self.requests.labels(route, method, str(status)).inc()
        self.duration.labels(route).observe(seconds)

    def observe_quality(self, model: str, target: str, quality: Quality) -> None:
        """Take one fused answer into the averages."""
        now = {
            "score": quality.score,
            "certainty": quality.certainty,
            "conflict": quality.conflict,
            "coverage": quality.coverage,
        }
        with self._lock:
            past = self._quality.get((model, target), now)
            mean = {part: MEMORY * past[part] + (1 - MEMORY) * now[part] for part in now}
            self._quality[model, target] = mean
            for part, value in mean.items():
                self._gauges[part].labels(model, target).set(value)

    def exposition(self) -> bytes:
        """Return the metrics of all worker processes as Prometheus text."""
        folder = os.environ.get(MULTIPROCESS_DIR)
        if folder is None:
            return generate_latest(self._registry)
        every = CollectorRegistry()
        MultiProcessCollector(every, folder)  # type: ignore[no-untyped-call]
        return generate_latest(every)


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

    def gauge(
        self, name: str, text: str, mode: Literal["livesum", "mostrecent"], *labels: str
    ) -> Gauge:
        name = f"snn_fusion_{name}"
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)


def forget_dead_workers(environ: Mapping[str, str] = os.environ) -> None:
    """Delete the live gauges of worker processes that are gone; counters stay, they did count."""
    folder = environ.get(MULTIPROCESS_DIR)
    for path in _live_files(Path(folder)) if folder else ():
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue


def _live_files(folder: Path) -> Iterable[Path]:
    return [path for path in folder.glob("gauge_live*.db") if re.search(r"_\d+$", path.stem)]
