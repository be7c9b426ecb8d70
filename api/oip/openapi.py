"""The protocol's part of the OpenAPI document, from the table of routes."""

import re
from typing import Any

import msgspec

from api.framing import BINARY, JSON
from api.oip import replies
from api.oip.replies import ErrorReply
from api.oip.requests import InferRequest
from api.oip.routes import ROUTES, IndexRequest, LoadRequest

REF = "#/components/schemas/{name}"
LENGTH = "Inference-Header-Content-Length"

INFER_TEXT = """\
Runs one inference of the Open Inference Protocol, version 2.

An event sensor takes two tensors, `SENSOR.times_us` (INT64) and `SENSOR.channels` (INT32), and may
take `SENSOR.values` (FP32); a sampled one takes `SENSOR.samples` with the parameter `rate_hz`. Any
non-empty subset of the sensors is one sample. Instead, an inference may give rasters, called like
the model's Input nodes, [batch, steps, *shape]. Every output leads with the batch.

With `Inference-Header-Content-Length` the body is JSON of that length and raw tensors behind it.
Outputs are raw where `binary_data_output` or their own `binary_data` says so. Bodies may be
compressed with gzip or deflate in both directions. The content type is not looked at.
"""
INFERENCE: dict[str, Any] = {
    "id": "42",
    "parameters": {"target": "numpy", "timeout": 500000},
    "inputs": [
        {"name": "vision.times_us", "datatype": "INT64", "shape": [3], "data": [1204, 1377, 2050]},
        {"name": "vision.channels", "datatype": "INT32", "shape": [3], "data": [613, 1771, 640]},
    ],
    "outputs": [{"name": "label"}, {"name": "quality"}],
}
ANSWER: dict[str, Any] = {
    "model_name": "av_digits",
    "model_version": "1",
    "id": "42",
    "parameters": {
        "target": "numpy",
        "digest": "4be1…",
        "steps": 70,
        "contract.reset": "to_v_reset",
    },
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["7"]},
        {"name": "quality", "datatype": "FP64", "shape": [1], "data": [0.74]},
    ],
}
REPLIES = {
    "live": "LiveReply",
    "ready": "ReadyReply",
    "metadata": "ServerMetadata",
    "model": "ModelMetadata",
    "model_ready": "ReadyReply",
    "config": "ModelConfig",
    "statistics": "StatisticsReply",
    "load": "LoadedReply",
    "unload": "LoadedReply",
    "infer": "InferReply",
}
"""Handler → its reply."""
BODIES = {"index": "IndexRequest", "load": "LoadRequest", "unload": "LoadRequest"}
"""Handler → its body, which may be empty."""
NAMED = ("404", "422", "503")
SENT = ("400", "413", "415", "501")
ERRORS = {
    "400": "The body cannot be read.",
    "404": "No such model, version, target or sample.",
    "413": "The body is too large.",
    "415": "The body is in an encoding that is not read.",
    "422": "The request, its contract or the model cannot be used as it is.",
    "501": "That part of the protocol is not served.",
    "502": "The run broke off.",
    "503": "Not ready, or too many requests wait (with Retry-After).",
    "504": "The deadline passed.",
}


def paths() -> dict[str, Any]:
    """Return the operations of the protocol by path."""
    return {
        path: {method.lower(): _operation(path, handler.__name__, handler.__doc__ or "")}
        for path, (method, handler) in ROUTES.items()
    }


def schemas() -> dict[str, Any]:
    """Return schema name → JSON schema, for every type of request and reply."""
    shapes = [getattr(replies, name) for name in dir(replies) if _is_shape(name)]
    types = [InferRequest, IndexRequest, LoadRequest, *shapes]
    return msgspec.json.schema_components(types, ref_template=REF)[1]


def _is_shape(name: str) -> bool:
    return name.endswith(("Reply", "Metadata", "Config", "Value", "Entry", "Statistics"))


def _operation(path: str, handler: str, text: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": ["open inference protocol"],
        "operationId": "oip" + re.sub(r"\W+", "_", path.removeprefix("/v2")),
        "summary": text.partition("\n")[0],
        "parameters": [_in_path(name) for name in re.findall(r"{(\w+)}", path)],
        "responses": {"200": _answer(handler)},
    }
    if handler in ("infer", *BODIES):
        operation["requestBody"] = _body(handler)
    if handler == "infer":
        header = {"name": LENGTH, "in": "header", "schema": {"type": "integer", "minimum": 0}}
        operation["parameters"].append({**header, "description": "Bytes of the JSON."})
        operation["description"] = INFER_TEXT
    for status in _errors(handler):
        content = {JSON: {"schema": _ref(ErrorReply.__name__)}}
        operation["responses"][status] = {"description": ERRORS[status], "content": content}
    return operation


def _errors(handler: str) -> list[str]:
    if handler in ("live", "metadata"):
        return []
    if handler == "ready":
        return ["503"]
    sends = handler in ("infer", *BODIES)
    return sorted(
        [*NAMED, *(SENT if sends else ()), *(("502", "504") if handler == "infer" else ())]
    )


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _answer(handler: str) -> dict[str, Any]:
    if handler == "index":
        schema: dict[str, Any] = {"type": "array", "items": _ref("IndexEntry")}
    else:
        schema = _ref(REPLIES[handler])
    content: dict[str, Any] = {JSON: {"schema": schema}}
    if handler == "infer":
        content[JSON]["example"] = ANSWER
        content[BINARY] = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "The answer.", "content": content}


def _body(handler: str) -> dict[str, Any]:
    if handler != "infer":
        return {"required": False, "content": {JSON: {"schema": _ref(BODIES[handler])}}}
    inference = {"schema": _ref("InferRequest"), "example": INFERENCE}
    raw = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": {JSON: inference, BINARY: raw}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF.format(name=name)}
