"""Models: those that ship and those that were uploaded, their versions and aliases."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from api.access.scopes import Scope, needs
from api.errors import BodyTooSlow, QueueFull, UploadsOff
from api.forwarding import was_forwarded
from api.framing import Body
from api.lanes import Lane, outcome
from api.merging import listed_elsewhere, with_models_of
from api.models.describe import model_reply, models_reply, versions_reply
from api.models.upload import OVERHEAD_BYTES, store_upload
from api.notes import notes_of
from api.openapi_models import ALIAS_BODY, UPLOAD, file_responses, responses
from api.replies import AliasReply, DeletedReply, ModelReply, ModelsReply, VersionsReply
from api.requests import AliasRequest, decode
from api.routes.common import json_reply, read_body, service_of
from api.service import Service
from api.settings import PREFIX
from fusion.saving import archive

_T = TypeVar("_T")

RECEIVE_S = 300.0
"""So long the body of an upload may take to arrive."""


async def _note_route(request: Request) -> None:
    """Let the path's template stand for the path in the metrics."""
    notes_of(request).route = request.scope["route"].path


router = APIRouter(prefix="/v1", tags=["models"], dependencies=[Depends(_note_route)])

Model = Annotated[str, Path(description="A model's name.")]
Reference = Annotated[
    str, Path(description="`name`, `name:version`, `name@alias`, or the start of a digest.")
]
Version = Annotated[str, Path(description="A version, or the start of its digest.")]
Alias = Annotated[str, Path(description="An alias, `production` for one.")]


@router.get("/models", responses=responses(ModelsReply, "Models"), response_class=Response)
@needs(Scope.MODELS_READ)
async def list_models(request: Request) -> Response:
    """List the models, each as its name alone means it, and all that cannot be read."""
    service = service_of(request)
    here = await _aside(request, partial(models_reply, service.models))
    elsewhere = [] if was_forwarded(request) else await listed_elsewhere(service, request)
    return json_reply(with_models_of(here, elsewhere))


@router.post(
    "/models",
    status_code=201,
    responses=responses(
        ModelReply, "Stored; 200 if it was there", 400, 403, 408, 409, 413, 415, 422, 503, 507,
        status=201, also=(200,),
    ),
    openapi_extra=UPLOAD,
    response_class=Response,
)  # fmt: skip
@needs(Scope.MODELS_WRITE)
async def upload(request: Request) -> Response:
    """Store a model: a zip or a .nir file as it is, or as a form with a manifest beside it."""
    service = service_of(request)
    _refuse_if_off(service)
    with service.keeper.receiving():
        body = await _received(request, service.settings.max_model_bytes + OVERHEAD_BYTES)
        content_type = request.headers.get("content-type", "")
        work = partial(store_upload, service, body, content_type)
        entry, new = await _in(request, service.keeper.uploading, work)
    with suppress(QueueFull):  # then it is compiled at the next look
        service.keeper.warming.start(partial(service.keeper.warm, entry))
    family = service.models.family(entry.name)
    notes_of(request).model, notes_of(request).digest = entry.name, entry.digest
    reply = json_reply(model_reply(service.models, family, entry), 201 if new else 200)
    reply.headers["Location"] = f"/v1/models/{entry.name}/versions/{entry.label}"
    return reply


@router.get(
    "/models/{model}",
    responses=responses(ModelReply, "The model", 404, 422, 503),
    response_class=Response,
)
@needs(Scope.MODELS_READ)
async def get_model(request: Request, model: Reference) -> Response:
    """Describe one model: sensors, heads, labels, contract, and how far it has come."""
    service = service_of(request)

    def told() -> ModelReply:
        entry = service.models.look_up(model)
        return model_reply(service.models, service.models.family(entry.name), entry)

    return json_reply(await _aside(request, told))


@router.delete(
    "/models/{model}",
    responses=responses(DeletedReply, "Deleted", 403, 404, 409, 503),
    response_class=Response,
)
@needs(Scope.MODELS_WRITE)
async def delete_model(request: Request, model: Model) -> Response:
    """Delete an uploaded model with all its versions and aliases; running requests finish."""
    return await _delete(request, model, None)


@router.get(
    "/models/{model}/versions",
    responses=responses(VersionsReply, "Its versions", 404, 503),
    response_class=Response,
)
@needs(Scope.MODELS_READ)
async def list_versions(request: Request, model: Model) -> Response:
    """List all versions of a model, the oldest first, and its aliases."""
    models = service_of(request).models
    return json_reply(await _aside(request, lambda: versions_reply(models.family(model))))


