"""What there is: targets and samples."""

import asyncio
from dataclasses import asdict
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.forwarding import was_forwarded
from api.merging import listed_elsewhere, targets_elsewhere, with_samples_of
from api.replies import (
    SampleReply,
    SamplesReply,
    TargetReply,
    TargetsReply,
)
from api.routes.common import documented, json_reply, service_of
from api.service import Service
from api.targets import availability
from backends.base import Target
from fusion.samples import read_index
from fusion.shelf import ShelvedModel

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/targets", responses=documented(TargetsReply, "Targets"), response_class=Response)
@needs(Scope.TARGETS_READ)
async def targets(request: Request) -> Response:
    """List the targets that can be asked for here: capabilities, availability, queue, owner."""
    service = service_of(request)
    described = [
        service.housekeeping.submit(partial(_target, service, target))
        for target in service.targets.values()
    ]
    elsewhere = [] if was_forwarded(request) else await targets_elsewhere(service, request)
    reply: TargetsReply = {"targets": [*await asyncio.gather(*described), *elsewhere]}
    return json_reply(reply)


@router.get("/samples", responses=documented(SamplesReply, "Samples"), response_class=Response)
@needs(Scope.MODELS_READ)
async def samples(request: Request) -> Response:
    """List the recordings that ship with the models, by the names that a fuse request may use."""
    service = service_of(request)
    here = await service.housekeeping.submit(partial(_samples, service))
    elsewhere = [] if was_forwarded(request) else await listed_elsewhere(service, request)
    return json_reply(with_samples_of(here, elsewhere))


def _target(service: Service, target: Target) -> TargetReply:
    lane = service.lanes[target.name]
    return {
        "name": target.name,
        "backend": target.backend,
        "description": target.description,
        "default": target.name == service.settings.target,
        "capabilities": asdict(target.capabilities),
        "max_run_s": target.max_run_s,
        "energy": target.energy,
        **availability(service.registry, target.name),
        "queue": {
            "running": lane.running,
            "waiting": lane.waiting,
            "threads": lane.threads,
            "max_waiting": lane.max_queue,
            "estimated_wait_s": lane.wait_s,
        },
        "owner": None,
    }


def _samples(service: Service) -> SamplesReply:
    found: list[SampleReply] = []
    for family in service.models.families.values():
        shipping = family.entries[0].shelved
        if shipping is not None and not family.unloaded:
            found += _samples_of(shipping)
    return {"samples": found}


def _samples_of(shelved: ShelvedModel) -> list[SampleReply]:
    index = read_index(shelved.path)
    return [
        {
            "name": sample.name,
            "label": sample.label,
            "model": shelved.model.name,
            "sensors": list(sample.files),
            "attribution": index.attribution,
            "owner": None,
        }
        for sample in index.samples
    ]
