"""What can go wrong between a caller and the service.

ClientError
├── ConnectionFailed     no reply came
├── DeadlinePassed       the caller's time was up before there was an answer
├── UnreadableReply      the reply is not of this interface
└── Problem              the service said what is wrong (RFC 9457)
    ├── InvalidRequest   the request, its contract or the model cannot be used as it is (4xx)
    │   ├── NotAllowed   the key is missing, not good, or not for this
    │   ├── NotFound     no such model, target, sample or route
    │   ├── Conflict     the change contradicts what is stored
    │   └── ModelRejected  the target cannot run the model; `violations` say why
    ├── Overloaded       too many requests wait, or the key has reached a limit
    ├── Unavailable      the target or the model cannot be used now
    ├── RunFailed        the run broke off, or passed its deadline
    └── ServiceFailed    the service failed
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

_PREFIX = "urn:snn-fusion:problem:"


class ClientError(Exception):
    """Base of all that a client raises about a call."""


class ConnectionFailed(ClientError):
    """No reply came.

    Args:
        message: what happened.
        sent: whether the request may have reached the service.
    """

    def __init__(self, message: str, sent: bool) -> None:
        self.sent = sent
        super().__init__(message)


class DeadlinePassed(ClientError):
    """The caller's time was up before there was an answer."""


class UnreadableReply(ClientError):
    """The reply is not of this interface; another program may answer at the address."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that is exceeded: what is needed, what is allowed, what would work."""

    node: str
    limit: str
    used: str
    allowed: str
    nearest_feasible: str | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """Problem details as the service tells them."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    field: str | None = None
    nearest: str | None = None
    violations: tuple[Violation, ...] = ()
    request_id: str | None = None


class Problem(ClientError):
    """The service said what is wrong.

    Args:
        details: as it was said.
        retry_after_s: seconds after which it is worth trying again, if the service said so.

    Attributes:
        status: the HTTP status.
        kind: the problem's type, such as `invalid-input`; empty if something else answered.
        detail: what is wrong.
        field: path of what is wrong in the request, if it is in the request.
        nearest: what would work, if that is known.
        violations: limits that are exceeded.
        request_id: name of the request in the service's log.
    """

    def __init__(self, details: Details, retry_after_s: float | None = None) -> None:
        self.details = details
        self.retry_after_s = retry_after_s
        self.status = details.status
        own = details.type.startswith(_PREFIX)
        self.kind = details.type.removeprefix(_PREFIX) if own else ""
        self.detail = details.detail
        self.field = details.field
        self.nearest = details.nearest
        self.violations = details.violations
        self.request_id = details.request_id
        super().__init__(f"[{details.status}] {details.detail}")


class InvalidRequest(Problem):
    """The request, its contract or the model cannot be used as it is."""


class NotAllowed(InvalidRequest):
    """The key is missing, not good, or not for this; `nearest` says what would do."""


class NotFound(InvalidRequest):
    """There is no such model, target, sample or route."""


class Conflict(InvalidRequest):
    """The change contradicts what is stored, as a version does that exists with other content."""


class ModelRejected(InvalidRequest):
    """The target cannot run the model."""


class Overloaded(Problem):
    """Too many requests wait, or the key has reached a limit."""


class Unavailable(Problem):
    """The target or the model cannot be used now."""


class RunFailed(Problem):
    """The run broke off, or passed its deadline."""


class ServiceFailed(Problem):
    """The service failed, for which its log holds the reason."""


_BY_KIND: Mapping[str, type[Problem]] = MappingProxyType(
    {"model-rejected": ModelRejected, "queue-full": Overloaded}
)
_BY_STATUS: Mapping[int, type[Problem]] = MappingProxyType(
    {
        401: NotAllowed,
        403: NotAllowed,
        404: NotFound,
        409: Conflict,
        429: Overloaded,
        502: RunFailed,
        503: Unavailable,
        504: RunFailed,
        507: Unavailable,
    }
)


def problem(status: int, content: bytes, retry_after_s: float | None) -> Problem:
    """Return the problem that a reply tells, or that its status alone amounts to."""
    try:
        details = msgspec.json.decode(content, type=Details)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = content[:200].decode("utf-8", "replace").strip()
        details = Details(title=f"status {status}", status=status, detail=text or "no details")
    told = Problem(details, retry_after_s)
    otherwise = InvalidRequest if status < 500 else ServiceFailed
    kind = _BY_KIND.get(told.kind) or _BY_STATUS.get(status, otherwise)
    return kind(details, retry_after_s)
