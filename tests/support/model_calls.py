"""Calls of the routes of models."""

from typing import Any

import httpx
from support.api_server import Running, until
from support.stored import upload

EVENTS = {"cam": {"events": {"times_us": [1000, 2000, 30_000], "channels": [0, 1, 2]}}}


def post_model(server: Running, content: bytes, **headers: str) -> httpx.Response:
    """Upload a file as it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.post("/v1/models", content=content, headers=named)


def stored(server: Running, *args: Any, **changes: Any) -> dict[str, Any]:
    """Upload a small model and return what is told of it once it is compiled."""
    reply = post_model(server, upload(*args, **changes))
    assert reply.status_code in (200, 201), reply.text
    made: dict[str, Any] = reply.json()
    return settled(server, f"{made['name']}:{made['version'] or made['digest']}")


def settled(server: Running, reference: str) -> dict[str, Any]:
    """Return what is told of a model once it was compiled, or that failed."""
    told: dict[str, Any] = {}

    def done() -> bool:
        reply = server.client.get(f"/v1/models/{reference}")
        assert reply.status_code == 200, reply.text
        told.update(reply.json())
        return told["state"] not in ("known", "loading")

    until(done)
    return told


def asked(server: Running, reference: str | None) -> httpx.Response:
    """Fuse a few events with a model."""
    body: dict[str, Any] = {"sensors": EVENTS}
    return server.fuse(body if reference is None else body | {"model": reference})


def digest_of(server: Running, reference: str | None) -> str:
    """Return which model answers."""
    reply = asked(server, reference)
    assert reply.status_code == 200, reply.text
    digest: str = reply.json()["model"]["digest"]
    return digest
