"""What kept answers save: the network `fusion` over HTTP, asked again and asked anew."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.fusion_model import write_model
from benchmarks.service import HOST, Server, binary_request, serving

REPEATED = 8
"""Requests that are asked again and again."""


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Medians in milliseconds, seen by the client, of requests sent one after the other.

    Attributes:
        target: where the requests run.
        run_ms: a service that keeps no answers.
        hit_ms: a service that keeps them, asked again.
        miss_ms: the same, asked what nobody asked before.
        ratio: run_ms over hit_ms.
    """

    target: str
    run_ms: float
    hit_ms: float
    miss_ms: float
    ratio: float


def measure(target: str, *, requests: int) -> CacheFigures:
    """Start the service twice and measure it."""
    again = [binary_request(seed) for seed in range(REPEATED)]
    anew = [binary_request(seed) for seed in range(REPEATED, REPEATED + requests)]
    with tempfile.TemporaryDirectory(prefix="snn-fusion-benchmark-") as folder:
        shelf = Path(folder)
        write_model(shelf)
        with serving(shelf, target, workers=1) as plain:
            run_ms = _median_ms(plain, again, requests)
        with serving(shelf, target, workers=1, cache_ttl_s=3600) as keeping:
            hit_ms = _median_ms(keeping, again, requests)
            miss_ms = load.one_after_the_other(HOST, keeping.port, anew, requests).percentile_ms(50)
    return CacheFigures(target, run_ms, hit_ms, miss_ms, run_ms / hit_ms)


def _median_ms(server: Server, requests: list[bytes], number: int) -> float:
    load.one_after_the_other(HOST, server.port, requests, 4 * REPEATED)
    return load.one_after_the_other(HOST, server.port, requests, number).percentile_ms(50)


def report(figures: CacheFigures, *, as_json: bool) -> str:
    """Return the figures as one line of JSON, or as a table for people."""
    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }
    if as_json:
        return json.dumps(rounded)
    return "\n".join(f"{name:8} {value}" for name, value in rounded.items())
