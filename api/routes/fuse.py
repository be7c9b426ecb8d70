"""`POST /v1/fuse`: the hot path, on the raw body."""

import math
import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.lanes import outcome
from api.notes import notes_of
from api.routes.common import read_body, service_of


async def fuse(request: Request) -> Response:
    """Answer one fuse request; decoding, encoding and the run happen in threads."""
    started = time.perf_counter()
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    parsing = service.intake.submit(partial(service.prepare, body, started, notes.tell))
    job = await outcome(parsing, request, "intake", math.inf, math.inf)
    running = service.lanes[job.target.name].submit(partial(service.run, job, notes.request_id))
    reply = await outcome(running, request, job.target.name, job.end, job.deadline_s)
    return Response(reply.content, headers=reply.headers)
