"""The routes of the protocol; plain Starlette routes, because bodies stay as they are."""

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from api.access.scopes import Scope, needs, open_to_all
from api.errors import Elsewhere, NotSupported
from api.framing import Body, inflate
from api.job import Job, Reply
from api.lanes import outcome
from api.notes import notes_of
from api.oip import rasters, repository
from api.oip.inference import OpenInference, Place
from api.oip.metadata import model_config, model_metadata, server_metadata
from api.oip.rasters import RasterJob
from api.oip.replies import IndexEntry, LoadedReply, StatisticsReply
from api.oip.requests import Parameters
from api.requests import decode
from api.routes.common import answer, json_reply, parsed, passed_on, read_body
from api.routes.health import readiness
from fusion.errors import NotLoaded

_T = TypeVar("_T")
Handler = Callable[[Request], Awaitable[Response]]


class IndexRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which models of the repository to list."""

    ready: Annotated[bool, Meta(description="Only those that are READY.")] = False


class LoadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """How to load or unload a model."""

    parameters: Annotated[
        Parameters, Meta(description="`unload_dependents`, which changes nothing here.")
    ] = field(default_factory=dict)


@open_to_all
async def live(_: Request) -> Response:
    """Say that the event loop turns; touches nothing else."""
    return json_reply({"live": True})


@open_to_all
async def ready(request: Request) -> Response:
    """Say whether inferences should be sent here."""
    reasons = await readiness(_protocol(request).service)
    if reasons:
        raise NotLoaded("server", ", ".join(reasons))
    return json_reply({"ready": True})


@open_to_all
async def metadata(_: Request) -> Response:
    """Tell the server's name, version and extensions."""
    return json_reply(server_metadata())


@needs(Scope.MODELS_READ)
async def model_ready(request: Request) -> Response:
    """Say whether a model takes inferences."""
    place = _place(request)
    await _aside(request, partial(_protocol(request).check_ready, place))
    return json_reply({"name": place.model, "ready": True})


@needs(Scope.MODELS_READ)
async def model(request: Request) -> Response:
    """Tell a model's tensors."""
    protocol, place = _protocol(request), _place(request)

    def told() -> object:
        shelved = protocol.bring(place)
        return model_metadata(shelved.model, protocol.describe(shelved))

    return json_reply(await _aside(request, told))


@needs(Scope.MODELS_READ)
async def config(request: Request) -> Response:
    """Tell a model's configuration."""
    protocol, place = _protocol(request), _place(request)

    def told() -> object:
        shelved = protocol.bring(place)
        return model_config(shelved.model, protocol.describe(shelved), protocol.service.settings)

    return json_reply(await _aside(request, told))


@needs(Scope.MODELS_READ)
async def statistics(request: Request) -> Response:
    """Tell what was counted of one model, or of all."""
    protocol = _protocol(request)

    def told() -> StatisticsReply:
        if "model" in request.path_params:
            name = protocol.bring(_place(request)).model.name
            families = [protocol.service.models.family(name)]
        else:
            families = list(protocol.service.models.families.values())
        chosen = [family.chosen for family in families]
        return {"model_stats": protocol.statistics.told(chosen)}

    return json_reply(await _aside(request, told))


async def infer(request: Request) -> Response:
    """Answer one inference; decoding, the run and encoding happen in threads if they take long."""
    started = time.perf_counter()
    protocol, notes = _protocol(request), notes_of(request)
    service = protocol.service
    body = await read_body(request, service.settings.max_body_bytes)
    accept = request.headers.get("accept-encoding", "")
    place = _place(request)
    prepare = partial(protocol.prepare, body, place, accept, started, notes.use)
    try:
        job = await parsed(service, request, body, prepare, at_once=protocol.knows(place.model))
    except Elsewhere as to:
        return await passed_on(service, request, body, to, started)
    try:
        reply = await _answer(request, job)
    except Exception:
        protocol.fail(job.shelved, started)
        raise
    return Response(reply.content, headers=reply.headers)


