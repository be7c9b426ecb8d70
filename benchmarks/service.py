"""What the service costs around the engine: latency, throughput, memory, one worker and two.

A server process of its own answers requests for the network `fusion`: 7,000 events of three
sensors, binary and JSON, over loopback, with keys, production logs and metrics on. The load comes
from this process and shares the machine's cores with the service.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.access.keys import hash_of, new_key
from benchmarks import load
from benchmarks.fusion_model import write_model
from benchmarks.networks import FUSION_LINES

EVENTS = {"audio": 4220, "camera": 2480, "imu": 300}
"""Sensor → events in a request."""

SLOW_REQUESTS = 200

HOST, READY_S = "127.0.0.1", 120.0

_KEY_ID, _KEY = new_key()


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What was measured; milliseconds seen by the client, MiB of the worker processes.

    Attributes:
        target: where the requests ran.
        ready_s: from the start of the process to the first ready probe.
        idle_rss_mib: memory when it was ready.
        p50_ms: median of binary requests sent one after the other.
        p95_ms: their 95th percentile.
        server_p50_ms: their median as the service's log has it, without reading and writing HTTP.
        server_p95_ms: their 95th percentile there.
        json_p50_ms: the same of JSON requests.
        cpu_ms: processor time of the service for a binary request, at its full rate.
        engine_p50_ms: what replies to binary requests say of the time in the engine.
        requests_per_s: binary requests answered with eight under way.
        half_load_p95_ms: 95th percentile at half that rate, arriving at random.
        slow_p95_ms: 95th percentile of requests that run on `numpy`, one after the other.
        slow_server_p95_ms: the same, as the service's log has it.
        two_workers_per_s: as `requests_per_s`, of two workers.
        rss_growth_mib: memory after `growth_requests` more requests, less that before.
        growth_requests: how many.
    """

    target: str
    ready_s: float
    idle_rss_mib: float
    p50_ms: float
    p95_ms: float
    server_p50_ms: float
    server_p95_ms: float
    json_p50_ms: float
    cpu_ms: float
    engine_p50_ms: float
    requests_per_s: float
    half_load_p95_ms: float
    slow_p95_ms: float
    slow_server_p95_ms: float
    two_workers_per_s: float
    rss_growth_mib: float
    growth_requests: int


