"""A comparison of targets that several deployments own: each runs its own, and here they meet.

Every owner is sent the request as it came in and told which targets to run; where spikes differ it
is asked once more what its neurons tested. Nothing is kept at an owner in between.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.comparison.part import (
    SPARE_BYTES,
    Runs,
    part_bytes,
    part_of,
    read_runs,
    read_tested,
    runs_of,
)
from api.comparison.prepare import Shared
from api.comparison.report import comparison_reply
from api.comparison.run import Ready, make_ready
from api.forwarding import Fetched, fetched, on_the_way, outgoing
from api.framing import JSON, Body
from api.hop import Hop, Part
from api.job import ComparisonJob
from api.lanes import Lane, outcome
from api.notes import notes_of
from api.owners import Owner
from api.service import Service
from backends.compare import (
    Pair,
    Place,
    Potential,
    TargetRun,
    compare_runs,
    first_differences,
    places_to_test,
)
from backends.errors import RunFailed, RunTimeout

_T = TypeVar("_T")

Found = dict[str, dict[Place, Potential]]
"""Target → what it tested where."""


class Refusal(Exception):
    """An owner's answer is an error, which the caller is told as it is."""

    def __init__(self, answer: Fetched) -> None:
        self.answer = answer
        super().__init__(f"an owner answered with {answer.status}")


@dataclass(frozen=True, slots=True)
class _Met:
    """The parts of all deployments, all runs in the order asked for, and where those differ."""

    parts: Sequence[Runs]
    runs: Sequence[TargetRun]
    differences: Mapping[Pair, Place]


async def compare_across(
    service: Service, request: Request, body: Body, shared: Shared
) -> Response:
    """Return the reply to a comparison that several deployments share, or an owner's error.

    Raises:
        OwnerAway, QueueFull, RunFailed: if an owner cannot be asked, or its answer not be used.
        FusionError, BackendError: if what runs here cannot be run.
        ClientGone, RunTimeout: if the caller leaves or the deadline passes before.
    """
    for owner, names in shared.elsewhere.items():
        owner.refuse_if_away(names[0])
    work = asyncio.ensure_future(_Across(service, request, body, shared).reply())
    try:
        reply = await outcome(work, request, "compare", math.inf, math.inf)
    except Refusal as refusal:
        return refusal.answer.as_response()
    return Response(reply, media_type=JSON)


