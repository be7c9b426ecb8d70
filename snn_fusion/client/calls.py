"""What is sent for each question, and how its answer is read."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import numpy as np

from snn_fusion.client.answers import FuseAnswer
from snn_fusion.client.catalogue import Alias, Model, ShippedSample, Target, Versions
from snn_fusion.client.checks import Check
from snn_fusion.client.comparisons import Comparison
from snn_fusion.client.decoding import decode
from snn_fusion.client.inputs import Recording, Sample, tensors

_T = TypeVar("_T")

JSON, BINARY = "application/json", "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One request: what is sent, and what its reply is read as."""

    method: str
    path: str
    kind: type[_T]
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def answer(self, content: bytes) -> _T:
        """Return the reply's content as a typed value; raises `UnreadableReply`."""
        return decode(content, self.kind)


class ContractChoices(TypedDict, total=False):
    """Which model, and how it is stepped; what is absent or None is the model's default.

    `model` is its name or the start of its digest, `contract` holds fields that override those of
    `profile`, `dt_s` is seconds a step.
    """

    model: str | None
    profile: str | None
    dt_s: float | None
    contract: Mapping[str, Any] | None


class FuseChoices(ContractChoices, total=False):
    """What a fuse request may choose.

    `target` is where it runs; `record` names nodes whose spikes and traces are wanted, or `all`;
    `seed` is echoed; `quantise` makes the integers that the target needs and the model lacks;
    `deadline_s` is the seconds after which the service gives up; `priority` is 1 to 3, 1 first.
    """

    target: str | None
    record: Sequence[str]
    seed: int | None
    quantise: bool
    deadline_s: float | None
    priority: int


class CompareChoices(ContractChoices, total=False):
    """What a comparison may choose.

    `tolerance` is the share of the spikes that may differ in an equivalent pair; `quantise`,
    `deadline_s` and `priority` as of a fuse request.
    """

    tolerance: float
    quantise: bool
    deadline_s: float | None
    priority: int


class CheckChoices(ContractChoices, total=False):
    """What a check may choose.

    `targets` are those to check, by default all; `duration_s` is the length of the run to estimate.
    """

    targets: Sequence[str] | None
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class _Targets:
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class _Models:
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True)
class _Samples:
    samples: tuple[ShippedSample, ...]


TARGETS = Call("GET", "/v1/targets", _Targets)
MODELS = Call("GET", "/v1/models", _Models)
SAMPLES = Call("GET", "/v1/samples", _Samples)


@dataclass(frozen=True, slots=True)
class _Deleted:
    versions: tuple[str, ...]


File = bytes | str | os.PathLike[str]
"""A file's content, or its path."""


def upload(model: File, manifest: File | None) -> Call[Model]:
    """Return the call of `POST /v1/models`; raises OSError if a file cannot be read."""
    content = _content(model)
    if manifest is None:
        return Call("POST", "/v1/models", Model, content, {"Content-Type": BINARY})
    boundary = secrets.token_hex(16).encode()
    parts = {b"model": content, b"manifest": _content(manifest)}
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
        % (boundary, name, name, data)
        for name, data in parts.items()
    )
    kind = f"multipart/form-data; boundary={boundary.decode()}"
    return Call(
        "POST", "/v1/models", Model, body + b"--%b--\r\n" % boundary, {"Content-Type": kind}
    )


def _content(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def model(reference: str) -> Call[Model]:
    """Return the call of `GET /v1/models/REFERENCE`."""
    return Call("GET", f"/v1/models/{_part(reference)}", Model)


def versions(name: str) -> Call[Versions]:
    """Return the call of `GET /v1/models/NAME/versions`."""
    return Call("GET", f"/v1/models/{_part(name)}/versions", Versions)


def download(name: str, version: str) -> Call[bytes]:
    """Return the call that fetches a version's files."""
    return Call("GET", f"/v1/models/{_part(name)}/versions/{_part(version)}/file", bytes)


def delete_model(name: str, version: str | None) -> Call[_Deleted]:
    """Return the call that deletes a version, or a whole model without one."""
    path = f"/v1/models/{_part(name)}"
    return Call(
        "DELETE", path if version is None else f"{path}/versions/{_part(version)}", _Deleted
    )


def set_alias(name: str, alias: str, version: str) -> Call[Alias]:
    """Return the call that lets an alias lead to a version."""
    path = f"/v1/models/{_part(name)}/aliases/{_part(alias)}"
    return Call("PUT", path, Alias, _json({"version": version}), {"Content-Type": JSON})


def delete_alias(name: str, alias: str) -> Call[Alias]:
    """Return the call that deletes an alias."""
    return Call("DELETE", f"/v1/models/{_part(name)}/aliases/{_part(alias)}", Alias)


def _part(text: str) -> str:
    """Return a name as a part of a path."""
    return quote(text, safe="@:+")


def fuse(sensors: Mapping[str, Recording], choices: FuseChoices) -> Call[FuseAnswer]:
    """Return the call of `POST /v1/fuse`."""
    return _sensing("/v1/fuse", FuseAnswer, sensors, choices)


def compare(
    sensors: Mapping[str, Recording], targets: Sequence[str], choices: CompareChoices
) -> Call[Comparison]:
    """Return the call of `POST /v1/compare`."""
    return _sensing("/v1/compare", Comparison, sensors, {**choices, "targets": targets})


def check(choices: CheckChoices) -> Call[Check]:
    """Return the call of `POST /v1/check`."""
    return Call("POST", "/v1/check", Check, _json(choices), {"Content-Type": JSON})


def _sensing(
    path: str, kind: type[_T], sensors: Mapping[str, Recording], choices: Mapping[str, Any]
) -> Call[_T]:
    """Return a call that sends recordings: binary, unless all are names of samples that ship."""
    parts = [
        part
        for name, one in sensors.items()
        if not isinstance(one, Sample)
        for part in tensors(name, one)
    ]
    named = {name: {"sample": one.name} for name, one in sensors.items() if isinstance(one, Sample)}
    body = {**choices, "sensors": named}
    if not parts:
        return Call("POST", path, kind, _json(body), {"Content-Type": JSON})
    header = _json({**body, "inputs": [part.entry for part in parts]})
    headers = {"Content-Type": BINARY, HEADER_LENGTH: str(len(header))}
    return Call("POST", path, kind, header + b"".join(part.raw for part in parts), headers)


def _json(fields: Mapping[str, Any]) -> bytes:
    """Return the fields that are chosen as JSON.

    Raises:
        ValueError, TypeError: if one cannot be told in JSON.
    """
    chosen = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(chosen, allow_nan=False, default=_plain).encode()


def _plain(value: object) -> object:
    """Return a mapping, a sequence or a NumPy number as JSON has it."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{value!r} cannot be told in JSON")
