"""Requests for targets that another deployment owns: sent on as they are, answered as they are."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.errors import Elsewhere, ForwardedTwice, OwnerAway, QueueFull
from api.framing import Body
from api.hop import HEADERS, HERE, VIA, Hop, hop_of
from api.lanes import outcome
from api.metrics import Metrics
from api.notes import Notes, notes_of
from api.owners import Outgoing, Owner, Owners, broken
from backends.errors import RunFailed, RunTimeout

MARGIN_S = 5.0
"""Without a deadline of the caller's, an owner has the target's own limit and so much more for the
way: it tells by itself that its limit has passed."""
WHOLE_BYTES = 2**20
"""Answers up to this length are passed on whole, longer ones as they come in."""

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade")
) | {b"transfer-encoding", b"proxy-authenticate", b"proxy-authorization"}
NOT_SENT_ON = HOP_BY_HOP | HEADERS | {b"host", b"content-length", b"expect", b"x-request-id"}
NOT_SENT_BACK = HOP_BY_HOP | {b"date", b"server"}


def was_forwarded(request: Request) -> bool:
    """Return whether another deployment of the service forwarded the request."""
    return hop_of(dict(request.scope["headers"])) is not None


def refuse_forwarded(request: Request, target: str) -> None:
    """Return unless the request was forwarded to this deployment; raise `ForwardedTwice` if so."""
    if was_forwarded(request):
        raise ForwardedTwice(target)


@dataclass(frozen=True, slots=True)
class _Trip:
    """Where a request is going, and when its answer is of no use any more.

    Attributes:
        target: the target.
        deadline_s: seconds from the request's arrival.
        end: the deadline on the clock of `time.perf_counter`.
        given: whether the caller gave it, so that the owner has to know.
    """

    target: str
    deadline_s: float
    end: float
    given: bool

    @property
    def left_s(self) -> float | None:
        """Seconds that are left, None if the caller gave no deadline."""
        return self.end - time.perf_counter() if self.given else None


async def forward(
    owners: Owners, metrics: Metrics, request: Request, body: Body, to: Elsewhere, started: float
) -> Response:
    """Return the answer of the deployment that owns a request's target, whatever it is.

    Args:
        owners: the deployments.
        metrics: where the way that it went is counted.
        request: the request.
        body: its body.
        to: where it belongs.
        started: its arrival, on the clock of `time.perf_counter`.

    Raises:
        ForwardedTwice: if the request has been forwarded before.
        OwnerAway, QueueFull, RunFailed: as `Owner.ask`.
        ClientGone, RunTimeout: if the caller leaves or the deadline passes before.
    """
    refuse_forwarded(request, to.target)
    owner, trip = owners.of(to.target), _trip(to, started)
    sent = outgoing(request, body.content, Hop(trip.left_s, to.target, owners.model))
    with on_the_way(owner, metrics, notes_of(request), trip.target, sent) as marked:
        asked = asyncio.ensure_future(_answer(owner, trip, marked))
        return await outcome(asked, request, trip.target, trip.end, trip.deadline_s)


@contextmanager
def on_the_way(
    owner: Owner, metrics: Metrics, notes: Notes, target: str, sent: Outgoing
) -> Iterator[Outgoing]:
    """Give a request as a part of the caller's trace; count and trace what becomes of it."""
    way = "gone"
    stage = None if notes.trace is None else notes.trace.forward(target)
    try:
        yield sent if stage is None else sent.part_of(stage.headers)
        way = "answered"
    except (OwnerAway, QueueFull, RunTimeout, RunFailed) as error:
        way = WAYS[type(error)]
        if isinstance(error, RunTimeout):
            owner.suspect()
        raise
    finally:
        metrics.forwarded.labels(target, way).inc()
        if stage is not None:
            stage.end(way)


def _trip(to: Elsewhere, started: float) -> _Trip:
    given = to.deadline_s is not None
    deadline_s = to.limit_s + MARGIN_S if to.deadline_s is None else to.deadline_s
    return _Trip(to.target, deadline_s, started + deadline_s, given)


WAYS: Mapping[type[Exception], str] = {
    OwnerAway: "away",
    QueueFull: "full",
    RunTimeout: "deadline",
    RunFailed: "broken",
}
"""What went wrong on the way → its name in the metrics."""


def outgoing(request: Request, content: bytes, hop: Hop) -> Outgoing:
    """Return a request as it is sent on, marked as forwarded."""
    scope = request.scope
    headers = _texts((name, value) for name, value in scope["headers"] if name not in NOT_SENT_ON)
    headers.append((VIA, ", ".join([*request.headers.getlist(VIA), f"1.1 {HERE}"])))
    headers.append(("X-Request-Id", notes_of(request).request_id))
    headers += hop.headers()
    path = scope["raw_path"].decode("ascii")
    query = scope["query_string"].decode("ascii")
    return Outgoing(scope["method"], f"{path}?{query}" if query else path, headers, content)


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


Headers = list[tuple[bytes, bytes]]


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    return [(n.lower(), v) for n, v in answer.raw_headers if n.lower() not in NOT_SENT_BACK]


async def _answer(owner: Owner, trip: _Trip, sent: Outgoing) -> Response:
    answer = await owner.ask(trip.target, sent)
    headers = _headers(answer)
    if answer.content_length is None or answer.content_length > WHOLE_BYTES:
        reply: Response = StreamingResponse(_parts(answer, trip.end), answer.status)
    else:
        try:
            reply = Response(await answer.read(), answer.status)
        except aiohttp.ClientError as error:
            owner.suspect()
            raise broken(trip.target, error) from None
    reply.raw_headers = headers
    return reply


async def _parts(answer: aiohttp.ClientResponse, end: float) -> AsyncIterator[bytes]:
    """Yield a long answer; if it breaks off or comes too late, so does the caller's connection."""
    try:
        while True:
            async with asyncio.timeout(max(0.0, end - time.perf_counter())):
                part = await answer.content.readany()
            if not part:
                return
            yield part
    finally:
        answer.close()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer of an owner: its status, its headers as they are passed on, its body."""

    status: int
    headers: Headers
    content: bytes

    def as_response(self) -> Response:
        """Return it as the answer to the caller."""
        response = Response(self.content, self.status)
        response.raw_headers = self.headers
        return response


async def fetched(
    owner: Owner, target: str, sent: Outgoing, within_s: float, max_bytes: int
) -> Fetched:
    """Return a whole answer; for what a front puts together from those of several deployments.

    Raises:
        OwnerAway, QueueFull, RunFailed: as `Owner.ask`; also if the answer is too long.
        RunTimeout: if the answer is not there within so many seconds.
    """
    try:
        async with asyncio.timeout(within_s):
            answer = await owner.ask(target, sent)
            try:
                length = answer.content_length or 0
                if length > max_bytes:
                    raise _too_long(target, length, max_bytes)
                content = await answer.content.readexactly(length)
                return Fetched(answer.status, _headers(answer), content)
            finally:
                answer.release()
    except TimeoutError:
        owner.suspect()
        raise RunTimeout(target, within_s) from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
        raise broken(target, error) from None


def _too_long(target: str, length: int, max_bytes: int) -> RunFailed:
    return RunFailed(
        f"target {target!r}: the deployment that owns it answers with {length} bytes, of which at "
        f"most {max_bytes} are read here"
    )
