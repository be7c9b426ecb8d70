"""Probes, metrics, and where to go from the root."""

from functools import partial
from importlib.metadata import version

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs, open_to_all
from api.replies import HealthReply, RootReply
from api.routes.common import documented, json_reply, service_of
from api.service import Service
from backends.errors import BackendError, InvalidTarget, told

router = APIRouter(tags=["operations"])


@router.get("/", responses=documented(RootReply, "Pointers"), response_class=Response)
@open_to_all
async def root() -> Response:
    """Say what this is and where its documentation lies."""
    reply: RootReply = {
        "name": "SNN Fusion",
        "version": version("snn-fusion"),
        "docs": "/docs",
        "openapi": "/openapi.json",
    }
    return json_reply(reply)


@router.get(
    "/healthz/startup",
    responses=documented(HealthReply, "Started; 503 before", 503),
    response_class=Response,
)
@open_to_all
async def startup(request: Request) -> Response:
    """Say whether the models on the shelf are compiled for the default target."""
    service = service_of(request)
    return _probe(service.health.pending, service.models.unready)


@router.get("/healthz/live", responses=documented(HealthReply, "Alive"), response_class=Response)
@open_to_all
async def live() -> Response:
    """Say that the event loop turns; touches nothing else."""
    return _probe([])


@router.get(
    "/healthz/ready",
    responses=documented(HealthReply, "Ready; 503 when not", 503),
    response_class=Response,
)
@open_to_all
async def ready(request: Request) -> Response:
    """Say whether requests should be sent here; without Redis they may be, and that is told."""
    service = service_of(request)
    problem = service.shared.problem
    return _probe(await readiness(service), {"redis": problem} if problem else None)


@router.get("/metrics", response_class=Response)
@needs(Scope.METRICS)
async def metrics(request: Request) -> Response:
    """Return the metrics of all worker processes as Prometheus text."""
    service = service_of(request)
    text = await service.housekeeping.submit(service.metrics.exposition)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def readiness(service: Service) -> list[str]:
    """Return why requests should not be sent here, nothing if they should."""
    reasons = service.health.pending
    if service.health.draining:
        reasons.append("draining")
    return reasons + await service.housekeeping.submit(partial(_unusable, service))


def _unusable(service: Service) -> list[str]:
    name = service.settings.target
    if name not in service.targets:  # its owner tells by itself whether it is ready
        return []
    try:
        service.registry.backend(name).available()
    except (BackendError, InvalidTarget) as error:
        return [told(error)]
    return []


def _probe(reasons: list[str], problems: dict[str, str] | None = None) -> Response:
    reply: HealthReply = {"ok": not reasons, "reasons": reasons}
    if problems:
        reply["problems"] = problems
    return json_reply(reply, 503 if reasons else 200)