async def _answer(request: Request, job: Job | RasterJob) -> Reply:
    """Run a job; those of rasters one at a time beside the others, whom a batch could hold up."""
    protocol, name = _protocol(request), job.target.name
    if isinstance(job, Job):
        return await answer(protocol.service, request, job)
    work = partial(rasters.run, protocol.service, job, notes_of(request))
    running = protocol.raster_lanes[name].submit(work, job.priority)
    return await outcome(running, request, name, job.end, job.deadline_s)


@needs(Scope.MODELS_READ)
async def index(request: Request) -> Response:
    """List the models of the repository, and whether they are ready."""
    service = _protocol(request).service
    wanted = await _sent(request, IndexRequest)
    entries: list[IndexEntry] = await _aside(request, partial(repository.index, service))
    return json_reply([one for one in entries if one["state"] == "READY" or not wanted.ready])


@needs(Scope.REPOSITORY)
async def load(request: Request) -> Response:
    """Read a model anew from the models' folder, and compile it."""
    return await _change(request, loads=True)


@needs(Scope.REPOSITORY)
async def unload(request: Request) -> Response:
    """Drop a model until it is loaded again."""
    return await _change(request, loads=False)


async def _change(request: Request, loads: bool) -> Response:
    protocol, name = _protocol(request), request.path_params["model"]
    sent = await _sent(request, LoadRequest)
    strange = [name for name in sent.parameters if name != "unload_dependents"]
    if strange:
        raise NotSupported(f"parameters.{strange[0][:80]}: models are read as the folder has them")
    change = repository.load if loads else repository.unload
    entry = await _aside(request, partial(change, protocol.service, name))
    reply: LoadedReply = {"name": name, "version": entry.version, "digest": entry.digest}
    return json_reply(reply)


async def _sent(request: Request, kind: type[_T]) -> _T:
    """Return what the body says, which may be empty."""
    limit = _protocol(request).service.settings.max_body_bytes
    body: Body = await read_body(request, limit)
    return decode(inflate(body, limit) or b"{}", kind)


async def _aside(request: Request, work: Callable[[], _T]) -> _T:
    """Return what work in a thread gives, unless the caller leaves before."""
    running = _protocol(request).service.housekeeping.submit(work)
    return await outcome(running, request, "housekeeping", math.inf, math.inf)


def _protocol(request: Request) -> OpenInference:
    protocol = request.app.state.open_inference
    assert isinstance(protocol, OpenInference)
    return protocol


def _place(request: Request) -> Place:
    return Place(request.path_params["model"], request.path_params.get("version"))


def _routes() -> dict[str, tuple[str, Handler]]:
    """Return path → method and handler, in the order in which paths are tried."""
    routes: dict[str, tuple[str, Handler]] = {
        "/v2": ("GET", metadata),
        "/v2/": ("GET", metadata),
        "/v2/health/live": ("GET", live),
        "/v2/health/ready": ("GET", ready),
        "/v2/models/stats": ("GET", statistics),
        "/v2/repository/index": ("POST", index),
        "/v2/repository/models/{model}/load": ("POST", load),
        "/v2/repository/models/{model}/unload": ("POST", unload),
    }
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes[path] = ("GET", model)
        routes[f"{path}/ready"] = ("GET", model_ready)
        routes[f"{path}/config"] = ("GET", config)
        routes[f"{path}/stats"] = ("GET", statistics)
        routes[f"{path}/infer"] = ("POST", infer)
    return routes


ROUTES = _routes()
"""Path → method and handler."""


def _noted(path: str, handler: Handler) -> Handler:
    @wraps(handler)
    async def noted(request: Request) -> Response:
        notes_of(request).route = path
        return await handler(request)

    return noted


@needs(Scope.FUSE)
class Infer:
    """Answers inferences, as an ASGI application of its own (docs/adr/0025).

    Args:
        path: the template of the paths at which it does.
    """

    def __init__(self, path: str) -> None:
        self._answer = _noted(path, infer)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:  # noqa: D102
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


HOT = {path: Infer(path) for path, (_, handler) in ROUTES.items() if handler is infer}
"""Template of a path → what answers a POST to it without FastAPI's stack."""


def make_routes() -> list[Route]:
    """Return the routes; each notes its template, which stands for the path in the metrics."""
    return [
        Route(path, HOT.get(path) or _noted(path, handler), methods=[method])
        for path, (method, handler) in ROUTES.items()
    ]
