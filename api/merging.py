"""Answers that a front puts together from its own part and those of other deployments."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from starlette.requests import Request

from api.errors import QueueFull
from api.forwarding import fetched, outgoing
from api.framing import Body, inflate
from api.hop import Hop
from api.owners import Outgoing, Owner
from api.replies import AvailabilityReply, FitReply, ModelsReply, SamplesReply, TargetReply
from api.service import Service
from api.targets import unavailable
from backends.base import Target
from backends.errors import BackendError, RunFailed, told

CATALOGUE_S = 2.0
"""Seconds that a deployment has to list its targets."""
CHECK_S = 60.0
"""Seconds that a deployment has to check a model."""
MAX_BYTES = 2**24
"""Longest answer of theirs that is read."""
RESHAPED = ("content-encoding", "content-type")


async def targets_elsewhere(service: Service, request: Request) -> list[TargetReply]:
    """Return the targets that other deployments own, as those tell of them now."""
    asked = [_listed(owner, outgoing(request, b"", Hop())) for owner in service.owners.all]
    told = await asyncio.gather(*asked)
    replies = {name: reply for part in told for name, reply in part.items()}
    return [
        _target(service, target, replies[name]) for name, target in service.owners.targets.items()
    ]


async def _listed(owner: Owner, sent: Outgoing) -> dict[str, dict[str, Any]]:
    """Return target → what its owner says of it, for every target that it should own."""
    first, *_ = owner.targets
    try:
        reply = await _reply(owner, first, sent, CATALOGUE_S)
        told = {str(one["name"]): one for one in reply["targets"]}
    except BackendError as error:
        return {name: dict(unavailable(error)) for name in owner.targets}
    except (TypeError, KeyError):
        nothing = RunFailed(f"{owner.name} lists no targets")
        return {name: dict(unavailable(nothing)) for name in owner.targets}
    strange = f"the deployment at {owner.name} does not serve it"
    lacking = {"available": False, "reason": strange, "hint": "correct SNN_FUSION_PEERS"}
    return {name: told.get(name, lacking) for name in owner.targets}


def _target(service: Service, target: Target, told: Mapping[str, Any]) -> TargetReply:
    reply: TargetReply = {
        "name": target.name,
        "backend": target.backend,
        "description": target.description,
        "default": False,
        "capabilities": asdict(target.capabilities),
        "max_run_s": target.max_run_s,
        "energy": target.energy,
        "available": False,
        "reason": None,
        "hint": None,
        "queue": None,
        "owner": None,
    }
    known = {name: value for name, value in told.items() if name in reply}
    merged: Any = {**reply, **known}
    merged["default"] = target.name == service.settings.target
    merged["owner"] = service.owners.of(target.name).name
    return merged  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Listed:
    """What another deployment lists, or why it does not.

    Attributes:
        owner: its name.
        reply: its list, as plain values; empty if there is none.
        problem: why there is none.
    """

    owner: str
    reply: Mapping[str, Any]
    problem: str | None = None

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of its list, each with the deployment that has it."""
        return [{**entry, "owner": self.owner} for entry in self.reply.get(name, ())]


async def listed_elsewhere(service: Service, request: Request) -> list[Listed]:
    """Return what the other deployments answer to a request for a list."""
    sent = outgoing(request, b"", Hop())
    return await asyncio.gather(*(_list_of(owner, sent) for owner in service.owners.all))


async def _list_of(owner: Owner, sent: Outgoing) -> Listed:
    try:
        reply = await _reply(owner, owner.targets[0], sent, CATALOGUE_S)
    except BackendError as error:
        return Listed(owner.name, {}, told(error))
    return Listed(owner.name, reply if isinstance(reply, dict) else {})


def with_models_of(here: ModelsReply, elsewhere: Sequence[Listed]) -> ModelsReply:
    """Return the models that are here and, each once, those that other deployments alone have.

    What has the same digest is the same model: deployments may share a store or ship the same.
    """
    models: list[Any] = list(here["models"])
    known = {model["digest"] for model in models}
    problems = list(here["problems"])
    for one in elsewhere:
        for model in one.entries("models"):
            if model.get("digest") not in known:
                known.add(model.get("digest"))
                models.append({**model, "default": False})
        if one.problem is not None:
            problems.append({"path": one.owner, "field": "owner", "problem": one.problem})
    return {"models": models, "problems": problems}


def with_samples_of(here: SamplesReply, elsewhere: Sequence[Listed]) -> SamplesReply:
    """Return the samples that are here and, each once, those that other deployments alone have."""
    samples: list[Any] = list(here["samples"])
    known = {(sample["model"], sample["name"]) for sample in samples}
    for one in elsewhere:
        for sample in one.entries("samples"):
            key = sample.get("model"), sample.get("name")
            if key not in known:
                known.add(key)
                samples.append(sample)
    return {"samples": samples}


async def fits_elsewhere(
    service: Service, parts: Mapping[Owner, Sequence[str]], request: Request, body: Body
) -> list[dict[str, Any]]:
    """Return checks of a model by the deployments that own targets, one each.

    A deployment that gives none is told in the entries of its targets.
    """
    fields = orjson.loads(inflate(body, service.settings.max_body_bytes))
    asked = []
    for owner, names in parts.items():
        content = orjson.dumps({**fields, "targets": list(names)})
        sent = outgoing(request, content, Hop(model=service.owners.model))
        kept = [one for one in sent.headers if one[0].lower() not in RESHAPED]
        headers = [*kept, ("Content-Type", "application/json")]
        asked.append(_checked(owner, names, Outgoing("POST", sent.path, headers, sent.content)))
    return await asyncio.gather(*asked)


async def _checked(owner: Owner, names: Sequence[str], sent: Outgoing) -> dict[str, Any]:
    try:
        reply = await _reply(owner, names[0], sent, CHECK_S)
        assert isinstance(reply, dict)
        return reply
    except BackendError as error:
        return {"targets": [_no_fit(name, unavailable(error)) for name in names]}


def _no_fit(target: str, now: AvailabilityReply) -> FitReply:
    return {
        "target": target,
        "available": now["available"],
        "reason": now["reason"],
        "hint": now["hint"],
        "fits": None,
    }


async def _reply(owner: Owner, target: str, sent: Outgoing, within_s: float) -> Any:
    """Return the JSON of an answer.

    Raises:
        RunFailed: if it is an error, or too many requests are under way to the deployment.
        BackendError: as `fetched`.
    """
    try:
        answer = await fetched(owner, target, sent, within_s, MAX_BYTES)
    except QueueFull as full:
        raise RunFailed(f"the deployment that owns {target!r} is busy: {told(full)}") from None
    status = answer.status
    try:
        reply = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        reply = None
    if status != 200 or reply is None:
        detail = reply.get("detail", "") if isinstance(reply, dict) else ""
        raise RunFailed(f"the deployment that owns {target!r} answered with {status}: {detail}")
    return reply
