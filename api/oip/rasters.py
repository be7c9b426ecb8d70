"""Inferences whose input is rasters already: one for each Input node, [batch, steps, *shape]."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from api.errors import LimitExceeded
from api.job import Placed, Reply
from api.notes import Notes
from api.oip.answers import fused_tensors, run_tensors
from api.oip.description import Description
from api.oip.reply import Ran, Wanted, encode, energy_of
from api.oip.requests import Inference
from api.render import overflow_warnings
from api.service import Service
from api.settings import Settings
from api.tensors import BINARY_SIZE, Tensor
from backends.base import Program, RunResult
from backends.energy import EnergyReport, energy_report, measured_energy
from backends.errors import RunTimeout
from backends.fuse import FusedAnswer, answer_of, refuse_divergence, run_batch
from backends.latency import output_latency
from fusion.errors import InvalidInput
from fusion.lists import list_nothing
from fusion.manifest import Manifest
from fusion.sparse_raster import sparse
from fusion.window import Encoding, SensorReport

Shape = tuple[int, ...]


class RasterJob(Placed, frozen=True, kw_only=True):
    """A job whose input is rasters.

    Attributes:
        rasters: Input node → [batch, steps, *shape] as it was sent; those that were.
        shapes: Input node → shape, of all of them.
        wanted: what the reply shall hold.
    """

    rasters: Mapping[str, Tensor]
    shapes: Mapping[str, Shape]
    wanted: Wanted

    @property
    def lead(self) -> tuple[int, int]:
        """Batch and steps."""
        return lead_of(self.rasters)


def are_rasters(inference: Inference, description: Description, bare: bool) -> bool:
    """Return whether the inputs are rasters rather than recordings; of a bare graph they must be.

    Raises:
        InvalidInput: naming the first input that is none, if it should be or if others are.
    """
    names = [one.name for one in inference.request.inputs]
    strangers = [index for index, name in enumerate(names) if name not in description.rasters]
    if not strangers:
        return bool(names) or bare
    if bare or len(strangers) < len(names):
        index = strangers[0]
        problem = f"{names[index][:80]!r} is no Input node"
        raise InvalidInput(f"inputs[{index}].name", problem, ", ".join(description.rasters))
    return False


def check_rasters(
    inference: Inference, description: Description, steps: int | None
) -> Mapping[str, Tensor]:
    """Return Input node → raster, for those given.

    Args:
        inference: its inputs are named like Input nodes.
        description: the model's.
        steps: how many the model's window has; None for a bare graph, which has none.

    Raises:
        InvalidInput: naming the tensor that does not fit its node, or is missing.
    """
    lead: Shape = ()
    for index, one in enumerate(inference.request.inputs):
        field, shape = f"inputs[{index}]", inference.tensors[one.name].shape
        strange = [name for name in one.parameters if name != BINARY_SIZE]
        if strange:
            where = f"{field}.parameters.{strange[0][:80]}"
            raise InvalidInput(where, "is unknown here", BINARY_SIZE)
        lead = lead or shape[:2]
        _check_shape(f"{field}.shape", one.name, shape, lead, description, steps)
    missing = sorted(description.rasters.keys() - inference.tensors.keys())
    if missing and (steps is None or not inference.tensors):
        raise InvalidInput("inputs", f"lack {', '.join(missing)}", "a raster for every Input node")
    return inference.tensors


def lead_of(rasters: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return batch and steps of rasters."""
    batch, steps = next(iter(rasters.values())).shape[:2]
    return batch, steps


def _check_shape(
    field: str, name: str, shape: Shape, lead: Shape, description: Description, steps: int | None
) -> None:
    node = description.rasters[name]
    fits = len(shape) > 1 and min(shape[:2]) > 0 and shape[2:] == node and shape[:2] == lead
    if fits and steps in (None, shape[1]):
        return
    batch = str(lead[0]) if len(lead) > 1 and lead[0] else "batch"
    length = str(steps) if steps else str(lead[1]) if len(lead) > 1 and lead[1] else "steps"
    wanted = ", ".join([batch, length, *map(str, node)])
    raise InvalidInput(field, f"{name} is {list(shape)}", f"[{wanted}]")


def check_limits(
    shape: Shape, description: Description, record: tuple[str, ...], settings: Settings
) -> None:
    """Return if a run of [batch, steps] is within the limits.

    Raises:
        LimitExceeded: if it has too many steps, or takes, gives and records too many values.
    """
    batch, steps = shape
    if steps > settings.max_steps:
        raise LimitExceeded("inputs[0].shape", "steps", steps, settings.max_steps)
    lines = sum(int(np.prod(node)) for node in description.rasters.values())
    kept = sum(size for node, size in description.sizes.items() if node in record)
    used = batch * max(steps * (lines + description.output_values + kept), description.neurons)
    allowed = settings.max_record_values
    if used > allowed:
        problem = "values taken, given and recorded"
        raise LimitExceeded("inputs[0].shape", problem, used, allowed)