def measure(target: str, *, requests: int, growth_requests: int) -> ServiceFigures:
    """Start the service and measure it; takes about a minute and a half at the default sizes."""
    with tempfile.TemporaryDirectory(prefix="snn-fusion-benchmark-") as folder:
        shelf = Path(folder)
        write_model(shelf)
        binary = [binary_request(seed) for seed in range(8)]
        with serving(shelf, target, workers=1) as one:
            idle = one.rss_mib()
            port = one.port
            load.one_after_the_other(HOST, port, binary, requests // 10 + 1)
            logged = one.log.stat().st_size
            alone = load.one_after_the_other(HOST, port, binary, requests)
            served_ms = one.logged_ms(logged)
            texts = [_json_request(seed) for seed in range(8)]
            as_json = load.one_after_the_other(HOST, port, texts, requests)
            engine = [_run_ms(load.ask(HOST, port, binary[n % 8])) for n in range(101)]
            spent_s = one.cpu_s()
            full = load.in_parallel(HOST, port, binary, 2 * requests, connections=8)
            spent_s = one.cpu_s() - spent_s
            rate = full.requests_per_s / 2
            half = load.at_rate(HOST, port, binary, requests, per_s=rate)
            slow_ones = [binary_request(seed, "numpy") for seed in range(8)]
            logged = one.log.stat().st_size
            slow = load.one_after_the_other(HOST, port, slow_ones, SLOW_REQUESTS)
            slow_served_ms = one.logged_ms(logged)
            before = one.rss_mib()
            load.in_parallel(HOST, port, binary, growth_requests, connections=8)
            growth = one.rss_mib() - before
        with serving(shelf, target, workers=2) as two:
            load.in_parallel(HOST, two.port, binary, requests // 5 + 1, connections=8)
            both = load.in_parallel(HOST, two.port, binary, 2 * requests, connections=16)
    return ServiceFigures(
        target=target,
        ready_s=one.ready_s,
        idle_rss_mib=idle,
        p50_ms=alone.percentile_ms(50),
        p95_ms=alone.percentile_ms(95),
        server_p50_ms=float(np.percentile(served_ms, 50)),
        server_p95_ms=float(np.percentile(served_ms, 95)),
        json_p50_ms=as_json.percentile_ms(50),
        cpu_ms=spent_s / (2 * requests) * 1e3,
        engine_p50_ms=float(np.median(engine)),
        requests_per_s=full.requests_per_s,
        half_load_p95_ms=half.percentile_ms(95),
        slow_p95_ms=slow.percentile_ms(95),
        slow_server_p95_ms=float(np.percentile(slow_served_ms, 95)),
        two_workers_per_s=both.requests_per_s,
        rss_growth_mib=growth,
        growth_requests=growth_requests,
    )


def report(figures: ServiceFigures, *, as_json: bool) -> str:
    """Return the figures as one line of JSON, or as a table for people."""
    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }
    if as_json:
        return json.dumps(rounded)
    return "\n".join(f"{name:20} {value}" for name, value in rounded.items())


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready, on a port, its log, and how long that took."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    ready_s: float

    def logged_ms(self, begin: int) -> list[float]:
        """Return what the log's lines behind a byte say that requests took."""
        lines = self.log.read_bytes()[begin:].splitlines()
        return [json.loads(line)["duration_ms"] for line in lines if b'"/v1/fuse"' in line]

    def rss_mib(self) -> float:
        """Return the memory of the process and its children."""
        return sum(_rss_kib(pid) for pid in _family(self.process.pid)) / 1024

    def cpu_s(self) -> float:
        """Return the processor time of the process and its children until now."""
        return sum(_cpu_s(pid) for pid in _family(self.process.pid))


@contextlib.contextmanager
def serving(shelf: Path, target: str, *, workers: int, cache_ttl_s: int = 0) -> Iterator[Server]:
    """Run the service as a deployment does, its log going to a file; stop it at the end.

    By default it keeps no answers, for requests that repeat are measured here as if they did not.
    """
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "ENV": "production",
        "KEYS_FILE": str(_write_keys(shelf)),
        "HOST": HOST,
        "PORT": str(port),
        "TARGET": target,
        "WORKERS": str(workers),
        "MODELS_DIR": str(shelf),
        "DATA_DIR": str(shelf / "data"),
        "CACHE_TTL_S": str(cache_ttl_s),
    }
    environment = {f"SNN_FUSION_{name}": value for name, value in settings.items()}
    with (shelf / "server.log").open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve"],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
            stderr=log,
        )
        try:
            _wait_until_ready(process, port, shelf / "server.log")
            yield Server(process, port, shelf / "server.log", time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait()


def _write_keys(folder: Path) -> Path:
    path = folder / "keys.yaml"
    entry = {"id": _KEY_ID, "name": "load", "hash": hash_of(_KEY), "scopes": ["fuse"]}
    path.write_text(json.dumps({"keys": [entry]}))  # JSON is YAML
    path.chmod(0o600)
    return path


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + READY_S
    probe = b"GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        with contextlib.suppress(OSError, load.Refused):
            load.ask(HOST, port, probe)
            return
        time.sleep(0.01)
    raise RuntimeError(f"the service was not ready within {READY_S:g} s")


def _family(pid: int) -> Sequence[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def _events(seed: int) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Return sensor → times in microseconds, ascending, and channels."""
    rng = np.random.default_rng(seed)
    return {
        sensor: (
            np.sort(rng.integers(0, 100_000, number)),
            rng.integers(0, FUSION_LINES[sensor], number, np.int32),
        )
        for sensor, number in EVENTS.items()
    }


def binary_request(seed: int, target: str | None = None) -> bytes:
    """Return a fuse request of 7,000 events, another for each seed; no target is the default."""
    inputs: list[dict[str, Any]] = []
    tail = b""
    for sensor, (times, channels) in _events(seed).items():
        for part, values, datatype in (
            ("times_us", times, "INT64"),
            ("channels", channels, "INT32"),
        ):
            inputs.append(
                {
                    "name": f"{sensor}.{part}",
                    "datatype": datatype,
                    "shape": [values.size],
                    "parameters": {"binary_data_size": values.nbytes},
                }
            )
            tail += values.tobytes()
    header = json.dumps({"inputs": inputs, "target": target}).encode()
    return load.request_bytes(
        "/v1/fuse",
        header + tail,
        Content_Type="application/octet-stream",
        X_API_Key=_KEY,
        Inference_Header_Content_Length=str(len(header)),
    )


def _json_request(seed: int) -> bytes:
    sensors = {
        sensor: {"events": {"times_us": times.tolist(), "channels": channels.tolist()}}
        for sensor, (times, channels) in _events(seed).items()
    }
    body = json.dumps({"sensors": sensors}, separators=(",", ":")).encode()
    return load.request_bytes("/v1/fuse", body, Content_Type="application/json", X_API_Key=_KEY)


def _run_ms(reply: bytes) -> float:
    return float(json.loads(reply)["timing"]["run_s"]) * 1e3
