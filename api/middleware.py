"""Around every request: its id, its metrics, its log line, and a reply if all else failed."""

import time
from collections.abc import Callable, Collection

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import foreseen, problem_response
from api.metrics import Metrics
from api.notes import Notes, make_notes
from api.tracing import Tracing

log = structlog.get_logger("snn_fusion.access")

QUIET = ("/healthz/", "/metrics")
"""Paths that are asked every few seconds; their log lines are for debugging only."""

_REQUEST_ID, _OPTIONS = _OWN = b"x-request-id", b"x-content-type-options"


class Observed:
    """Middleware that observes every HTTP request.

    Args:
        app: the application.
        metrics: where requests are counted.
        paths: the paths that exist, which alone become label values.
        tracing: what makes traces, if anything does.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        paths: Collection[str],
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = make_notes(scope)
        exchange = _Exchange(scope, notes, send, self._count)
        fields = {"request_id": notes.request_id}
        if self._tracing is not None and not scope["path"].startswith(QUIET):
            notes.trace = self._tracing.begin(scope, notes.request_id, notes.started)
            fields["trace_id"] = notes.trace.trace_id
        bound = structlog.contextvars.bind_contextvars(**fields)
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as unforeseen:
            error = foreseen(unforeseen)
            if error is unforeseen:
                log.exception("request failed unexpectedly")
            else:  # a traceback would want to open files
                log.error(str(error))
            if not exchange.status:
                await problem_response(error, notes)(scope, receive, exchange.send)
        finally:
            exchange.end()
            _tell(exchange)
            structlog.contextvars.reset_contextvars(**bound)

    def _count(self, exchange: "_Exchange") -> None:
        notes, path, method = exchange.notes, exchange.scope["path"], exchange.scope["method"]
        route = exchange.route = notes.route or (path if path in self._paths else "unmatched")
        self._metrics.observe_request(route, method, exchange.status, exchange.took_s)
        if notes.trace is not None:
            notes.trace.place(notes.model, notes.target)
            notes.trace.end(method, route, exchange.status)


class _Exchange:
    """One request and its reply, counted once: before its last bytes go out.

    So whoever has read a reply finds it counted, whichever worker process is asked. Its log line
    can wait until the reply is out.
    """

    def __init__(
        self, scope: Scope, notes: Notes, send: Send, count: Callable[["_Exchange"], None]
    ) -> None:
        self.scope = scope
        self.notes = notes
        self.status = 0
        self.took_s = 0.0
        self.route = ""
        self._send = send
        self._count = count
        self._ended = False

    async def send(self, message: Message) -> None:
        """Send a part of the reply, with the headers that every reply has."""
        if message["type"] == "http.response.start":
            self.status = self.notes.status = message["status"]
            kept = [pair for pair in message["headers"] if pair[0].lower() not in _OWN]
            own = (_REQUEST_ID, self.notes.request_id.encode()), (_OPTIONS, b"nosniff")
            message["headers"] = [*kept, *own]
        elif not message.get("more_body", False):
            self.end()
        await self._send(message)

    def end(self) -> None:
        """Count the request, unless that has been done."""
        if not self._ended:
            self._ended = True
            self.took_s = time.perf_counter() - self.notes.started
            self._count(self)


def _tell(exchange: _Exchange) -> None:
    notes, scope = exchange.notes, exchange.scope
    tell = log.debug if scope["path"].startswith(QUIET) else log.info
    tell(
        "request",
        method=scope["method"],
        route=exchange.route,
        status=exchange.status,
        duration_ms=round(1000 * exchange.took_s, 3),
        model=notes.model,
        target=notes.target,
        key=notes.caller.key_id or None,
    )
