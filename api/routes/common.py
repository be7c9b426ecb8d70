"""What the routes share."""

from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.errors import BodyTooLarge, ClientGone
from api.framing import Body
from api.service import Service
from api.tensors import HEADER_LENGTH


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
    too_large = BodyTooLarge("body", "is too large", f"at most {max_bytes} bytes")
    if announced.isdecimal() and len(announced) < 19 and int(announced) > max_bytes:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > max_bytes:
                raise too_large
    except ClientDisconnect:
        raise ClientGone("the caller closed the connection while sending") from None
    return Body(
        bytes(content),
        headers.get("content-type", "").partition(";")[0].strip().lower(),
        headers.get("content-encoding", "").strip().lower(),
        headers.get(HEADER_LENGTH),
    )


def json_reply(content: object, status: int = 200) -> Response:
    """Return content as JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def documented(reply: type, text: str, *others: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for a route that gives `reply` with 200 and `others`."""
    schema = {"$ref": f"#/components/schemas/{reply.__name__}"}
    content = {"application/json": {"schema": schema}}
    return {status: {"description": text, "content": content} for status in (200, *others)}
