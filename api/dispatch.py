"""The way past FastAPI for the routes that are asked most (docs/adr/0025)."""

from collections.abc import Mapping

import structlog
from starlette.responses import Response
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
        hot: path → what answers a POST to it; what it raises of `KNOWN` is told to the caller.
    """

    def __init__(self, app: ASGIApp, hot: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        answers = self._hot.get(scope["path"]) if scope["type"] == "http" else None
        if answers is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            await answers(scope, receive, send)
        except KNOWN as error:
            await known_response(error, scope)(scope, receive, send)


def known_response(error: Exception, scope: Scope) -> Response:
    """Return the reply to a request that failed for one of the `KNOWN` reasons."""
    if isinstance(error, BackendError) and str(error) != told(error):
        log.warning("target failed", error=str(error))
    return problem_response(error, scope[KEY])