class _Across:
    """One comparison that several deployments share.

    Args:
        service: what all requests share.
        request: the caller's.
        body: its body.
        shared: the comparison.
    """

    def __init__(self, service: Service, request: Request, body: Body, shared: Shared) -> None:
        self._service = service
        self._request = request
        self._notes = notes_of(request)
        self._body = body
        self._shared = shared
        self._ready: Ready | None = None

    async def reply(self) -> bytes:
        """Return the reply."""
        asked = [self._ran_at(owner, names) for owner, names in self._shared.elsewhere.items()]
        if self._shared.here is not None:
            asked.append(self._ran_here(self._shared.here))
        parts = await _together(asked)
        met = await self._aside(self._service.intake, partial(_meet, parts, self._shared.targets))
        tested = await self._tested(met)
        tolerance = self._shared.tolerance
        return await self._aside(self._service.intake, partial(_reply, met, tested, tolerance))

    async def _ran_at(self, owner: Owner, names: Sequence[str]) -> Runs:
        most = self._service.settings.max_record_values
        part = Part(run=tuple(names))
        content = await self._told(owner, part, part_bytes(len(names), most))
        read = partial(read_runs, content, owner.name, names, most)
        return await self._aside(self._service.intake, read)

    async def _ran_here(self, job: ComparisonJob) -> Runs:
        def work() -> Runs:
            self._ready = make_ready(self._service, job)
            return runs_of(self._service, job, self._ready, self._notes)

        return await self._aside(self._service.comparing, work)

    async def _tested(self, met: _Met) -> Found:
        """Return what all targets tested where they differ first."""
        places = places_to_test(met.differences)
        owners = self._shared.elsewhere
        asked = [
            self._tested_at(owner, runs, places)
            for owner, runs in zip(owners, met.parts, strict=False)  # this deployment's comes last
            if places.keys() & set(owners[owner])
        ]
        here = self._shared.here
        if here is not None and places.keys() & set(here.here):
            ours = {name: places[name] for name in here.here if name in places}
            asked.append(self._tested_here(ours))
        found: Found = {}
        for one in await _together(asked):
            found |= one
        return found

    async def _tested_at(
        self, owner: Owner, runs: Runs, places: Mapping[str, Sequence[Place]]
    ) -> Found:
        content = await self._told(owner, part_of(runs, places), SPARE_BYTES)
        names = self._shared.elsewhere[owner]
        asked = {name: places[name] for name in names if name in places}
        return read_tested(content, owner.name, asked)

    async def _tested_here(self, places: Mapping[str, Sequence[Place]]) -> Found:
        assert self._ready is not None
        tested = self._ready.trial.tested

        def work() -> Found:
            return {target: tested(target, asked) for target, asked in places.items()}

        return await self._aside(self._service.comparing, work)

    async def _told(self, owner: Owner, part: Part, max_bytes: int) -> bytes:
        """Return what an owner tells of its part; raises `Refusal` if that is an error."""
        shared, target = self._shared, part.targets[0]
        hop = Hop(self._left_s, model=shared.model, part=part)
        sent = outgoing(self._request, self._body.content, hop)
        with on_the_way(owner, self._service.metrics, self._notes, target, sent) as marked:
            try:
                answer = await fetched(owner, target, marked, self._left_s, max_bytes)
            except RunTimeout:
                raise RunTimeout(target, shared.deadline_s) from None
        if answer.status != 200:
            raise Refusal(answer)
        return answer.content

    async def _aside(self, lane: Lane, work: Callable[[], _T]) -> _T:
        """Return what `work` returns, in a lane, before the deadline."""
        try:
            async with asyncio.timeout(self._left_s):
                return await lane.submit(work, self._shared.priority)
        except TimeoutError:
            raise RunTimeout(", ".join(self._shared.targets), self._shared.deadline_s) from None

    @property
    def _left_s(self) -> float:
        return max(1e-3, self._shared.end - time.perf_counter())


async def _together(asked: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the results of all; as soon as one fails, its error, with the others cancelled."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _meet(parts: Sequence[Runs], targets: Sequence[str]) -> _Met:
    """Return the parts of a comparison put together.

    Raises:
        RunFailed: if they are of different models or inputs.
    """
    first, *others = parts
    for other in others:
        _check_alike(first, other)
    found = {run.target: run for part in parts for run in part.runs}
    runs = [found[name] for name in targets]
    return _Met(parts, runs, first_differences(runs))


def _check_alike(first: Runs, other: Runs) -> None:
    both = [(_names(one), one) for one in (first, other)]
    if first.asked != other.asked:
        told = " and ".join(
            f"{names} has {one.model['name']} {one.model['version']} ({one.asked[:12]})"
            for names, one in both
        )
        raise RunFailed(
            f"the deployments have different models: {told}; name the model by a version or "
            f"digest that all of them have"
        )
    names = " and ".join(name for name, _ in both)
    if first.model != other.model:
        raise RunFailed(f"the deployments of {names} made different integers of the model")
    if first.given != other.given or _shapes(first) != _shapes(other):
        raise RunFailed(f"the deployments of {names} made different input of the request")


def _names(runs: Runs) -> str:
    return ", ".join(run.target for run in runs.runs)


def _shapes(runs: Runs) -> dict[str, tuple[int, ...]]:
    """Return population → [steps, *shape] of every run, which must be one."""
    found = [{node: values.shape for node, values in run.recorded.items()} for run in runs.runs]
    return found[0] if all(one == found[0] for one in found) else {}


def _reply(met: _Met, tested: Found, tolerance: float) -> bytes:
    pairs = compare_runs(met.runs, met.differences, tested, tolerance)
    first = met.parts[0]
    reply = comparison_reply(first.model, met.runs, pairs, first.quantisation)
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