def run(service: Service, job: RasterJob, notes: Notes) -> Reply:
    """Return the reply to a job of rasters.

    Raises:
        FusionError, BackendError: if it cannot be run, or the run failed.
    """
    model, target = job.shelved.model, job.target
    now = time.perf_counter()
    if now >= job.end:
        raise RunTimeout(target.name, job.deadline_s)
    queue_s = now - job.started - job.decode_s
    begun, events = now, 0
    try:
        if model.manifest is None:
            result = _run_bare(service, job)
            events = int(result.counts.synaptic_events.sum())
            return _bare_reply(job, result, notes, queue_s)
        answers = _run_fused(service, job, model.manifest)
        events = sum(answer.counts.synaptic_events for answer in answers)
        for answer in answers:
            service.metrics.observe_answer(model.name, target.name, answer, queue_s)
        return _fused_reply(job, model.manifest, answers, notes, queue_s)
    finally:
        ended = time.perf_counter()
        notes.charge(target, events, ended - begun)
        if notes.trace is not None:
            notes.trace.waited(begun)
            notes.trace.stage("run", begun, ended)


def _bare_reply(job: RasterJob, result: RunResult, notes: Notes, queue_s: float) -> Reply:
    tensors = run_tensors(result, job.wanted.records)
    energies = _energies(job, result)
    told = overflow_warnings(_overflows(result.overflows))
    ran = Ran(notes.request_id, len(energies), result.steps, queue_s, result.wall_s, energies, told)
    return encode(job.wanted, job, tensors, ran)


def _fused_reply(
    job: RasterJob,
    manifest: Manifest,
    answers: Sequence[FusedAnswer],
    notes: Notes,
    queue_s: float,
) -> Reply:
    tensors = fused_tensors(manifest, answers, job.wanted.records)
    first, energies = answers[0], [energy_of(job, answer) for answer in answers]
    told = overflow_warnings(sum((Counter(one.counts.overflows) for one in answers), Counter()))
    ran = Ran(notes.request_id, len(answers), first.steps, queue_s, first.run_s, energies, told)
    return encode(job.wanted, job, tensors, ran)


def _program(service: Service, job: RasterJob) -> Program:
    return service.programs.get(job.shelved.model, job.target.name, job.contract)


def _left_s(job: RasterJob) -> float:
    return max(1e-3, job.end - time.perf_counter())


def _run_bare(service: Service, job: RasterJob) -> RunResult:
    program = _program(service, job)
    batch = {node: _as_floats(node, raster) for node, raster in job.rasters.items()}
    result = program.run(batch, record=job.record, deadline_s=_left_s(job))
    for values in zip(*result.outputs.values(), strict=True):
        refuse_divergence(dict(zip(result.outputs, values, strict=True)))
    place = (job.shelved.model.name, job.target.name)
    metrics, counts = service.metrics, result.counts
    spikes = sum(int(one.sum()) for one in counts.spikes.values())
    metrics.spikes.labels(*place, "network").inc(spikes)
    metrics.synaptic_events.labels(*place).inc(int(counts.synaptic_events.sum()))
    metrics.run_seconds.labels(*place).observe(result.wall_s)
    return result


def _overflows(counts: Mapping[str, NDArray[np.int64]]) -> dict[str, int]:
    """Return register → how often it left its range in all samples, for those that did."""
    return {register: int(times.sum()) for register, times in counts.items() if times.any()}


def _energies(job: RasterJob, result: RunResult) -> list[EnergyReport]:
    counts = result.counts
    return [
        energy_report(
            job.target, int(events), counts.neuron_updates, measured_energy(result, index)
        )
        for index, events in enumerate(counts.synaptic_events)
    ]


def _run_fused(service: Service, job: RasterJob, manifest: Manifest) -> list[FusedAnswer]:
    model, contract, program = job.shelved.model, job.contract, _program(service, job)
    late = output_latency(model, contract)
    encodings = _encodings(job, manifest, late)
    outcomes = run_batch(
        model, program, contract, encodings, record=job.record, deadline_s=_left_s(job)
    )
    return [answer_of(outcome) for outcome in outcomes]


def _encodings(job: RasterJob, manifest: Manifest, late: Mapping[str, int]) -> list[Encoding]:
    """Return every sample; whatever sensor's node was given took part, and the rest is silent."""
    batch, steps = job.lead
    extra = max(late.values(), default=0)
    floats = {node: _as_floats(node, raster) for node, raster in job.rasters.items()}
    silent = {
        node: list_nothing(steps + extra, shape)
        for node, shape in job.shapes.items()
        if node not in floats
    }
    sensors = {n: one.node for n, one in manifest.sensors.items() if one.node in floats}
    encodings = []
    for index in range(batch):
        inputs = {node: sparse(raster[index : index + 1], extra) for node, raster in floats.items()}
        reports = {
            name: SensorReport(inputs[node].channel.size, 0, None, True)
            for name, node in sensors.items()
        }
        encodings.append(Encoding({**silent, **inputs}, reports, late))
    return encodings


def _as_floats(node: str, values: Tensor) -> NDArray[np.floating]:
    """Return float32 where that holds every value of the datatype, else float64.

    Raises:
        InvalidInput: naming the first value that is not finite.
    """
    floats = values.astype(np.promote_types(values.dtype, np.float32))
    finite = np.isfinite(floats)
    if not finite.all():
        where = np.argwhere(~finite)[0].tolist()
        raise InvalidInput(f"inputs.{node}{where}", "is not a finite number")
    return floats
