"""What the OpenAPI document says of the routes of models."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from api.errors import PROBLEM_JSON
from fusion.contract import PROFILES

_REF = "#/components/schemas/{name}"

PROBLEMS = {
    400: "The body cannot be read.",
    403: "Models are not changed at this service.",
    404: "No such model, version or alias.",
    408: "The body did not arrive in time.",
    409: "The change contradicts what is stored.",
    413: "The body is too large.",
    415: "The body is in an encoding that is not read.",
    422: "The model cannot be used as it is.",
    503: "The store cannot be used, what is stored is damaged, or too many requests wait.",
    507: "There is no room for the model.",
}

MODEL: dict[str, Any] = {
    "name": "gestures",
    "version": "3",
    "digest": "9c1f…",
    "source": "store",
    "state": "ready",
    "problem": None,
    "loaded": True,
    "created": "2026-11-24T18:02:11.482913+00:00",
    "size_bytes": 118302,
    "aliases": ["production"],
    "versions": ["1", "2", "3"],
    "default": False,
    "description": "Eleven gestures before an event camera.",
    "labels": ["clap", "wave"],
    "window_s": 0.5,
    "sensors": {
        "camera": {
            "unit": "events",
            "shape": [2, 32, 32],
            "channels": 2048,
            "rate_hz": None,
            "encoder": None,
            "description": "",
        }
    },
    "heads": {
        "camera": {
            "sensor": "camera",
            "node": "camera_out",
            "readout": "last",
            "read_at_s": None,
            "temperature": 1.0,
            "reliability": 0.93,
        }
    },
    "contract": {"dt_s": 0.001, **PROFILES["nir"]},
}
_VERSION = {
    name: MODEL[name]
    for name in (
        "name", "version", "digest", "source", "state", "problem", "loaded", "created",
        "size_bytes", "aliases",
    )
}  # fmt: skip
EXAMPLES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "ModelReply": MODEL,
        "ModelsReply": {"models": [{**MODEL, "owner": None}], "problems": []},
        "VersionsReply": {
            "name": "gestures",
            "versions": [_VERSION],
            "aliases": {"production": "3"},
        },
        "AliasReply": {"name": "gestures", "alias": "production", "version": "3"},
        "DeletedReply": {"name": "gestures", "versions": ["3"]},
    }
)
PROBLEM: dict[str, Any] = {
    "type": "urn:snn-fusion:problem:conflict",
    "title": "The change contradicts what is stored",
    "status": 409,
    "detail": "fusion.yaml.version: version '3' of 'gestures' exists with other content, whose "
    "digest is 9c1f3a6be2d0 (try: a version that does not exist yet)",
    "field": "fusion.yaml.version",
    "nearest": "a version that does not exist yet",
    "request_id": "5f0c0a86b25b4ab9a1b1f1d2b7c1c0de",
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/zip": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["model"],
                    "additionalProperties": False,
                    "properties": {
                        "model": {
                            "type": "string",
                            "format": "binary",
                            "description": "A zip of a model, or a .nir file.",
                        },
                        "manifest": {
                            "type": "string",
                            "format": "binary",
                            "description": "A fusion.yaml in place of the zip's own.",
                        },
                    },
                }
            },
        },
    }
}
ALIAS_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(name="AliasRequest")},
                "example": {"version": "3"},
            }
        },
    }
}


def responses(
    reply: type, text: str, *problems: int, status: int = 200, also: tuple[int, ...] = ()
) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a route.

    Args:
        reply: what it gives.
        text: what that is.
        problems: statuses of the problems that it may give.
        status: the status of success.
        also: further statuses with the same reply.
    """
    name = reply.__name__
    content = {"application/json": {"schema": {"$ref": _REF.format(name=name)},
                                    "example": EXAMPLES[name]}}  # fmt: skip
    made: dict[int | str, dict[str, Any]] = {
        one: {"description": text, "content": content} for one in (status, *also)
    }
    return made | _problems(problems)


def file_responses() -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of the route that gives a model's files."""
    described = {"description": "The files", "content": {"application/zip": _BINARY}}
    return {200: described, **_problems((404, 422, 503))}


def _problems(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": _REF.format(name="ProblemReply")}
    return {
        status: {
            "description": PROBLEMS[status],
            "content": {
                PROBLEM_JSON: {"schema": schema, **({"example": PROBLEM} if status == 409 else {})}
            },
        }
        for status in statuses
    }
