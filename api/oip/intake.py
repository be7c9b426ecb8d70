"""From an inference to a job: recordings go the way of fuse requests, rasters their own."""

import math
import time
from dataclasses import dataclass
from functools import partial

from msgspec import structs

from api.errors import MalformedBody
from api.hop import Hop
from api.intake import Parsed, with_defaults
from api.job import Job
from api.notes import Use
from api.oip.description import Description
from api.oip.rasters import RasterJob, are_rasters, check_limits, check_rasters, lead_of
from api.oip.reply import Count, Wanted, encode_fused, want
from api.oip.requests import BINARY_OUTPUT, Inference, InferRequest, fuse_request
from api.requests import FuseRequest, TensorInput
from api.service import Service, deadline
from api.tensors import BINARY_SIZE, read_tensors
from backends.contracts import contract_on
from fusion.errors import InvalidInput
from fusion.events import dt_ns
from fusion.shelf import ShelvedModel
from fusion.window import window_steps


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an inference arrived.

    Attributes:
        started: when, on the clock of `time.perf_counter`.
        accept_encoding: the header of that name.
        use: is told the model and the target.
        count: counts the inference once its reply is made.
        hop: how it was forwarded, if it was.
    """

    started: float
    accept_encoding: str
    use: Use
    count: Count
    hop: Hop | None


def make_job(
    service: Service,
    shelved: ShelvedModel,
    description: Description,
    inference: Inference,
    arrival: Arrival,
) -> Job | RasterJob:
    """Return an inference ready to run.

    Raises:
        FusionError, UnknownTarget: naming the field that is wrong or too large.
        NotSupported: for sequences.
    """
    begun = time.perf_counter()
    model, request = shelved.model, inference.request
    fuse = with_defaults(fuse_request(request, request.inputs), arrival.hop)
    wanted = want(
        inference, model, description, fuse.record, arrival.accept_encoding, arrival.count
    )
    record = list(dict.fromkeys([*fuse.record, *wanted.nodes]))
    fuse = structs.replace(fuse, model=model.name, record=record)
    if are_rasters(inference, description, bare=model.manifest is None):
        return _raster_job(service, shelved, description, inference, fuse, wanted, arrival)
    parsed = Parsed(fuse, inference.tensors, arrival.hop)
    encode = partial(encode_fused, wanted)
    return service.make_job(parsed, arrival.started, begun, arrival.use, encode)


def _raster_job(
    service: Service,
    shelved: ShelvedModel,
    description: Description,
    inference: Inference,
    fuse: FuseRequest,
    wanted: Wanted,
    arrival: Arrival,
) -> RasterJob:
    begun = time.perf_counter()
    model, target = shelved.model, service.find_target(fuse.target)
    arrival.use(model, [target])
    if fuse.quantise:
        problem = "is for recordings; rasters are not calibrated on"
        raise InvalidInput("parameters.quantise", problem, "snn-fusion quantise, beforehand")
    own = model.contract(fuse.profile, fuse.dt_s, fuse.contract)
    contract = contract_on(target, own)
    dt_ns(contract.dt_s)
    steps = window_steps(model.manifest, contract.dt_s) if model.manifest else None
    rasters = check_rasters(inference, description, steps)
    record = tuple(description.sizes) if "all" in fuse.record else tuple(fuse.record)
    check_limits(lead_of(rasters), description, record, service.settings)
    return RasterJob(
        shelved=shelved,
        own=own,
        quantise=False,
        target=target,
        contract=contract,
        record=fuse.record,
        seed=fuse.seed,
        deadline_s=deadline(fuse, target.max_run_s, arrival.hop),
        priority=fuse.priority,
        started=arrival.started,
        parse_s=time.perf_counter() - begun,
        rasters=rasters,
        shapes=description.rasters,
        wanted=wanted,
    )


def raw_inference(content: bytes, description: Description) -> Inference:
    """Return the inference that a body of one raw FP32 raster, without JSON, stands for.

    It is a batch of one, with as many steps as there are numbers for; its answer is raw, too.

    Raises:
        MalformedBody: if the model has several Input nodes, or the numbers do not fill steps.
    """
    if len(description.rasters) != 1:
        field = "Inference-Header-Content-Length"
        raise MalformedBody(field, "0 needs a model with a single Input node", "a JSON header")
    ((name, shape),) = description.rasters.items()
    step_bytes = 4 * math.prod(shape)
    if not content or len(content) % step_bytes:
        problem = f"has {len(content)} bytes, and a step of {name} {step_bytes}"
        raise MalformedBody("body", problem, "whole steps of FP32")
    tensor = TensorInput(
        name=name,
        datatype="FP32",
        shape=[1, len(content) // step_bytes, *shape],
        parameters={BINARY_SIZE: len(content)},
    )
    request = InferRequest(parameters={BINARY_OUTPUT: True}, inputs=[tensor])
    return Inference(request, read_tensors(request.inputs, memoryview(content)))
