"""What can go wrong with a request, and the one table from exceptions to HTTP statuses.

Replies are problem details (RFC 9457), `application/problem+json`; under `/v2` they are what the
Open Inference Protocol says, `{"error": text}`.
"""

import errno
import math
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import orjson
from starlette.responses import Response

from api.access.refusals import Exhausted, Forbidden, Refused, Unauthenticated
from api.notes import Notes
from backends.base import Target
from backends.errors import (
    BackendError,
    Diverged,
    InvalidTarget,
    ModelRejected,
    RunFailed,
    RunTimeout,
    TargetUnavailable,
    UnknownTarget,
    told,
)
from fusion.errors import (
    Conflict,
    Damaged,
    FusionError,
    InvalidContract,
    InvalidInput,
    InvalidModel,
    NotLoaded,
    StoreFailed,
    StoreFull,
)

PROBLEM_JSON = "application/problem+json"


class MalformedBody(FusionError):
    """The body is not the JSON or the binary framing that it should be."""


class BodyTooSlow(FusionError):
    """The body did not arrive in the time that this service waits for one."""


class WrongContentType(FusionError):
    """The body is of a type or in an encoding that this service does not read."""


class BodyTooLarge(FusionError):
    """The body is larger than this deployment takes."""


class UnknownName(InvalidInput):
    """No model, sample or listed target has this name."""


class UploadsOff(FusionError):
    """Models are not uploaded, changed or deleted at this service."""


class ClientGone(Exception):
    """The caller closed the connection before the answer was there."""


class LimitExceeded(InvalidInput):
    """The request is larger than this deployment takes.

    Args:
        field: what is too large.
        limit: name of the limit.
        used: what the request needs.
        allowed: what the deployment allows.
    """

    def __init__(self, field: str, limit: str, used: float, allowed: float) -> None:
        self.limit = limit
        self.used = used
        self.allowed = allowed
        super().__init__(field, f"{limit} is {used:.12g}", f"at most {allowed:.12g}")


