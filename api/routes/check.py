"""`POST /v1/check`: whether a model fits targets, without running it."""

import math
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.fitting import check_reply, fit_targets
from api.framing import Body
from api.intake import parse_check
from api.lanes import outcome
from api.notes import Notes, notes_of
from api.replies import CheckReply
from api.routes.common import json_reply, read_body, service_of
from api.service import Service
from fusion.events import dt_ns


@needs(Scope.CHECK)
async def check(request: Request) -> Response:
    """Answer one check; all of it happens in a thread."""
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    work = service.housekeeping.submit(partial(_check, service, body, notes))
    reply = await outcome(work, request, "check", math.inf, math.inf)
    return json_reply(reply)


def _check(service: Service, body: Body, notes: Notes) -> CheckReply:
    request = parse_check(body, service.settings.max_body_bytes)
    model = service.find_model(request.model).model
    names = service.find_targets(request.targets)
    notes.tell(model.name, ",".join(names))
    contract = model.contract(request.profile, request.dt_s, request.contract)
    dt_ns(contract.dt_s)
    fits = fit_targets(service.registry, names, model, contract, request.duration_s)
    return check_reply(model, contract, fits)
