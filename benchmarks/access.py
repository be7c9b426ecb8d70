"""What asking for keys adds to a request, without a server: `python -m benchmarks access`."""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.guard import Guard
from api.access.keys import hash_of, new_key
from api.access.middleware import Access
from api.access.scopes import RouteScopes, needs
from api.access.scopes import Scope as Verb
from api.metrics import Metrics
from api.notes import make_notes
from api.settings import load_settings

CALLS, TRIES = 200, 300
"""So few calls a try, because a try that another process interrupts tells nothing."""
RATE = {"requests_per_s": 1e9, "burst": 10**9}
DAY = {"synaptic_events_per_day": 10**15, "run_s_per_day": 1e9, "hardware_run_s_per_day": 1e9}
LIMITS: Mapping[str, Mapping[str, float] | None] = {
    "no keys asked for": None,
    "a key without limits": {},
    "requests a second": RATE,
    "every limit": {**RATE, **DAY, "concurrent": 100},
}


@needs(Verb.FUSE)
class Bare:
    """Answers at once."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send an empty reply."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@dataclass(frozen=True, slots=True)
class Figure:
    """What the middleware takes of a request, microseconds, the least of many tries."""

    what: str
    us: float


def measure() -> list[Figure]:
    """Return what every kind of key takes."""
    return [Figure(what, _added_us(limits)) for what, limits in LIMITS.items()]


def _added_us(limits: Mapping[str, float] | None) -> float:
    key_id, key = new_key()
    entry = {"id": key_id, "name": "x", "hash": hash_of(key), "scopes": ["fuse"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys.yaml")
        path.write_text(yaml.safe_dump({"keys": [{**entry, "limits": dict(limits or {})}]}))
        settings = load_settings(keys_file=None if limits is None else path)
        guard = Guard(settings, Metrics(CollectorRegistry()))
    bare = Bare()
    scopes = RouteScopes([Route("/v1/fuse", bare, methods=["POST"])], frozenset())
    guarded = Access(bare, guard, scopes)
    return asyncio.run(_least_us(guarded, key)) - asyncio.run(_least_us(bare, key))


async def _least_us(app: ASGIApp, key: str) -> float:
    async def send(message: Message) -> None:
        del message

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    least = float("inf")
    for _ in range(TRIES):
        asked = [_scope(key) for _ in range(CALLS)]
        started = time.perf_counter()
        for scope in asked:
            await app(scope, receive, send)
        least = min(least, time.perf_counter() - started)
    return least / CALLS * 1e6


def _scope(key: str) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"connection", b"keep-alive")]
    headers += [(b"accept-encoding", b"gzip, deflate"), (b"user-agent", b"python-httpx")]
    headers += [(b"content-type", b"application/octet-stream"), (b"content-length", b"60000")]
    headers += [(b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/fuse", "headers": headers}
    make_notes(scope)
    return scope


def print_table(figures: list[Figure]) -> None:
    """Print the figures, one a line."""
    for one in figures:
        print(f"{one.what:<24}{one.us:6.1f} µs")