class QueueFull(Exception):
    """As many requests wait for a target as may wait.

    Args:
        target: its name.
        waiting: how many wait.
        retry_after_s: seconds after which it is worth trying again.
    """

    def __init__(self, target: str, waiting: int, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{waiting} requests already wait for {target!r}")


class OutOfFiles(Exception):
    """The process has no file descriptor left, for a moment."""

    def __init__(self) -> None:
        super().__init__("no file can be opened at this moment")


class NotSupported(Exception):
    """This deployment does not do what the caller asks for."""


class Elsewhere(Exception):
    """Targets are served by another deployment: not an error, but where the request has to go.

    Args:
        targets: the targets, all of one owner.
        deadline_s: the deadline that the request names, if it does.
    """

    def __init__(self, targets: Sequence[Target], deadline_s: float | None) -> None:
        self.targets = targets
        self.target = targets[0].name
        self.deadline_s = deadline_s
        self.limit_s = sum(target.max_run_s for target in targets)
        super().__init__(f"target {self.target!r} is served elsewhere")


class ForwardedTwice(BackendError):
    """A request that was forwarded to this deployment names a target that is served elsewhere."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"the request was forwarded here, and {target!r} is served elsewhere: the PEERS of the "
            f"deployments lead in a circle"
        )


class OwnerAway(TargetUnavailable):
    """The deployment that owns a target does not answer.

    Args:
        target: its name.
        reason: how that was found.
        retry_after_s: seconds after which it is asked again.
    """

    def __init__(self, target: str, reason: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(target, reason, "try again; GET /v1/targets says when it is back")


class ViolationReply(TypedDict):
    """One limit that the request or the model exceeds."""

    node: str
    limit: str
    used: str
    allowed: str
    nearest_feasible: str | None


class ProblemReply(TypedDict):
    """What went wrong: problem details after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    field: NotRequired[str]
    nearest: NotRequired[str]
    violations: NotRequired[list[ViolationReply]]
    request_id: str


STATUSES: Mapping[type[Exception], tuple[int, str, str]] = {
    MalformedBody: (400, "malformed-body", "The body cannot be read"),
    UnknownTarget: (404, "unknown-target", "No such target"),
    UnknownName: (404, "unknown-name", "No such model, sample or target"),
    BodyTooSlow: (408, "body-too-slow", "The body did not arrive in time"),
    UploadsOff: (403, "uploads-off", "Models are not changed here"),
    Conflict: (409, "conflict", "The change contradicts what is stored"),
    BodyTooLarge: (413, "body-too-large", "The body is too large"),
    WrongContentType: (415, "wrong-content-type", "The body is of the wrong type"),
    LimitExceeded: (422, "limit-exceeded", "The request exceeds a limit"),
    InvalidInput: (422, "invalid-input", "The request cannot be used as it is"),
    InvalidContract: (422, "invalid-contract", "The execution contract cannot be met"),
    InvalidModel: (422, "invalid-model", "The model cannot be run"),
    ModelRejected: (422, "model-rejected", "The target cannot run this model"),
    Diverged: (422, "diverged", "The network diverged"),
    ClientGone: (499, "client-gone", "The caller closed the connection"),
    RunTimeout: (504, "run-timeout", "The deadline passed"),
    RunFailed: (502, "run-failed", "The run broke off"),
    TargetUnavailable: (503, "target-unavailable", "The target cannot be used"),
    InvalidTarget: (503, "target-unavailable", "The target cannot be used"),
    NotLoaded: (503, "not-loaded", "The model is not loaded"),
    StoreFull: (507, "store-full", "There is no room for the model"),
    Damaged: (503, "model-damaged", "The stored model is damaged"),
    StoreFailed: (503, "store-failed", "The store of models cannot be used"),
    NotSupported: (501, "not-supported", "This is not done here"),
    QueueFull: (503, "queue-full", "Too many requests wait"),
    OutOfFiles: (503, "out-of-files", "Too many files are open"),
    Unauthenticated: (401, "unauthenticated", "A key is needed"),
    Forbidden: (403, "forbidden", "The key is not for this"),
    Exhausted: (429, "limit-reached", "A limit of the key is reached"),
    ForwardedTwice: (508, "forwarded-twice", "The request went in a circle"),
}
"""Exception → status, problem type and title; a class stands before its bases."""

UNEXPECTED = (500, "internal", "Something went wrong in the service")


def foreseen(error: Exception) -> Exception:
    """Return an error as its caller is told it, if it says that files ran out."""
    files = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    return OutOfFiles() if files else error


def status_of(error: Exception) -> tuple[int, str, str]:
    """Return status, problem type and title of an exception."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return UNEXPECTED


def problem_response(error: Exception, notes: Notes) -> Response:
    """Return the reply to a request that failed; what is unexpected stays out of it."""
    status, kind, title = status_of(error)
    known = status != UNEXPECTED[0]
    detail = told(error) if known else "the log holds the details under this request id"
    reply = make_problem(status, kind, title, detail, notes.request_id)
    if isinstance(error, FusionError):
        reply["field"] = error.field
        if error.nearest:
            reply["nearest"] = error.nearest
    elif isinstance(error, UnknownTarget):
        reply["field"] = "target"
        reply["nearest"] = ", ".join(error.known)
    elif isinstance(error, TargetUnavailable):
        reply["field"] = "target"
        reply["nearest"] = error.hint
    elif isinstance(error, Refused):
        reply["field"] = error.field
        reply["nearest"] = error.nearest
    violations = _violations(error)
    if violations:
        reply["violations"] = violations
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if isinstance(error, QueueFull | OwnerAway):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif isinstance(error, OutOfFiles):
        headers["Retry-After"] = "1"
    return respond(reply, notes, headers)


def make_problem(status: int, kind: str, title: str, detail: str, request_id: str) -> ProblemReply:
    """Return a problem without details of a field."""
    return {
        "type": f"urn:snn-fusion:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }


def respond(
    reply: ProblemReply, notes: Notes, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem as an HTTP reply, told as the caller's protocol tells it."""
    if notes.open_inference:
        content = orjson.dumps({"error": reply["detail"]})
        return Response(content, reply["status"], headers, "application/json")
    return Response(orjson.dumps(reply), reply["status"], headers, PROBLEM_JSON)


def _violations(error: Exception) -> list[ViolationReply]:
    if isinstance(error, ModelRejected):
        return [
            {
                "node": one.node,
                "limit": one.limit,
                "used": one.used,
                "allowed": one.allowed,
                "nearest_feasible": one.nearest_feasible,
            }
            for one in error.violations
        ]
    if isinstance(error, LimitExceeded | Exhausted):
        allowed = f"{error.allowed:.12g}"
        return [
            {
                "node": error.field,
                "limit": error.limit,
                "used": f"{error.used:.12g}",
                "allowed": allowed,
                "nearest_feasible": allowed,
            }
        ]
    return []
