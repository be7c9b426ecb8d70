"""What the routes share."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.service import Service


def service_of(request: Request) -> Service:
    """Return the service behind the application."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def json_reply(content: object, status: int = 200) -> Response:
    """Return content as JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def documented(reply: type, text: str, *others: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for a route that gives `reply` with 200 and `others`."""
    schema = {"$ref": f"#/components/schemas/{reply.__name__}"}
    content = {"application/json": {"schema": schema}}
    return {status: {"description": text, "content": content} for status in (200, *others)}