@router.get(
    "/models/{model}/versions/{version}",
    responses=responses(ModelReply, "The version", 404, 503),
    response_class=Response,
)
@needs(Scope.MODELS_READ)
async def get_version(request: Request, model: Model, version: Version) -> Response:
    """Describe one version of a model."""
    models = service_of(request).models

    def told() -> ModelReply:
        entry = models.version(model, version)
        return model_reply(models, models.family(model), entry)

    return json_reply(await _aside(request, told))


@router.delete(
    "/models/{model}/versions/{version}",
    responses=responses(DeletedReply, "Deleted", 403, 404, 409, 503),
    response_class=Response,
)
@needs(Scope.MODELS_WRITE)
async def delete_version(request: Request, model: Model, version: Version) -> Response:
    """Delete one version to which no alias leads; running requests finish."""
    return await _delete(request, model, version)


@router.get(
    "/models/{model}/versions/{version}/file",
    responses=file_responses(),
    response_class=Response,
)
@needs(Scope.MODELS_READ)
async def get_file(request: Request, model: Model, version: Version) -> Response:
    """Return the files of one version as a zip, checked against what was stored."""
    models = service_of(request).models

    def read() -> Response:
        entry = models.version(model, version)
        if entry.stored is not None:
            data = models.store.file(entry.stored)
        else:
            data = archive(models.memory.load(entry).model.content, deflated=False)
        name = f"{entry.name}-{entry.label[:32]}.zip".encode("ascii", "replace").decode()
        safe = name.replace('"', "_").replace("\\", "_")
        headers = {
            "ETag": f'"{entry.digest}"',
            "Content-Disposition": f'attachment; filename="{safe}"',
        }
        return Response(data, headers=headers, media_type="application/zip")

    return await _in(request, service_of(request).keeper.loading, read)


@router.put(
    "/models/{model}/aliases/{alias}",
    responses=responses(AliasReply, "It leads there", 400, 403, 404, 413, 415, 422, 503, 507),
    openapi_extra=ALIAS_BODY,
    response_class=Response,
)
@needs(Scope.MODELS_WRITE)
async def put_alias(request: Request, model: Model, alias: Alias) -> Response:
    """Let an alias lead to a version, wherever it led before."""
    service = service_of(request)
    _refuse_if_off(service)
    body = await read_body(request, service.settings.max_body_bytes)
    wanted = decode(body.content, AliasRequest)

    def change() -> AliasReply:
        entry = service.models.version(model, wanted.version)
        service.models.set_alias(model, alias, entry.label)
        return {"name": model, "alias": alias, "version": entry.label}

    return json_reply(await _aside(request, change))


@router.delete(
    "/models/{model}/aliases/{alias}",
    responses=responses(AliasReply, "It leads nowhere now", 403, 404, 503),
    response_class=Response,
)
@needs(Scope.MODELS_WRITE)
async def delete_alias(request: Request, model: Model, alias: Alias) -> Response:
    """Delete an alias."""
    service = service_of(request)
    _refuse_if_off(service)

    def change() -> AliasReply:
        led_to = service.models.family(model).aliases.get(alias, "")
        service.models.remove_alias(model, alias)
        return {"name": model, "alias": alias, "version": led_to}

    return json_reply(await _aside(request, change))


async def _delete(request: Request, model: str, version: str | None) -> Response:
    service = service_of(request)
    _refuse_if_off(service)
    notes_of(request).model = model

    def change() -> DeletedReply:
        return {"name": model, "versions": list(service.models.delete(model, version))}

    return json_reply(await _aside(request, change))


def _refuse_if_off(service: Service) -> None:
    if not service.settings.uploads:
        raise UploadsOff(
            "uploads",
            "are off here: replicas without a shared store would not know each other's models",
            f"{PREFIX}STORE on a shared folder or object store, and {PREFIX}UPLOADS=true",
        )


async def _received(request: Request, max_bytes: int) -> Body:
    try:
        async with asyncio.timeout(RECEIVE_S):
            return await read_body(request, max_bytes)
    except TimeoutError:
        raise BodyTooSlow("body", f"took more than {RECEIVE_S:g} s to arrive") from None


async def _aside(request: Request, work: Callable[[], _T]) -> _T:
    return await _in(request, service_of(request).housekeeping, work)


async def _in(request: Request, lane: Lane, work: Callable[[], _T]) -> _T:
    """Return what work in a thread gives, unless the caller leaves before."""
    return await outcome(lane.submit(work), request, "models", math.inf, math.inf)
