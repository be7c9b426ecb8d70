"""Around every request: its id, its metrics, its log line, and a reply if all else failed."""

import time
from collections.abc import Collection

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from api.metrics import Metrics
from api.notes import Notes, make_notes

log = structlog.get_logger("snn_fusion.access")

QUIET = ("/healthz/", "/metrics")
"""Paths that are asked every few seconds; their log lines are for debugging only."""


class Observed:
    """Middleware that observes every HTTP request.

    Args:
        app: the application.
        metrics: where requests are counted.
        paths: the paths that exist, which alone become label values.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = make_notes(scope)
        status = 0
        started = time.perf_counter()

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = notes.request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=notes.request_id):
            try:
                await self._app(scope, receive, observed_send)
            except Exception as error:
                log.exception("request failed unexpectedly")
                if status == 0:
                    reply = problem_response(error, notes.request_id)
                    await reply(scope, receive, observed_send)
            finally:
                self._observe(scope, notes, status, time.perf_counter() - started)

    def _observe(self, scope: Scope, notes: Notes, status: int, seconds: float) -> None:
        path = scope["path"]
        route = path if path in self._paths else "unmatched"
        self._metrics.observe_request(route, scope["method"], status, seconds)
        tell = log.debug if path.startswith(QUIET) else log.info
        tell(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(1000 * seconds, 3),
            model=notes.model,
            target=notes.target,
        )
