"""`POST /v1/fuse`: the hot path, from the raw body to the raw reply."""

import time
from functools import partial

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api.access import scopes
from api.errors import Elsewhere
from api.notes import notes_of
from api.routes.common import answer, parsed, passed_on, read_body, send_reply
from api.service import Service


@scopes.needs(scopes.Scope.FUSE)
class Fuse:
    """Answers fuse requests, as an ASGI application of its own.

    Args:
        service: what all requests share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        started = time.perf_counter()
        request = Request(scope, receive)
        service, notes = self._service, notes_of(request)
        body = await read_body(request, service.settings.max_body_bytes)
        prepare = partial(service.prepare, body, started, notes.use)
        try:
            job = await parsed(service, request, body, prepare)
        except Elsewhere as to:
            await (await passed_on(service, request, body, to, started))(scope, receive, send)
        else:
            await send_reply(send, await answer(service, request, job))
