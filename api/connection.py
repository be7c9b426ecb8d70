"""HTTP connections that hostile or slow clients cannot keep, and that end without losing a request.

uvicorn's protocol has a limit of time for idle connections alone. This one also ends connections
that dawdle with the head of a request, with its body or with taking the reply, refuses those that
are too many, and reads on for a moment where a reply came before the request's end, so that the
reply is not lost to a reset. Why it ends as it does while the server drains: docs/adr/0023.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.notes import BEGAN
from api.transfers import Progress, Wire

READ_ON_S, READ_ON_BYTES = 2.0, 2**22
"""So long, and so much, a connection reads on after a reply that came before its request's end."""
UNREAD_BYTES = 2**18
"""So much of a body may wait for the application before reading pauses, which takes two calls of
the system; what a socket gives at once is no more."""

REFUSED_AT_ONCE = 32
"""So many connections beyond the limit are told that they are; more are cut without a word."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take, and how many there may be.

    Attributes:
        connections: how many may be open.
        head_s: seconds in which the head of a request has to arrive.
        transfer_s: seconds after which it is looked at how fast a body comes or a reply is taken.
        keep_alive_s: seconds that a connection may wait for its next request.
        linger_s: the same once the server has stopped listening.
    """

    connections: int
    head_s: float
    transfer_s: float
    keep_alive_s: float
    linger_s: float


class Connections(ServerState):
    """What the connections of a server share.

    Args:
        limits: what they may take.
        cut: is told why, whenever one is ended because of a limit.
    """

    def __init__(self, limits: ConnectionLimits, cut: Callable[[str], None]) -> None:
        super().__init__()
        self.limits = limits
        self.cut = cut
        self.draining = False
        """Whether replies tell clients to go on over another connection."""
        self.lingering = False
        """Whether the server has stopped listening."""

    def look(self, now: float) -> None:
        """End those whose time is up at a moment of the event loop's clock."""
        for connection in list(self.connections):
            if isinstance(connection, Connection):
                connection.look(now)


class Phase(Enum):
    """What a connection waits for: more of a request, its reply, the next request, its end."""

    HEAD = auto()
    BODY = auto()
    REPLY = auto()
    REQUEST = auto()
    END = auto()


