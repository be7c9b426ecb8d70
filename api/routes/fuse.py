"""`POST /v1/fuse`: the hot path, on the raw body."""

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.notes import notes_of
from api.routes.common import answer, parsed, read_body, service_of


async def fuse(request: Request) -> Response:
    """Answer one fuse request."""
    started = time.perf_counter()
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    job = await parsed(request, body, partial(service.prepare, body, started, notes.tell))
    reply = await answer(request, job)
    return Response(reply.content, headers=reply.headers)
