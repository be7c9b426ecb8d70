"""The OpenAPI document: schemas from the types that decode requests and build replies."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import replies
from api.access.scopes import RouteScopes
from api.errors import PROBLEM_JSON, ProblemReply, ViolationReply
from api.framing import BINARY, JSON
from api.oip import openapi as oip
from api.openapi_access import secure
from api.openapi_examples import (
    BINARY_TEXT,
    BODY,
    CHECK,
    CHECK_REPLY,
    CHECK_TEXT,
    COMPARE,
    COMPARE_REPLY,
    COMPARE_TEXT,
    PROBLEM,
    REPLY,
    TENSORS,
)
from api.requests import PARTS, AliasRequest, CheckRequest, CompareRequest, FuseRequest

REF = "#/components/schemas/{name}"
HEADER = "Inference-Header-Content-Length"

PROBLEM_STATUSES = {
    "400": "The body cannot be read.",
    "404": "No such model, target or sample.",
    "413": "The body is too large.",
    "415": "The body is of the wrong type.",
    "422": "The request, its contract or the model cannot be used as it is.",
    "502": "The run broke off.",
    "503": "Too many requests wait (with Retry-After), or the target cannot be used.",
    "504": "The deadline passed.",
}
RUN_STATUSES = ("502", "504")
"""Statuses that only a run can give."""


def install(app: FastAPI, scopes: RouteScopes) -> None:
    """Give the application its OpenAPI document, made at the first use."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = make_document(app, scopes)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # the way FastAPI documents


def make_document(app: FastAPI, scopes: RouteScopes) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    made["paths"]["/v1/fuse"] = {"post": fuse_operation()}
    made["paths"]["/v1/compare"] = {"post": compare_operation()}
    made["paths"]["/v1/check"] = {"post": check_operation()}
    made["paths"] |= oip.paths()
    secure(made, scopes)
    # The protocol's own first: both know tensors, and only `schemas` says what their data is.
    made.setdefault("components", {}).setdefault("schemas", {}).update(oip.schemas() | schemas())
    return made


def schemas() -> dict[str, Any]:
    """Return schema name → JSON schema, for every type of request and reply."""
    shapes = [
        getattr(replies, name)
        for name in dir(replies)
        if name.endswith(("Reply", "Description", "Name", "UnreadableModel"))
    ]
    types = [AliasRequest, CheckRequest, CompareRequest, FuseRequest, *PARTS]
    _, made = msgspec.json.schema_components(
        [*types, *shapes, ProblemReply, ViolationReply], ref_template=REF
    )
    # These two are decoded later, one by one, so that an error can name the sensor.
    for name in ("FuseRequest", "CompareRequest"):
        sensors = made[name]["properties"]["sensors"]
        sensors["additionalProperties"] = {"$ref": REF.format(name="SensorInput")}
    made["TensorInput"]["properties"]["data"] = {
        "type": "array",
        "items": {},
        "description": "Numbers, flat or nested, row-major; absent in the binary form.",
    }
    return made


def fuse_operation() -> dict[str, Any]:
    """Return the OpenAPI operation of `POST /v1/fuse`."""
    examples = {
        "events": {"summary": "Events and samples", "value": BODY},
        "tensors": {"summary": "Tensors as JSON", "value": TENSORS},
    }
    return {
        "tags": ["fusion"],
        "operationId": "fuse",
        "summary": "Fuse what a model's sensors recorded.",
        "description": BINARY_TEXT,
        **_sensing("FuseRequest", examples),
        "responses": _answers(
            "FuseReply", "The fused answer, under the contract that it echoes.", REPLY
        ),
    }


def compare_operation() -> dict[str, Any]:
    """Return the OpenAPI operation of `POST /v1/compare`."""
    examples = {"events": {"summary": "Events and samples", "value": COMPARE}}
    return {
        "tags": ["fusion"],
        "operationId": "compare",
        "summary": "Run a fuse request on several targets, and say where they differ first.",
        "description": COMPARE_TEXT,
        **_sensing("CompareRequest", examples),
        "responses": _answers(
            "ComparisonReply", "Every two targets compared, with a verdict.", COMPARE_REPLY
        ),
    }


def _sensing(request: str, examples: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters and the body of an operation that takes what sensors recorded."""
    header = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Bytes of the JSON header of a binary body.",
        "schema": {"type": "integer", "minimum": 0},
    }
    content = {
        JSON: {"schema": _ref(request), "examples": examples},
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    }
    return {"parameters": [header], "requestBody": {"required": True, "content": content}}


def check_operation() -> dict[str, Any]:
    """Return the OpenAPI operation of `POST /v1/check`."""
    body = {"schema": _ref("CheckRequest"), "example": CHECK}
    answers = _answers("CheckReply", "How the model fits every target.", CHECK_REPLY)
    return {
        "tags": ["fusion"],
        "operationId": "check",
        "summary": "Say whether a model fits targets, without running it.",
        "description": CHECK_TEXT,
        "requestBody": {"required": True, "content": {JSON: body}},
        "responses": {status: answers[status] for status in answers if status not in RUN_STATUSES},
    }


def _answers(reply: str, text: str, example: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {
            "description": text,
            "content": {JSON: {"schema": _ref(reply), "example": example}},
        }
    }
    for status, meaning in PROBLEM_STATUSES.items():
        shown = {"example": PROBLEM} if status == "422" else {}
        content = {PROBLEM_JSON: {"schema": _ref("ProblemReply"), **shown}}
        answers[status] = {"description": meaning, "content": content}
    answers["503"]["headers"] = {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
    }
    return answers


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF.format(name=name)}
