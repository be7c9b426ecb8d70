"""Prometheus metrics, observed once per request; right with several worker processes, too."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

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
        self.requests = Counter(
            "snn_fusion_requests_total",
            "Requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.duration = _histogram(
            "request_duration_seconds", "From first byte to reply.", ("route",), registry
        )
        self.run_seconds = _histogram(
            "run_seconds", "Time in the engine alone.", ("model", "target"), registry
        )
        self.queue_seconds = _histogram(
            "queue_seconds", "Time a request waited for its target.", ("target",), registry
        )
        self.spikes = Counter(
            "snn_fusion_spikes_processed_total",
            "Spikes: sensor events that drove a network (input) and its neurons' (network).",
            ("model", "target", "source"),
            registry=registry,
        )
        self.synaptic_events = Counter(
            "snn_fusion_synaptic_events_total",
            "Synapses that carried activity.",
            ("model", "target"),
            registry=registry,
        )
        self.outside_events = Counter(
            "snn_fusion_outside_window_events_total",
            "Events that lay behind the end of the window and were not used.",
            ("model", "sensor"),
            registry=registry,
        )
        self.pending = Gauge(
            "snn_fusion_pending_requests",
            "Requests that wait for or run on a target.",
            ("target",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._gauges = {
            part: Gauge(
                f"snn_fusion_fusion_quality_{part}",
                f"Exponential average of the fused answers' {part}.",
                ("model", "target"),
                registry=registry,
                multiprocess_mode="mostrecent",
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


def _histogram(
    name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry
) -> Histogram:
    return Histogram(f"snn_fusion_{name}", text, labels, buckets=BUCKETS_S, registry=registry)


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
