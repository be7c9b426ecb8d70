"""The way past FastAPI for the routes that are asked most (docs/adr/0025)."""

from collections.abc import Mapping

import structlog
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.refusals import Refused
from api.errors import ClientGone, NotSupported, QueueFull, problem_response
from api.notes import KEY
from backends.errors import BackendError, InvalidTarget, told
from fusion.errors import FusionError

log = structlog.get_logger("snn_fusion")

KNOWN = (FusionError, BackendError, InvalidTarget, ClientGone, NotSupported, QueueFull, Refused)
"""What a handler may raise for its caller to be told."""


class Dispatch:
    """Middleware that answers POST requests to hot paths itself, and has the rest answered.

    Every hot path is a route of the application, too, which answers what else is asked there.

    Args:
        app: the application.
        hot: path, or its template, → what answers a POST to it, with the template's parameters in
            the scope; what it raises of `KNOWN` is told to the caller.
    """

    def __init__(self, app: ASGIApp, hot: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._hot = hot
        self._templates = [(compile_path(path)[0], one) for path, one in hot.items() if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        answers = self._find(scope) if scope["type"] == "http" else None
        if answers is None:
            await self._app(scope, receive, send)
            return
        try:
            await answers(scope, receive, send)
        except KNOWN as error:
            await known_response(error, scope)(scope, receive, send)

    def _find(self, scope: Scope) -> ASGIApp | None:
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        if path in self._hot:
            return self._hot[path]
        for pattern, answers in self._templates:
            found = pattern.match(path)
            if found is not None:
                scope["path_params"] = found.groupdict()
                return answers
        return None


def known_response(error: Exception, scope: Scope) -> Response:
    """Return the reply to a request that failed for one of the `KNOWN` reasons."""
    if isinstance(error, BackendError) and str(error) != told(error):
        log.warning("target failed", error=str(error))
    return problem_response(error, scope[KEY])
