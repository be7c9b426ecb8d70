"""Around every request: whose it is, whether they may ask it now, and what the audit log keeps."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.caller import ANYONE, Caller
from api.access.guard import Guard
from api.access.refusals import Refused
from api.access.scopes import CHANGES, WEBSOCKET, RouteScopes
from api.access.scopes import Scope as Verb
from api.errors import make_problem, problem_response, respond
from api.notes import KEY, Notes, make_notes

POLICY_VIOLATION = 1008
"""The code with which a WebSocket is closed that may not be opened (RFC 6455, 7.4.1)."""


class Access:
    """Middleware that lets requests pass which their caller may ask now.

    The caller is kept in the request's notes. What a route is for is declared by its handler; where
    keys are asked for, no route is reached that does not say. Scopes of targets and quotas of runs
    want the body read, and are looked at by `Notes.use`.

    Args:
        app: the application.
        guard: who knows callers by their keys.
        scopes: which scope a route needs.
    """

    def __init__(self, app: ASGIApp, guard: Guard, scopes: RouteScopes) -> None:
        self._app = app
        self._guard = guard
        self._scopes = scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        notes = scope.get(KEY) or make_notes(scope)
        method = scope["method"] if scope["type"] == "http" else WEBSOCKET
        needed = self._scopes.find(method, scope["path"])
        try:
            caller = self._enter(scope, notes, needed)
        except Refused as refusal:
            self._guard.tell_refusal(refusal, scope, notes, needed)
            await _refuse(refusal, notes, scope, receive, send)
            return
        try:
            if needed is None and not self._guard.open:
                await self._no_route(notes, scope, receive, send)
            else:
                await self._app(scope, receive, _with_limits(caller, send))
        finally:
            caller.meter.leave()
            if notes.hardware or needed in CHANGES or notes.refusal is not None:
                self._guard.tell_end(scope, notes, needed)

    def _enter(self, scope: Scope, notes: Notes, needed: Verb | None) -> Caller:
        """Return who asks, with the request counted as begun."""
        if needed is not None and self._guard.is_open(needed):
            ANYONE.meter.enter()
            return ANYONE
        caller = notes.caller = self._guard.identify(scope)
        if needed is not None:
            caller.check_scope(needed)
        caller.meter.enter()
        return caller

    async def _no_route(self, notes: Notes, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application answers where it has no route."""
        methods = self._scopes.methods(scope["path"])
        status = HTTPStatus.METHOD_NOT_ALLOWED if methods else HTTPStatus.NOT_FOUND
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        detail = f"{scope['method']} {scope['path']}: {status.phrase}"
        kind = status.phrase.lower().replace(" ", "-")
        reply = make_problem(status, kind, status.phrase, detail, notes.request_id)
        headers = {"Allow": ", ".join(methods)} if methods else {}
        await respond(reply, notes, headers)(scope, receive, send)


def _with_limits(caller: Caller, send: Send) -> Send:
    """Return a `send` whose reply says what is left of the caller's requests a second."""
    if caller.meter.limits.requests_per_s is None:
        return send

    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *caller.meter.headers()]
        await send(message)

    return send_with_limits


async def _refuse(
    refusal: Refused, notes: Notes, scope: Scope, receive: Receive, send: Send
) -> None:
    if scope["type"] == "websocket":
        reason = str(refusal).encode()[:120].decode(errors="ignore")
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})
        return
    await problem_response(refusal, notes)(scope, receive, _with_limits(notes.caller, send))
