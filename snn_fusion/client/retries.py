"""One call from its first try to its outcome, without any I/O: when to send, wait or give up.

A call is tried again only where that is safe: if the connection failed before anything was sent, or
if the service refused it for lack of room. What may have run is never sent twice.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from snn_fusion.client.errors import ConnectionFailed, DeadlinePassed, Overloaded, Problem, problem


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a call is tried again.

    Attributes:
        tries: how often it is tried in all; 1 never tries again.
        first_s: about the first wait; every further one is twice as long.
        longest_s: no wait is longer, unless the service asks for it.
    """

    tries: int = 4
    first_s: float = 0.1
    longest_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """The request is to be sent, and its outcome to be handed in within `timeout_s` seconds."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """So many seconds are to pass."""

    seconds: float


Outcome = Reply | ConnectionFailed | DeadlinePassed | None
"""What came of a step: of `Send` a reply or an error, of `Wait` nothing."""


def exchange(
    retry: Retry, timeout_s: float, now: Callable[[], float], jitter: Callable[[], float]
) -> Generator[Send | Wait, Outcome, bytes]:
    """Yield what is to be done, take what came of it, and return the content of the reply.

    Args:
        retry: how often and how soon to try again.
        timeout_s: seconds for everything together.
        now: a clock in seconds.
        jitter: gives numbers from 0 to 1, so that callers do not come back all at once.

    Raises:
        ConnectionFailed: if no reply came.
        DeadlinePassed: if the time was up before.
        Problem: if the service said what is wrong.
    """
    end = now() + timeout_s
    for attempt in range(1, retry.tries + 1):
        outcome = yield Send(max(0.0, end - now()))
        if isinstance(outcome, Reply) and outcome.status in (200, 201):
            return outcome.content
        error = _error(outcome)
        pause_s = _pause_s(error, retry, attempt, jitter())
        if not _worth_it(error) or attempt == retry.tries or now() + pause_s >= end:
            raise error
        yield Wait(pause_s)
    raise AssertionError("the last try returns or raises")


def _error(outcome: Outcome) -> ConnectionFailed | DeadlinePassed | Problem:
    if isinstance(outcome, Reply):
        return problem(outcome.status, outcome.content, retry_after_s(outcome.headers))
    assert outcome is not None
    return outcome


def _worth_it(error: ConnectionFailed | DeadlinePassed | Problem) -> bool:
    if isinstance(error, ConnectionFailed):
        return not error.sent
    if isinstance(error, Overloaded):
        return True
    # Something before the service, which passed nothing on; or the service, if it says when.
    return (
        isinstance(error, Problem)
        and error.status == 503
        and (error.retry_after_s is not None or not error.kind)
    )


def _pause_s(error: Exception, retry: Retry, attempt: int, jitter: float) -> float:
    """Return at least what the service asks for, and up to the backoff more."""
    backoff_s = min(retry.longest_s, retry.first_s * 2.0 ** (attempt - 1))
    asked_s = error.retry_after_s if isinstance(error, Problem) else None
    if asked_s is None:
        return backoff_s * (0.5 + 0.5 * jitter)
    return asked_s + backoff_s * jitter


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), if any.

    A date counts from the reply's own Date, so that the caller's clock does not matter.
    """
    given = headers.get("retry-after", "").strip()
    if given.isdecimal() and len(given) < 10:
        return float(given)
    then, sent = _date(given), _date(headers.get("date", ""))
    if then is None or sent is None:
        return None
    return max(0.0, (then - sent).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
