"""What there is: targets, models, samples."""

import asyncio
from dataclasses import asdict
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.forwarding import was_forwarded
from api.merging import targets_elsewhere
from api.replies import (
    ModelReply,
    ModelsReply,
    SampleReply,
    SamplesReply,
    SensorDescription,
    TargetReply,
    TargetsReply,
)
from api.routes.common import documented, json_reply, service_of
from api.service import Service
from api.targets import availability
from backends.base import Target
from fusion.encoding import SensorEncoder
from fusion.errors import FusionError
from fusion.model import FusionModel
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


@router.get("/models", responses=documented(ModelsReply, "Models"), response_class=Response)
@needs(Scope.MODELS_READ)
async def models(request: Request) -> Response:
    """List the models: sensors, heads, labels, contract; and those that cannot be read."""
    service = service_of(request)
    return json_reply(await service.housekeeping.submit(partial(_models, service)))


@router.get("/samples", responses=documented(SamplesReply, "Samples"), response_class=Response)
@needs(Scope.MODELS_READ)
async def samples(request: Request) -> Response:
    """List the recordings that ship with the models, by the names that a fuse request may use."""
    service = service_of(request)
    return json_reply(await service.housekeeping.submit(partial(_samples, service)))


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


def _models(service: Service) -> ModelsReply:
    default = _default_name(service)
    return {
        "models": [
            _model(shelved.model, default, service.health.problems.get(name))
            for name, shelved in service.shelf.models.items()
        ],
        "problems": [
            {"path": path, "field": error.field, "problem": error.problem}
            for path, error in service.shelf.problems.items()
        ],
    }


def _default_name(service: Service) -> str | None:
    try:
        return service.find_model(None).model.name
    except FusionError:
        return None


def _model(model: FusionModel, default: str | None, problem: str | None) -> ModelReply:
    manifest = model.manifest
    contract = None
    try:
        contract = model.contract().as_dict()
    except FusionError as error:
        problem = problem or str(error)
    return {
        "name": model.name,
        "version": manifest.version if manifest else "",
        "digest": model.digest,
        "default": model.name == default,
        "description": manifest.description if manifest else "",
        "labels": list(manifest.labels) if manifest else [],
        "window_s": manifest.window.length_s if manifest else None,
        "sensors": {name: _sensor(encoder) for name, encoder in model.encoders.items()},
        "heads": {
            name: {
                "sensor": head.sensor,
                "node": head.node,
                "readout": head.readout,
                "read_at_s": head.read_at_s,
                "temperature": head.temperature,
                "reliability": head.reliability,
            }
            for name, head in (manifest.heads if manifest else {}).items()
        },
        "contract": contract,
        "problem": problem,
    }


def _sensor(encoder: SensorEncoder) -> SensorDescription:
    sensor = encoder.sensor
    return {
        "unit": sensor.unit,
        "shape": list(sensor.shape),
        "channels": encoder.channels if sensor.unit == "events" else None,
        "rate_hz": sensor.rate_hz,
        "encoder": dict(sensor.encoder) if sensor.encoder else None,
        "description": sensor.description,
    }


def _samples(service: Service) -> SamplesReply:
    found: list[SampleReply] = []
    for shelved in service.shelf.models.values():
        found += _samples_of(shelved)
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
        }
        for sample in index.samples
    ]