class Connection(HttpToolsProtocol):
    """One connection; see the module."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        shared = given["server_state"]
        assert isinstance(shared, Connections)
        self._shared = shared
        self._wire: Wire = None  # type: ignore[assignment]
        self._untouched = True
        self._keep_alive = True
        self._received = 0
        self._body = self._reply = Progress(0, 0)
        self._phase, self._until = Phase.HEAD, math.inf

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request, or refuse one connection too many."""
        super().connection_made(transport)
        self._wire = Wire(transport, self._close)
        self.transport = self._wire  # type: ignore[assignment]
        shared = self._shared
        excess = len(shared.connections) - shared.limits.connections
        if excess > REFUSED_AT_ONCE:
            self._abort("connections")
            return
        if excess > 0:
            self._refuse(503, "too many connections are open", "connections")
            return
        self._wait(Phase.HEAD, shared.limits.linger_s if shared.lingering else shared.limits.head_s)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless nothing more is wanted."""
        if self._phase is not Phase.END:
            self._untouched = False
            super().data_received(data)
            return
        self._received += len(data)
        if self._received > READ_ON_BYTES:
            self.flow.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._phase, self._until = Phase.END, math.inf
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the transport itself on."""
        self.transport = self._wire.transport
        super().handle_websocket_upgrade()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Give the head of a request its time, and note when its first byte was read."""
        super().on_message_begin()
        self.scope[BEGAN] = time.perf_counter()  # type: ignore[literal-required]
        self._wait(Phase.HEAD, self._shared.limits.head_s)

    def on_headers_complete(self) -> None:
        """Give the body its time; a reply that comes before its end closes the connection."""
        self._wait(Phase.BODY, self._shared.limits.transfer_s)
        self._body = Progress(self.loop.time(), self._received)
        super().on_headers_complete()
        if self._upgrades:
            return
        self._keep_alive = self.cycle.keep_alive
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take in what came, of which more may wait for the application than with uvicorn's own."""
        self._received += len(body)
        if self._upgrades or self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > UNREAD_BYTES:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Leave the application its time."""
        if self._upgrades:
            return
        self.cycle.keep_alive = self._keep_alive and not self._shared.draining
        self._phase, self._until = Phase.REPLY, math.inf
        super().on_message_complete()

    # What the application and the server tell.

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is here."""
        super().on_response_complete()
        if self._phase is Phase.REPLY and self.cycle.response_complete:
            self._wait(Phase.REQUEST, self._idle_s())

    def timeout_keep_alive_handler(self) -> None:
        """Do nothing: `look` ends idle connections."""

    def shutdown(self) -> None:
        """Have the reply to what runs be the last; the server has stopped listening."""
        if self._phase is Phase.REQUEST or self._untouched:
            self._until = min(self._until, self.loop.time() + self._idle_s())
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    # Its end.

    def look(self, now: float) -> None:
        """End the connection if its time is up."""
        if now >= self._until:
            self._late(now)
        if self._wire.unsent == 0:
            self._reply = Progress(now, self._wire.written)
        elif now >= self._reply.since + self._shared.limits.transfer_s:
            taken = self._wire.written - self._wire.unsent
            if not self._reply.fast_enough(now, taken):
                self._abort("reply")
            self._reply = Progress(now, taken)

    @property
    def _upgrades(self) -> bool:
        """Whether the request is to make a WebSocket of the connection."""
        return bool(self.parser.should_upgrade()) and self._should_upgrade()

    def _wait(self, phase: Phase, seconds: float) -> None:
        self._phase, self._until = phase, self.loop.time() + seconds

    def _idle_s(self) -> float:
        limits = self._shared.limits
        return limits.linger_s if self._shared.lingering else limits.keep_alive_s

    def _late(self, now: float) -> None:
        if self._phase is Phase.END:
            self._wire.transport.abort()
        elif self._phase is Phase.REQUEST or self._untouched:
            if not self._wire.readable:  # what has just come is answered
                self._until = math.inf
                self._wire.transport.close()
        elif self._phase is Phase.BODY and (
            self.flow.read_paused or self._body.fast_enough(now, self._received)
        ):
            self._body = Progress(now, self._received)
            self._until = now + self._shared.limits.transfer_s
        else:
            self._dawdled(now)

    def _dawdled(self, now: float) -> None:
        """End a connection whose client was too slow to send a request."""
        body = self._phase is Phase.BODY
        cycle: RequestResponseCycle | None = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if self.pipeline if body else answering:  # replies that are due come first
            self._until = now + self._shared.limits.head_s
        elif body and self.cycle.response_started:
            self._abort("body")
        else:
            self._refuse(408, "the request did not arrive in time", "body" if body else "head")

    def _abort(self, why: str) -> None:
        self._shared.cut(why)
        self._wire.transport.abort()

    def _refuse(self, status: int, detail: str, why: str) -> None:
        """Reply without asking the application, which is told that the caller has left."""
        self._shared.cut(why)
        self._wire.write(_refusal(status, detail))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._close()

    def _close(self) -> None:
        """Close at once if all was read; else read on, so that a reset does not cost the reply."""
        if self._phase in (Phase.HEAD, Phase.BODY) and not self._wire.is_closing():
            self._wait(Phase.END, READ_ON_S)
            self._received = 0
            self._wire.flush()
            self._wire.transport.write_eof()
            self.flow.resume_reading()
        else:
            self._wire.flush()
            self._wire.transport.close()


def _refusal(status: int, detail: str) -> bytes:
    """Return a whole HTTP reply that clients of either protocol can read."""
    kind, phrase = {
        408: ("request-timeout", "Request Timeout"),
        503: ("too-many-connections", "Service Unavailable"),
    }[status]
    content = orjson.dumps(
        {
            "type": f"urn:snn-fusion:problem:{kind}",
            "title": phrase,
            "status": status,
            "detail": detail,
            "error": detail,
        }
    )
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "content-type: application/problem+json",
        f"content-length: {len(content)}",
        "connection: close",
    ]
    if status == 503:
        lines.append("retry-after: 1")
    return "\r\n".join([*lines, "", ""]).encode() + content
