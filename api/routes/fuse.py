"""`POST /v1/fuse`: the hot path, on the raw body."""

import math
import time
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.errors import BodyTooLarge, ClientGone
from api.intake import JSON, Body
from api.lanes import outcome
from api.notes import notes_of
from api.routes.common import service_of
from api.tensors import HEADER_LENGTH


async def fuse(request: Request) -> Response:
    """Answer one fuse request; decoding, encoding and the run happen in threads."""
    started = time.perf_counter()
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    parsing = service.intake.submit(partial(service.prepare, body, started, notes.tell))
    job = await outcome(parsing, request, "intake", math.inf, math.inf)
    running = service.lanes[job.target.name].submit(partial(service.run, job, notes.request_id))
    reply = await outcome(running, request, job.target.name, job.end, job.deadline_s)
    return Response(reply, media_type=JSON)


async def read_body(request: Request, max_bytes: int) -> Body:
    """Return the request's body as it came in.

    Raises:
        BodyTooLarge: as soon as it is known.
        ClientGone: if the caller left while sending it.
    """
    headers = request.headers
    announced = headers.get("content-length", "")
    too_large = BodyTooLarge("body", "is too large", f"at most {max_bytes} bytes")
    if announced.isdecimal() and len(announced) < 19 and int(announced) > max_bytes:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > max_bytes:
                raise too_large
    except ClientDisconnect:
        raise ClientGone("the caller closed the connection while sending") from None
    return Body(
        bytes(content),
        headers.get("content-type", "").partition(";")[0].strip().lower(),
        headers.get("content-encoding", "").strip().lower(),
        headers.get(HEADER_LENGTH),
    )
