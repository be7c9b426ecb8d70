"""Write Grafana's dashboards: `make_dashboards.py`, after a change below; a test compares.

Each dashboard is rows of panels; a panel is a title, a unit and queries with their legends.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
HEIGHT = 8


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        unit: Grafana's name of the unit.
        queries: legend → PromQL.
        limit: where an alert would fire, drawn as a line.
        kind: Grafana's kind of panel.
    """

    title: str
    unit: str
    queries: dict[str, str]
    limit: float | None = None
    kind: str = "timeseries"


def quantile(share: float, metric: str, labels: str = "", by: str = "") -> str:
    """Return the query of a quantile of a histogram of the service."""
    grouped = f"le, {by}" if by else "le"
    rate = f"rate(snn_fusion_{metric}_bucket{{{labels}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({grouped}) ({rate}))"


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Return the query of a counter's rate."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate(snn_fusion_{metric}_total{{{labels}}}[$__rate_interval]))"


FUSE = 'route="/v1/fuse"'
NO_PROBES = 'route!~"/healthz/.*|/v2/health/.*"'
FAILED = f'status=~"5..",{NO_PROBES}'
SERVICE = [
    [
        Panel(
            "Latency of fuse requests",
            "s",
            {
                "p50": quantile(0.5, "request_duration_seconds", FUSE),
                "p95": quantile(0.95, "request_duration_seconds", FUSE),
                "p99": quantile(0.99, "request_duration_seconds", FUSE),
            },
            0.010,
        ),
        Panel("Requests", "reqps", {"{{route}} {{status}}": rate("requests", "route, status")}),
        Panel(
            "Share of requests that fail",
            "percentunit",
            {
                "errors": f"({rate('requests', labels=FAILED)} or vector(0))"
                f" / {rate('requests', labels=NO_PROBES)}"
            },
            0.05,
        ),
    ],
    [
        Panel(
            "Memory of its limit",
            "percentunit",
            {"{{instance}}": "snn_fusion_memory_usage_bytes / snn_fusion_memory_limit_bytes"},
            0.80,
        ),
        Panel("Memory in use", "bytes", {"{{instance}}": "snn_fusion_memory_usage_bytes"}),
        Panel(
            "Lateness of the event loop, p99",
            "s",
            {"p99": quantile(0.99, "event_loop_lag_seconds")},
        ),
    ],
    [
        Panel("Processes reach Redis", "bool_yes_no", {"{{instance}}": "snn_fusion_redis_up"}),
        Panel("Failed calls of Redis", "cps", {"{{kind}}": rate("redis_errors", "kind")}),
        Panel("Requests refused", "reqps", {"{{reason}}": rate("refused", "reason")}),
    ],
    [
        Panel(
            "File descriptors of those allowed",
            "percentunit",
            {"{{instance}}": "snn_fusion_open_fds / snn_fusion_max_fds"},
        ),
        Panel(
            "Age of the newest process",
            "s",
            {"{{instance}}": "time() - snn_fusion_start_time_seconds"},
        ),
        Panel("Connections cut", "cps", {"{{why}}": rate("cut_connections", "why")}),
    ],
    [
        Panel(
            "Models and their programs in memory",
            "bytes",
            {"{{instance}}": "snn_fusion_models_memory_bytes"},
        ),
        Panel("Models that made room for others", "cps", {"evicted": rate("models_evicted")}),
        Panel("Failed looks at the store", "cps", {"failed": rate("store_failures")}),
    ],
]
TARGETS = [
    [
        Panel(
            "Wait for a target, p95",
            "s",
            {"{{target}}": quantile(0.95, "queue_seconds", by="target")},
            1.0,
        ),
        Panel(
            "Run in the engine, p95",
            "s",
            {"{{model}} {{target}}": quantile(0.95, "run_seconds", by="model, target")},
        ),
        Panel(
            "Requests waiting or running",
            "short",
            {"{{target}}": "sum by (target) (snn_fusion_pending_requests)"},
        ),
    ],
    [
        Panel(
            "Requests that share a run, mean",
            "short",
            {
                "{{target}}": "sum by (target) (rate(snn_fusion_batch_size_sum[$__rate_interval]))"
                " / sum by (target) (rate(snn_fusion_batch_size_count[$__rate_interval]))"
            },
        ),
        Panel("Engines started anew", "cps", {"{{target}}": rate("backend_restarts", "target")}),
        Panel(
            "Synaptic events",
            "cps",
            {"{{model}} {{target}}": rate("synaptic_events", "model, target")},
        ),
    ],
    [
        Panel("Spikes", "cps", {"{{model}} {{source}}": rate("spikes_processed", "model, source")}),
        Panel(
            "Fusion quality",
            "percentunit",
            {"{{model}} {{target}}": "snn_fusion_fusion_quality_score"},
        ),
        Panel(
            "Its parts",
            "percentunit",
            {
                f"{part} {{{{model}}}} {{{{target}}}}": f"snn_fusion_fusion_quality_{part}"
                for part in ("certainty", "conflict", "coverage")
            },
        ),
    ],
    [
        Panel(
            "Events behind a window's end",
            "cps",
            {"{{model}} {{sensor}}": rate("dropped_events", "model, sensor")},
        ),
        Panel("Shadow runs", "cps", {"{{shadow}} {{verdict}}": rate("shadow", "shadow, verdict")}),
        Panel(
            "Bins in which the shadow differed",
            "cps",
            {"{{shadow}}": rate("shadow_mismatched_bins", "shadow")},
        ),
    ],
]
DASHBOARDS = {"snn-fusion-service": SERVICE, "snn-fusion-targets": TARGETS}


def panel_json(panel: Panel, number: int, row: int, column: int, columns: int) -> dict[str, Any]:
    """Return a panel as Grafana reads it."""
    width = 24 // columns
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    custom = {"fillOpacity": 10, "thresholdsStyle": {"mode": "line" if len(steps) > 1 else "off"}}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": legend,
        }
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": width, "x": width * column, "y": HEIGHT * row},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": targets,
    }


def dashboard_json(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    rows = DASHBOARDS[name]
    panels = []
    for row, across in enumerate(rows):
        for column, panel in enumerate(across):
            panels.append(panel_json(panel, len(panels) + 1, row, column, len(across)))
    variable = {
        "name": "source",
        "type": "datasource",
        "query": "prometheus",
        "label": "Prometheus",
    }
    return {
        "uid": name,
        "title": name.replace("snn-fusion-", "SNN Fusion: "),
        "tags": ["snn-fusion"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "annotations": {"list": []},
        "panels": panels,
    }


def written(name: str) -> str:
    """Return a dashboard's file."""
    return json.dumps(dashboard_json(name), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard}.json").write_text(written(dashboard))
