"""From the body of a comparison to what this deployment runs of it, and what others do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.errors import Elsewhere, ForwardedTwice, UnknownName
from api.framing import Body
from api.hop import Part
from api.intake import Parsed, parse, read_recordings
from api.job import ComparisonJob
from api.notes import Notes
from api.owners import Owner
from api.requests import CompareRequest
from api.service import Service, deadline
from backends.base import Target
from backends.trial import check_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A comparison that several deployments share.

    Attributes:
        targets: all that are compared.
        here: what this deployment runs of it; None for nothing.
        elsewhere: owner → the targets that it is to run.
        model: the model of a request that names none; None for the owners' own default.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
        priority: its level in queues.
        deadline_s: seconds from the request's arrival.
        end: the deadline, on the clock of `time.perf_counter`.
    """

    targets: Sequence[str]
    here: ComparisonJob | None
    elsewhere: Mapping[Owner, Sequence[str]]
    model: str | None
    tolerance: float
    priority: int
    deadline_s: float
    end: float


def prepare(service: Service, body: Body, started: float, notes: Notes) -> ComparisonJob | Shared:
    """Return a comparison, or the part of it that is asked for, ready to run; for a thread.

    Raises:
        Elsewhere: if one other deployment serves all its targets.
        ForwardedTwice: if it was sent here, and a target is served elsewhere.
        FusionError, BackendError: naming what is wrong with it.
        Refused: if the caller may not.
    """
    parsed = parse(body, service.settings.max_body_bytes, CompareRequest)
    request = parsed.request
    check_targets(request.targets)
    part = None if parsed.hop is None else parsed.hop.part
    if part is not None:
        _check_part(service, request.targets, part)
        return _job(service, parsed, started, notes, part.targets)
    targets = service.find_targets(request.targets)
    elsewhere = service.owners.among(targets)
    here = [name for name in targets if name in service.targets]
    if not elsewhere:
        return _job(service, parsed, started, notes, here)
    if parsed.hop is not None:
        raise ForwardedTwice(next(iter(elsewhere.values()))[0])
    others = [service.owners.targets[name] for names in elsewhere.values() for name in names]
    if len(elsewhere) == 1 and not here:
        raise Elsewhere(others, request.deadline_s)
    notes.pass_on(others)
    job = _job(service, parsed, started, notes, here) if here else None
    notes.target = ",".join(targets)
    deadline_s = deadline(request, _longest_s(service, targets), None)
    return Shared(
        targets=targets,
        here=job,
        elsewhere=elsewhere,
        model=service.owners.model if job is None else job.shelved.model.digest,
        tolerance=request.tolerance,
        priority=request.priority,
        deadline_s=deadline_s,
        end=started + deadline_s,
    )


def _check_part(service: Service, targets: Sequence[str], part: Part) -> None:
    """Return if this deployment can do its part of a comparison of targets.

    Raises:
        ForwardedTwice: if it would have to send a part of it on.
        UnknownName: for a target that is served or known nowhere here.
    """
    for name in part.targets:
        if name not in service.targets and name in service.owners.targets:
            raise ForwardedTwice(name)
        if name not in service.targets or name not in targets:
            known = ", ".join(sorted(service.targets))
            raise UnknownName("targets", f"{name[:80]!r} is not served where it was sent", known)
    for index, name in enumerate(targets):
        if name not in service.registry.targets:
            problem = f"{name[:80]!r} is unknown to the deployment that runs {part.targets[0]!r}"
            nearest = "give it the target's file: SNN_FUSION_HW_CONFIGS"
            raise UnknownName(f"targets[{index}]", problem, nearest)


def _job(
    service: Service,
    parsed: Parsed[CompareRequest],
    started: float,
    notes: Notes,
    here: Sequence[str],
) -> ComparisonJob:
    request = parsed.request
    shelved = service.bring_model(request.model)
    notes.use(shelved.model, [service.targets[name] for name in here])
    own = service.contract(request, shelved)
    recordings = read_recordings(parsed, shelved, service.settings)
    return ComparisonJob(
        shelved=shelved,
        own=own,
        quantise=request.quantise,
        recordings=recordings,
        deadline_s=deadline(request, _longest_s(service, request.targets), parsed.hop),
        priority=request.priority,
        started=started,
        targets=request.targets,
        here=here,
        tolerance=request.tolerance,
    )


def targets_of(service: Service, names: Sequence[str]) -> list[Target]:
    """Return targets that are known here, served or not."""
    return [service.registry.targets[name] for name in names]


def _longest_s(service: Service, names: Sequence[str]) -> float:
    return sum(target.max_run_s for target in targets_of(service, names))
