"""What the routes share."""

import math
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.errors import BodyTooLarge, ClientGone
from api.framing import Body
from api.job import Asked, Job, Reply
from api.lanes import outcome
from api.notes import notes_of
from api.service import Service
from api.tensors import HEADER_LENGTH

_T = TypeVar("_T")

SHORT_TEXT_BYTES = 4096
"""JSON text up to this length is parsed on the event loop."""


def service_of(request: Request) -> Service:
    """Return the service behind the application."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def read_body(request: Request, max_bytes: int) -> Body:
    """Return the request's body as it came in.

    Raises:
        BodyTooLarge: as soon as it is known.
        ClientGone: if the caller left while sending it.
    """
    headers = request.headers
    announced = headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 19 and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    chunks, length = [], 0
    try:
        async for chunk in request.stream():
            chunks.append(chunk)
            length += len(chunk)
            if length > max_bytes:
                raise _too_large(max_bytes)
    except ClientDisconnect:
        raise ClientGone("the caller closed the connection while sending") from None
    return Body(
        b"".join(chunks),
        headers.get("content-type", "").partition(";")[0].strip().lower(),
        headers.get("content-encoding", "").strip().lower(),
        headers.get(HEADER_LENGTH),
    )


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge("body", "is too large", f"at most {max_bytes} bytes")


async def parsed(request: Request, body: Body, parse: Callable[[], _T]) -> _T:
    """Return what `parse` makes of a body: here and now if it is short, else in a thread.

    A short text is parsed in less time than a thread needs to take over (docs/adr/0018).
    """
    service = service_of(request)
    if body.text_bytes <= SHORT_TEXT_BYTES and not body.encoding and service.health.started:
        return parse()
    return await outcome(service.intake.submit(parse), request, "intake", math.inf, math.inf)


async def answer(request: Request, job: Job) -> Reply:
    """Run a job on its target, with others that can share its run, and return its reply.

    Decoding, encoding and the run happen in threads: while the target is busy, what the sensors
    recorded is decoded in a thread of the intake, else in the thread that runs.

    Raises:
        QueueFull: if as many requests wait as may.
        ClientGone, RunTimeout: if the caller leaves or the deadline passes before.
        FusionError, BackendError: if the job cannot be run, or the run failed.
    """
    service = service_of(request)
    lane = service.lanes[job.target.name]
    lane.refuse_if_full()
    if not lane.idle:
        decoding = service.intake.submit(job.window.encoding)
        await outcome(decoding, request, job.target.name, job.end, job.deadline_s)
    asked = Asked(job, notes_of(request).request_id, copy_context())
    running = lane.join(job.key, asked)
    return await outcome(running, request, job.target.name, job.end, job.deadline_s)


def json_reply(content: object, status: int = 200) -> Response:
    """Return content as JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def documented(reply: type, text: str, *others: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for a route that gives `reply` with 200 and `others`."""
    schema = {"$ref": f"#/components/schemas/{reply.__name__}"}
    content = {"application/json": {"schema": schema}}
    return {status: {"description": text, "content": content} for status in (200, *others)}
