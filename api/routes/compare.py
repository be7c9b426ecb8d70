"""`POST /v1/compare`: one request on several targets, and where they differ."""

import math
import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.comparison.across import compare_across
from api.comparison.part import MEDIA_TYPE, answer_part
from api.comparison.prepare import Shared, prepare
from api.comparison.run import run_whole
from api.errors import Elsewhere
from api.framing import JSON
from api.lanes import outcome
from api.notes import notes_of
from api.routes.common import passed_on, read_body, service_of


@needs(Scope.COMPARE)
async def compare(request: Request) -> Response:
    """Answer one comparison, or a part of one; decoding and the runs happen in threads."""
    started = time.perf_counter()
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    preparing = service.intake.submit(partial(prepare, service, body, started, notes))
    try:
        job = await outcome(preparing, request, "intake", math.inf, math.inf)
    except Elsewhere as to:
        return await passed_on(service, request, body, to, started)
    if isinstance(job, Shared):
        return await compare_across(service, request, body, job)
    part = None if body.hop is None else body.hop.part
    if part is None:
        work, media_type = partial(run_whole, service, job, notes), JSON
    else:
        work, media_type = partial(answer_part, service, job, part, notes), MEDIA_TYPE
    running = service.comparing.submit(work, job.priority)
    reply = await outcome(running, request, ", ".join(job.here), job.end, job.deadline_s)
    return Response(reply, media_type=media_type)
