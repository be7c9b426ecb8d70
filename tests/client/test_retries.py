"""The whole course of a call, driven by hand: no socket, no clock, no chance."""

import json

import pytest

from snn_fusion.client import (
    ConnectionFailed,
    DeadlinePassed,
    InvalidRequest,
    Overloaded,
    Retry,
    ServiceFailed,
    Unavailable,
)
from snn_fusion.client.retries import Reply, Send, Wait, exchange, retry_after_s

UNSENT = ConnectionFailed("refused", sent=False)
FINE = Reply(200, {}, b"fine")


def told(status, kind=None, **headers):
    problem = {"type": f"urn:snn-fusion:problem:{kind}", "title": "t", "status": status}
    content = json.dumps({**problem, "detail": "d"}).encode() if kind else b"<html>"
    return Reply(status, {name.replace("_", "-"): one for name, one in headers.items()}, content)


FULL = told(503, "queue-full", retry_after="2")


def drive(outcomes, timeout_s=60.0, jitter=0.0, **retry):
    """Return what a call came to, and its steps; every Wait takes its time, all else none."""
    now = 0.0
    steps = []
    course = exchange(Retry(**retry), timeout_s, lambda: now, lambda: jitter)
    outcomes = iter(outcomes)
    try:
        step = next(course)
        while True:
            steps.append(step)
            if isinstance(step, Wait):
                now += step.seconds
                step = course.send(None)
            else:
                step = course.send(next(outcomes))
    except StopIteration as stop:
        return stop.value, steps
    except Exception as error:
        return error, steps


def waits(steps):
    return [step.seconds for step in steps if isinstance(step, Wait)]


def test_a_reply_ends_the_call():
    assert drive([FINE]) == (b"fine", [Send(60.0)])


def test_a_connection_that_was_refused_is_tried_again_ever_later():
    content, steps = drive([UNSENT, UNSENT, UNSENT, FINE], jitter=1.0)
    assert content == b"fine"
    assert waits(steps) == [0.1, 0.2, 0.4]


def test_waits_are_spread_and_bounded():
    for jitter, least in ((0.0, 0.5), (1.0, 1.0)):
        _, steps = drive([UNSENT] * 5 + [FINE], jitter=jitter, tries=6, first_s=1, longest_s=3)
        assert waits(steps) == [least * wait for wait in (1, 2, 3, 3, 3)]


def test_what_may_have_been_sent_is_never_sent_twice():
    broken = ConnectionFailed("reset", sent=True)
    assert drive([broken, FINE]) == (broken, [Send(60.0)])


def test_the_caller_gives_up_after_so_many_tries():
    error, steps = drive([UNSENT] * 4, tries=4)
    assert error is UNSENT
    assert len(waits(steps)) == 3
    assert drive([UNSENT], tries=1)[1] == [Send(60.0)]


@pytest.mark.parametrize("reply", [FULL, told(429, "too-many-requests", retry_after="2")])
def test_a_refusal_for_lack_of_room_waits_as_long_as_it_says(reply):
    content, steps = drive([reply, FINE])
    assert content == b"fine"
    assert waits(steps) == [2.0]
    _, steps = drive([reply, FINE], jitter=1.0)
    assert waits(steps) == [2.1]


def test_a_wait_beyond_the_deadline_is_not_begun():
    error, steps = drive([FULL], timeout_s=1.9)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 2
    assert waits(steps) == []


def test_every_try_gets_the_time_that_is_left():
    _, steps = drive([FULL, FULL, FINE], timeout_s=10)
    assert [step.timeout_s for step in steps if isinstance(step, Send)] == [10, 8, 6]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (told(503, "target-unavailable"), Unavailable),
        (told(503, "not-loaded"), Unavailable),
        (told(500, "internal"), ServiceFailed),
        (told(500), ServiceFailed),
        (told(422, "invalid-input"), InvalidRequest),
        (told(422, "invalid-input", retry_after="1"), InvalidRequest),
        (told(307), InvalidRequest),
    ],
)
def test_nothing_else_is_tried_again(reply, error):
    outcome, steps = drive([reply, FINE])
    assert isinstance(outcome, error)
    assert steps == [Send(60.0)]


@pytest.mark.parametrize("reply", [told(503), told(503, "draining", retry_after="0"), told(429)])
def test_a_503_that_says_when_or_comes_from_something_before_the_service_is(reply):
    assert drive([reply, FINE])[0] == b"fine"


def test_a_deadline_is_the_end():
    late = DeadlinePassed("late")
    assert drive([late, FINE]) == (late, [Send(60.0)])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 40}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT"}, None),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            10.0,
        ),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:27:00 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            0.0,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_on_the_replys_own_clock(headers, seconds):
    assert retry_after_s(headers) == seconds
