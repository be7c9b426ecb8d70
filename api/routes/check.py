"""`POST /v1/check`: whether a model fits targets, without running it."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.fitting import check_reply, fit_targets
from api.forwarding import refuse_forwarded, was_forwarded
from api.framing import Body
from api.intake import parse_check
from api.lanes import outcome
from api.merging import fits_elsewhere
from api.notes import Notes, notes_of
from api.replies import CheckReply
from api.requests import CheckRequest
from api.routes.common import json_reply, read_body, service_of
from api.service import Service
from backends.errors import RunFailed
from fusion.events import dt_ns

_T = TypeVar("_T")


@needs(Scope.CHECK)
async def check(request: Request) -> Response:
    """Answer one check, in threads; what it says of targets elsewhere is asked of their owners."""
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    asked = await _aside(service, request, partial(_parse, service, body))
    names = service.find_targets(asked.targets)
    if was_forwarded(request) and asked.targets is None:
        names = list(service.targets)
    elsewhere = service.owners.among(names)
    for owner in elsewhere:
        refuse_forwarded(request, elsewhere[owner][0])
    here = [name for name in names if name in service.targets]
    found: list[Mapping[str, Any]] = []
    if here or not elsewhere:
        default = None if body.hop is None else body.hop.model
        own = partial(_check, service, asked, default, here, notes)
        found.append(await _aside(service, request, own))
    if elsewhere:
        others = asyncio.create_task(fits_elsewhere(service, elsewhere, request, body))
        told = await outcome(others, request, "check", math.inf, math.inf)
        found += told
    notes.target = ",".join(names)
    return json_reply(_merged(names, found))


def _merged(names: Sequence[str], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one check of several, with the targets in the order asked for.

    Raises:
        RunFailed: if no deployment told of the model.
    """
    fits = {fit["target"]: fit for part in found for fit in part["targets"]}
    whole = next((part for part in found if "model" in part), None)
    if whole is None:
        raise RunFailed(str(next(iter(fits.values()))["reason"]))
    return {**whole, "targets": [fits[name] for name in names]}


async def _aside(service: Service, request: Request, work: Callable[[], _T]) -> _T:
    running = service.housekeeping.submit(work)
    return await outcome(running, request, "check", math.inf, math.inf)


def _parse(service: Service, body: Body) -> CheckRequest:
    return parse_check(body, service.settings.max_body_bytes)


def _check(
    service: Service,
    request: CheckRequest,
    default: str | None,
    names: Sequence[str],
    notes: Notes,
) -> CheckReply:
    model = service.bring_model(request.model or default).model
    notes.model = model.name
    contract = model.contract(request.profile, request.dt_s, request.contract)
    dt_ns(contract.dt_s)
    fits = fit_targets(service.registry, names, model, contract, request.duration_s)
    return check_reply(model, contract, fits)
