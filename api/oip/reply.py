"""What a reply to an inference holds, and its making."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import orjson

from api.job import Job, Placed, Reply
from api.oip.answers import Tensors, classified, fused_tensors
from api.oip.description import Description
from api.oip.framing import OutputTensor, make_reply
from api.oip.requests import Inference, RequestedOutput
from api.render import contract_warnings, warnings_of
from backends.energy import EnergyReport, energy_report
from backends.fuse import FusedAnswer
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.window import manifest_of


@dataclass(frozen=True, slots=True)
class Chosen:
    """One output of a reply: raw or JSON; `classes` > 0 asks for the best so many labels."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """How the run of an inference went.

    Attributes:
        request_id: the request's, as the log knows it.
        batch: number of samples.
        steps: time steps.
        queue_s: seconds that it waited for the target.
        run_s: seconds in the engine.
        energies: what every sample took.
        warnings: what the caller should know.
    """

    request_id: str
    batch: int
    steps: int
    queue_s: float
    run_s: float
    energies: Sequence[EnergyReport]
    warnings: Sequence[str] = ()


Count = Callable[[Placed, Ran, float], None]
"""Is told the job, how its run went, and the seconds that it took to encode the reply."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reply shall hold.

    Attributes:
        model: whose answer it is.
        id: the caller's name for the request.
        outputs: in the order of the reply.
        records: those of them that have to be recorded, as `NODE.QUANTITY`.
        accept_encoding: the request's header.
        count: counts the inference once its reply is made.
    """

    model: FusionModel
    id: str | None
    outputs: tuple[Chosen, ...]
    records: tuple[str, ...]
    accept_encoding: str
    count: Count

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes to record."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.records))


def want(
    inference: Inference,
    model: FusionModel,
    description: Description,
    record: Collection[str],
    accept_encoding: str,
    count: Count,
) -> Wanted:
    """Return what the reply to an inference shall hold: its `outputs`, else all; and `record`.

    Raises:
        InvalidInput: naming the output that the model does not have.
    """
    binary = inference.binary_output
    chosen = {spec.name: Chosen(spec.name, binary) for spec in description.outputs}
    if inference.request.outputs is not None:
        chosen = {}
        for index, one in enumerate(inference.request.outputs):
            field = f"outputs[{index}]"
            if one.name in chosen:
                raise InvalidInput(f"{field}.name", f"{one.name!r} is asked for twice")
            chosen[one.name] = _chosen(one, description, binary, field)
    known = [spec.name for spec in description.records]
    for name in known:
        if "all" in record or name.rpartition(".")[0] in record:
            chosen.setdefault(name, Chosen(name, binary))
    records = tuple(name for name in known if name in chosen)
    outputs = tuple(chosen.values())
    return Wanted(model, inference.request.id, outputs, records, accept_encoding, count)


def _chosen(one: RequestedOutput, description: Description, binary: bool, field: str) -> Chosen:
    if one.name not in description.names:
        problem = f"the model has no output {one.name[:80]!r}"
        raise InvalidInput(f"{field}.name", problem, ", ".join(description.names))
    for name in one.parameters:
        if name not in ("binary_data", "classification"):
            where = f"{field}.parameters.{name[:80]}"
            raise InvalidInput(where, "is unknown here", "binary_data, classification")
    raw = one.parameters.get("binary_data", binary)
    if not isinstance(raw, bool):
        where = f"{field}.parameters.binary_data"
        raise InvalidInput(where, f"{raw!r} is neither true nor false")
    return Chosen(one.name, raw, _classes(one, description, field))


def _classes(one: RequestedOutput, description: Description, field: str) -> int:
    field = f"{field}.parameters.classification"
    count = one.parameters.get("classification", 0)
    if type(count) is not int or count < 0:
        raise InvalidInput(field, f"{count!r} is not a number of labels")
    able = [s.name for s in description.outputs if s.name.endswith(("posterior", "logits"))]
    if count and one.name not in able:
        raise InvalidInput(field, f"{one.name!r} has no labels", ", ".join(able) or None)
    return count


def encode_fused(
    wanted: Wanted, job: Job, answer: FusedAnswer, request_id: str, queue_s: float
) -> Reply:
    """Return the reply to an inference of recordings, a batch of one."""
    manifest = manifest_of(wanted.model)
    warnings = warnings_of(answer, manifest)
    energies = [energy_of(job, answer)]
    ran = Ran(request_id, 1, answer.steps, queue_s, answer.run_s, energies, warnings)
    return encode(wanted, job, fused_tensors(manifest, [answer], wanted.records), ran)


def energy_of(job: Placed, answer: FusedAnswer) -> EnergyReport:
    """Return what one answer took in energy."""
    counts = answer.counts
    return energy_report(job.target, counts.synaptic_events, counts.neuron_updates, answer.measured)


def encode(wanted: Wanted, job: Placed, tensors: Tensors, ran: Ran) -> Reply:
    """Return the reply that holds what is wanted of these tensors, and how they came about."""
    begun = time.perf_counter()
    labels = wanted.model.manifest.labels if wanted.model.manifest else ()
    outputs = []
    for one in wanted.outputs:
        values = tensors[one.name]
        if one.classes:
            values = classified(values, one.classes, labels)
        outputs.append(OutputTensor(one.name, values, one.binary))
    head = {**_head(wanted), "parameters": _parameters(job, ran)}
    reply = make_reply(head, outputs, wanted.accept_encoding)
    wanted.count(job, ran, time.perf_counter() - begun)
    return reply


def _energy(reports: Sequence[EnergyReport]) -> dict[str, float | str]:
    """Return the energy of all samples, or why it is not known."""
    known = [report.energy for report in reports if report.energy is not None]
    if len(known) < len(reports):
        return {"energy_reason": reports[0].reason or ""}
    first = known[0]
    joules = sum(one.joules for one in known)
    return {"energy_j": joules, "energy_kind": first.kind, "energy_model": first.model}


def _head(wanted: Wanted) -> dict[str, str]:
    head = {"model_name": wanted.model.name}
    if wanted.model.manifest is not None:
        head["model_version"] = wanted.model.manifest.version
    if wanted.id is not None:
        head["id"] = wanted.id
    return head


def _parameters(job: Placed, ran: Ran) -> dict[str, bool | int | float | str]:
    contract = {
        f"contract.{name}": value
        for name, value in job.contract.as_dict().items()
        if value is not None
    }
    told: dict[str, bool | int | float | str] = {
        "request_id": ran.request_id,
        "digest": job.shelved.model.digest,
        "target": job.target.name,
        "steps": ran.steps,
        "queue_s": ran.queue_s,
        "run_s": ran.run_s,
        **_energy(ran.energies),
        **contract,
    }
    if job.seed is not None:
        told["seed"] = job.seed
    if isinstance(job, Job) and job.quantisation is not None:
        told["quantisation"] = orjson.dumps(job.quantisation).decode()
    warnings = [*contract_warnings(job), *ran.warnings]
    if warnings:
        told["warnings"] = "; ".join(warnings)
    return told
