"""`POST /v1/compare`: one request on several targets, and where they differ."""

import math
import time
from collections.abc import Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.comparing import comparison_reply
from api.errors import Elsewhere, NotSupported
from api.framing import JSON, Body
from api.intake import parse, read_recordings
from api.job import ComparisonJob
from api.lanes import outcome
from api.notes import Notes, Use, notes_of
from api.quantising import Runnable
from api.requests import CompareRequest
from api.routes.common import passed_on, read_body, service_of
from api.service import Service, deadline
from backends.base import Target
from backends.checks import refuse_oversize
from backends.comparison import check_targets, compare_recordings
from backends.errors import RunTimeout
from backends.fuse import encode
from fusion.contract import ExecutionContract
from simulators.calibration import Rasters


@needs(Scope.COMPARE)
async def compare(request: Request) -> Response:
    """Answer one comparison; decoding and the runs happen in threads."""
    started = time.perf_counter()
    service, notes = service_of(request), notes_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    parsing = service.intake.submit(partial(_prepare, service, body, started, notes.use))
    try:
        job = await outcome(parsing, request, "intake", math.inf, math.inf)
    except Elsewhere as to:
        return await passed_on(service, request, body, to, started)
    running = service.comparing.submit(partial(_run, service, job, notes), job.priority)
    reply = await outcome(running, request, ", ".join(job.targets), job.end, job.deadline_s)
    return Response(reply, media_type=JSON)


def _prepare(service: Service, body: Body, started: float, use: Use) -> ComparisonJob:
    parsed = parse(body, service.settings.max_body_bytes, CompareRequest)
    request = parsed.request
    check_targets(request.targets)
    targets = service.find_targets(request.targets)
    _leave_to_owner(service, request, targets)
    shelved = service.bring_model(request.model)
    use(shelved.model, [service.targets[name] for name in targets])
    own = service.contract(request, shelved)
    recordings = read_recordings(parsed, shelved, service.settings)
    max_s = sum(service.targets[name].max_run_s for name in targets)
    return ComparisonJob(
        shelved=shelved,
        own=own,
        quantise=request.quantise,
        recordings=recordings,
        deadline_s=deadline(request, max_s, parsed.hop),
        priority=request.priority,
        started=started,
        targets=targets,
        tolerance=request.tolerance,
    )


def _leave_to_owner(service: Service, request: CompareRequest, targets: Sequence[str]) -> None:
    """Return if all targets are served here; raise `Elsewhere` if they are in one other place.

    Raises:
        NotSupported: if they are in several places.
    """
    owners = service.owners
    elsewhere = owners.among(targets)
    if not elsewhere:
        return
    if len(elsewhere) == 1 and not any(name in service.targets for name in targets):
        raise Elsewhere([owners.targets[name] for name in targets], request.deadline_s)
    places = [f"{', '.join(names)} at {owner.name}" for owner, names in elsewhere.items()]
    here = [name for name in targets if name in service.targets]
    places += [f"{', '.join(here)} here"] if here else []
    raise NotSupported(
        f"targets: {'; '.join(places)}: one deployment compares targets that it serves; "
        f"snn-fusion compare runs all of them on one machine"
    )


def _run(service: Service, job: ComparisonJob, notes: Notes) -> bytes:
    limits = service.registry.limits
    refuse_oversize(job.shelved.model, job.own, job.targets[0], limits)
    service.runner.check_recorded(job.shelved.model, job.own, ["all"], "dt_s")
    ready = _ready(service, job)
    left_s = job.end - time.perf_counter()
    if left_s <= 0:
        raise RunTimeout(", ".join(job.targets), job.deadline_s)
    begun = time.perf_counter()
    try:
        comparison = compare_recordings(
            ready.model,
            job.recordings,
            job.own,
            job.targets,
            service.programs,
            tolerance=job.tolerance,
            deadline_s=left_s,
        )
    except Exception:
        notes.charge(_dearest(service, job), 0, time.perf_counter() - begun)
        raise
    for run in comparison.runs:
        events = int(run.result.counts.synaptic_events.sum())
        notes.charge(service.targets[run.target], events, run.result.wall_s)
    reply = comparison_reply(comparison, ready.quantisation)
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def _dearest(service: Service, job: ComparisonJob) -> Target:
    """Return a board if there is one: the target charged where nobody knows which one ran."""
    targets = [service.targets[name] for name in job.targets]
    return max(targets, key=lambda target: target.capabilities.hardware)


def _ready(service: Service, job: ComparisonJob) -> Runnable:
    if not job.quantise:
        return Runnable(job.shelved.model, None)

    def own_input(contract: ExecutionContract) -> Rasters:
        return encode(job.shelved.model, job.recordings, contract).rasters()

    targets = [service.targets[name] for name in job.targets]
    return service.runner.quantiser.ready(job.shelved, job.own, targets, own_input)
