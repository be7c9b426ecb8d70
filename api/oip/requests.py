"""Inference requests of the protocol: their fields, and what `parameters` say of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from msgspec import Meta, Struct, field, structs

from api.errors import MalformedBody, NotSupported
from api.framing import Body, inflate
from api.requests import FuseRequest, Int64, TensorInput, decode
from api.tensors import Tensor, read_tensors, split_body
from fusion.errors import InvalidInput

Parameters = dict[str, bool | Int64 | float | str]

BINARY_OUTPUT = "binary_data_output"
RAW = "0"
"""Value of `Inference-Header-Content-Length` of a body that is one raw tensor, without JSON."""
NOT_OURS = {"model", "sensors", "inputs"}
"""Fields of a fuse request that an inference says otherwise."""


class RequestedOutput(Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that the reply shall hold."""

    name: str
    parameters: Annotated[
        Parameters,
        Meta(description="`binary_data`: raw or JSON; `classification`: the best so many labels."),
    ] = field(default_factory=dict)


class InferRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One inference of the Open Inference Protocol."""

    id: Annotated[str | None, Meta(description="Echoed in the reply.")] = None
    parameters: Annotated[
        Parameters,
        Meta(
            description="`target`, `profile`, `dt_s`, `contract.FIELD`, `seed`, `deadline_s` or "
            "`timeout` (microseconds), `priority`, `record` (nodes, comma-separated, or `all`), "
            "`binary_data_output`."
        ),
    ] = field(default_factory=dict)
    inputs: Annotated[
        list[TensorInput],
        Meta(description="Two tensors an event sensor, one a sampled one; or one an Input node."),
    ] = field(default_factory=list)
    outputs: Annotated[
        list[RequestedOutput] | None,
        Meta(description="What the reply shall hold; absent, all but rasters and traces."),
    ] = None


@dataclass(frozen=True, slots=True)
class Inference:
    """An inference as it was sent, and the tensors that came with it, by name."""

    request: InferRequest
    tensors: Mapping[str, Tensor]

    @property
    def binary_output(self) -> bool:
        """Whether outputs are raw unless they say otherwise."""
        return self.request.parameters.get(BINARY_OUTPUT) is True


def parse_inference(body: Body, max_bytes: int) -> Inference | bytes:
    """Return the inference in a body, or its bytes if they are one raw tensor.

    The content type is not looked at: clients of the protocol send none, or one that is untrue.

    Raises:
        WrongContentType, BodyTooLarge, MalformedBody: if it cannot be read at all.
        InvalidInput: naming the field that is missing, unknown or of a wrong type.
        NotSupported: for tensors in shared memory.
    """
    content = inflate(body, max_bytes)
    if body.header_length == RAW:
        return content
    if not content:
        raise MalformedBody("body", "is empty", "a JSON object")
    header, tail = memoryview(content), memoryview(b"")
    if body.header_length is not None:
        header, tail = split_body(content, body.header_length)
    request = decode(header, InferRequest)
    _refuse_shared_memory(request)
    return Inference(request, read_tensors(request.inputs, tail))


def fuse_request(request: InferRequest, inputs: list[TensorInput]) -> FuseRequest:
    """Return the fuse request that an inference amounts to, with these inputs.

    Raises:
        InvalidInput: naming the parameter that is unknown or of a wrong type.
        NotSupported: for sequences.
    """
    fields: dict[str, Any] = {}
    contract: dict[str, Any] = {}
    for name, value in request.parameters.items():
        if name.startswith("sequence_"):
            raise NotSupported(f"parameters.{name}: sequences are not kept here")
        if name.startswith("contract."):
            contract[name.removeprefix("contract.")] = value
        elif name == "record" and isinstance(value, str):
            fields["record"] = [part.strip() for part in value.split(",") if part.strip()]
        elif name == "timeout":
            fields["deadline_s"] = _seconds(value)
        elif name != BINARY_OUTPUT:
            _check_parameter(name)
            fields[name] = value
    if contract:
        fields["contract"] = contract
    made = decode(orjson.dumps(fields), FuseRequest, "parameters")
    return structs.replace(made, inputs=inputs)


def _check_parameter(name: str) -> None:
    known = [one for one in FuseRequest.__struct_fields__ if one not in NOT_OURS]
    if name not in known or name == "contract":
        names = ["contract.FIELD" if one == "contract" else one for one in known]
        where = f"parameters.{name[:80]}"
        raise InvalidInput(where, "is unknown here", ", ".join([*names, "timeout", BINARY_OUTPUT]))


def _seconds(timeout_us: object) -> float:
    if type(timeout_us) is not int or timeout_us <= 0:
        problem = f"{timeout_us!r} is not a positive, whole number of microseconds"
        raise InvalidInput("parameters.timeout", problem)
    return timeout_us / 1e6


def _refuse_shared_memory(request: InferRequest) -> None:
    sent: Sequence[TensorInput | RequestedOutput] = request.inputs
    for kind, ones in (("inputs", sent), ("outputs", request.outputs or ())):
        for index, one in enumerate(ones):
            if any(name.startswith("shared_memory_") for name in one.parameters):
                raise NotSupported(f"{kind}[{index}]: {one.name!r} is in shared memory")
