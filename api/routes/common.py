"""What the routes share."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from api.errors import BodyTooLarge, ClientGone, Elsewhere
from api.forwarding import forward
from api.framing import Body
from api.hop import hop_of
from api.job import Asked, Job, Reply
from api.lanes import outcome
from api.models.catalogue import ModelAway
from api.notes import notes_of
from api.routes.cached import cached_answer
from api.service import Service
from api.tensors import HEADER_LENGTH
from fusion.errors import NotLoaded

_T = TypeVar("_T")

SHORT_TEXT_BYTES = 2**17
"""JSON text up to this length is parsed on the event loop."""

_TRIES = 5
"""So often a model may leave the memory again before the request that it was read for uses it."""
_HEADER_LENGTH = HEADER_LENGTH.encode()


def service_of(request: Request) -> Service:
    """Return the service behind the application."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def read_body(request: Request, max_bytes: int) -> Body:
    """Return the request's body as it came in.

    Raises:
        BodyTooLarge: as soon as it is known.
        InvalidInput: if the deadline of a request that was forwarded is no number of seconds.
        ClientGone: if the caller left while sending it.
    """
    headers = _headers(request)
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and len(announced) < 19 and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    return Body(
        await _content(request.receive, max_bytes),
        _text(headers, b"content-type").partition(";")[0].strip().lower(),
        _text(headers, b"content-encoding").strip().lower(),
        headers[_HEADER_LENGTH].decode("latin-1") if _HEADER_LENGTH in headers else None,
        hop_of(headers),
    )


def _headers(request: Request) -> dict[bytes, bytes]:
    """Return the headers by their names in lower case, the first of each name."""
    return dict(reversed(request.scope["headers"]))


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


async def _content(receive: Receive, max_bytes: int) -> bytes:
    chunks, length, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the caller closed the connection while sending")
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge("body", "is too large", f"at most {max_bytes} bytes")


async def parsed(
    service: Service,
    request: Request,
    body: Body,
    parse: Callable[[], _T],
    *,
    at_once: bool = True,
) -> _T:
    """Return what `parse` makes of a body: here and now if it is short, else in a thread.

    A short text is parsed in less time than a thread needs to take over (docs/adr/0018). What asks
    for a model that is not in memory is parsed again once it is.
    """
    short = at_once and body.text_bytes <= SHORT_TEXT_BYTES and not body.encoding
    trace = notes_of(request).trace
    for _ in range(_TRIES):
        begun = time.perf_counter()
        try:
            if short and service.health.started:
                return parse()
            work = service.intake.submit(parse)
            return await outcome(work, request, "intake", math.inf, math.inf)
        except ModelAway as away:
            reference = away.reference
        finally:
            if trace is not None:
                trace.stage("parse", begun, time.perf_counter())
        bringing = service.keeper.loading.submit(partial(service.bring_model, reference))
        await outcome(bringing, request, "models", math.inf, math.inf)
    raise NotLoaded("model", "left the memory as soon as it was read", "ask again")


def answer(service: Service, request: Request, job: Job) -> Awaitable[Reply]:
    """Return the reply to a job: from the cache if it takes long and was answered before, else run.

    Raises:
        QueueFull: if as many requests wait as may.
        ClientGone, RunTimeout: if the caller leaves or the deadline passes before.
        FusionError, BackendError: if the job cannot be run, or the run failed.
    """
    cache = service.shared.cache
    if cache is not None and cache.concerns(job):
        return cached_answer(request, service, cache, job, run_job)
    return run_job(service, request, job)


async def run_job(service: Service, request: Request, job: Job) -> Reply:
    """Run a job on its target, with others that can share its run, and return its reply.

    Decoding, encoding and the run happen in threads: while the target is busy, what the sensors
    recorded is decoded in a thread of the intake, else in the thread that runs. What will be so
    short that handing it over costs more is done here and now (docs/adr/0025).

    Raises as `answer`.
    """
    lane = service.lanes[job.target.name]
    asked = Asked(job, notes_of(request), copy_context())
    if service.runner.is_short(job):
        return await lane.run_here(job.key, asked, job.priority)
    lane.refuse_if_full(job.priority)
    if not lane.idle:
        decoding = service.intake.submit(job.window.encoding, job.priority)
        await outcome(decoding, request, job.target.name, job.end, job.deadline_s)
    running = lane.join(job.key, asked, job.priority)
    return await outcome(running, request, job.target.name, job.end, job.deadline_s)


async def passed_on(
    service: Service, request: Request, body: Body, to: Elsewhere, started: float
) -> Response:
    """Return the answer of the deployment that owns the target; raises as `forward`.

    Raises:
        Refused: if the caller may not run anything there.
    """
    notes_of(request).pass_on(to.targets)
    return await forward(service.owners, service.metrics, request, body, to, started)


async def send_reply(send: Send, reply: Reply) -> None:
    """Send a reply whole."""
    headers = [(name.lower().encode(), text.encode()) for name, text in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.content)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})


def json_reply(content: object, status: int = 200) -> Response:
    """Return content as JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def documented(reply: type, text: str, *others: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for a route that gives `reply` with 200 and `others`."""
    schema = {"$ref": f"#/components/schemas/{reply.__name__}"}
    content = {"application/json": {"schema": schema}}
    return {status: {"description": text, "content": content} for status in (200, *others)}
