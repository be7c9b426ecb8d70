"""The application and its factories."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api import openapi
from api.access.guard import Guard
from api.access.middleware import Access
from api.access.scopes import RouteScopes
from api.dispatch import KNOWN, Dispatch, known_response
from api.errors import foreseen, make_problem, problem_response, respond
from api.middleware import Observed
from api.notes import notes_of
from api.oip.inference import OpenInference
from api.oip.routes import HOT, make_routes
from api.routes import catalogue, health, models
from api.routes.check import check
from api.routes.compare import compare
from api.routes.fuse import Fuse
from api.service import Service
from api.settings import Settings
from api.targets import make_registry
from api.tracing import Tracing, make_tracing
from api.vitals import watch_vitals
from backends.registry import Registry
from fusion.shelf import Shelf

log = structlog.get_logger("snn_fusion")

DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Pages that FastAPI makes; open to all."""


def create_app(
    settings: Settings,
    *,
    registry: Registry | None = None,
    shelf: Shelf | None = None,
    metrics_registry: CollectorRegistry | None = None,
    warm_first: bool = False,
) -> FastAPI:
    """Return the application.

    Args:
        settings: the deployment's settings.
        registry: the targets; by default those that the settings name.
        shelf: the models; by default those that the settings name.
        metrics_registry: where metrics are registered; by default a new one.
        warm_first: whether to compile the models before anything is answered, not beside it.

    Raises:
        InvalidSettings: if the settings name a target or model that does not exist, or want keys
            and there are none, or the environment wants traces that cannot be made.
        InvalidTarget: if a target's file is wrong.
    """
    service = Service(
        settings,
        registry or make_registry(settings),
        shelf or Shelf(settings.models_dir, settings.model_limits),
        metrics_registry or CollectorRegistry(),
    )
    protocol = OpenInference(service)
    tracing = make_tracing()
    guard = Guard(settings, service.metrics, service.shared.counters)
    app = _Application(
        title="SNN Fusion",
        version=version("snn-fusion"),
        description="Sensor events and a spiking network in, the fused answer out.",
        lifespan=_lifespan(service, protocol, guard, tracing, warm_first),
        # `tracing` and `metrics` are ours; FastAPI would look for its own with every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.open_inference = protocol
    hot = {"/v1/fuse": Fuse(service)}
    _add_routes(app, hot)
    _add_error_handlers(app)
    scopes = RouteScopes(app.routes, DOCUMENTATION)
    openapi.install(app, scopes)
    paths = {*DOCUMENTATION, *app.openapi()["paths"]}

    def around(stack: ASGIApp) -> ASGIApp:
        allowed = Access(Dispatch(stack, {**hot, **HOT}), guard, scopes)
        return Observed(allowed, service.metrics, paths, tracing)

    app.around = around
    return app


class _Application(FastAPI):
    """FastAPI, with what every request passes through around all of its own middleware.

    So what passes FastAPI by passes all of it by.
    """

    around: Callable[[ASGIApp], ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Starlette.__call__(self, scope, receive, send)  # FastAPI's own looks for telemetry

    def build_middleware_stack(self) -> ASGIApp:
        return self.around(super().build_middleware_stack())


def _add_routes(app: FastAPI, hot: Mapping[str, ASGIApp]) -> None:
    # Plain Starlette routes: the body stays as it is. `openapi` documents them.
    app.include_router(catalogue.router)
    app.include_router(models.router)
    app.include_router(health.router)
    app.router.routes.extend(Route(path, one, methods=["POST"]) for path, one in hot.items())
    app.add_route("/v1/check", check, methods=["POST"])
    app.add_route("/v1/compare", compare, methods=["POST"])
    app.router.routes.extend(make_routes())


def _lifespan(
    service: Service,
    protocol: OpenInference,
    guard: Guard,
    tracing: Tracing | None,
    warm_first: bool,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Compile, if need be in the background, so that probes are answered; close at the end."""
        vitals = asyncio.create_task(watch_vitals(service.metrics, service.targets))
        guard.start()
        models = asyncio.create_task(service.keeper.watch())
        warm_up = service.housekeeping.submit(service.warm_up)
        await service.shared.open()
        while warm_first and not (warm_up.done() or service.health.draining):
            await asyncio.wait((warm_up,), timeout=0.1)
        try:
            yield
        finally:
            service.health.drain()
            vitals.cancel()
            models.cancel()
            warm_up.cancel()
            guard.close()
            protocol.close()
            await service.shared.close()
            await service.owners.close()
            try:
                async with asyncio.timeout(service.settings.shutdown_s):
                    await asyncio.to_thread(service.close)
            except TimeoutError:  # a run that hangs; its child process ends with this one
                log.warning("backends did not close in time")
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    return lifespan


def _add_error_handlers(app: FastAPI) -> None:
    for kind in KNOWN:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unforeseen)


async def _known(request: Request, error: Exception) -> Response:
    return known_response(error, request.scope)


async def _unforeseen(request: Request, error: Exception) -> Response:
    return problem_response(foreseen(error), notes_of(request))  # and it is raised on, and logged


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    notes = notes_of(request)
    phrase = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {request.url.path}: {error.detail}"
    kind = phrase.lower().replace(" ", "-")
    reply = make_problem(error.status_code, kind, phrase, detail, notes.request_id)
    return respond(reply, notes, error.headers)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    notes = notes_of(request)
    field = ".".join(str(part) for part in first["loc"])
    reply = make_problem(
        422,
        "invalid-input",
        "The request cannot be used as it is",
        f"{field}: {first['msg']}",
        notes.request_id,
    )
    reply["field"] = field
    return respond(reply, notes)
