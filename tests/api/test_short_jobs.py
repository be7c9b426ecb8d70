"""Jobs that are short run on the event loop, and only those; nobody sees a difference."""

import asyncio
import threading
from dataclasses import dataclass
from itertools import chain

import pytest
from support.api_backends import HookedProgram, HookedRegistry
from support.api_models import body
from support.api_server import answer_of, running

from api import pace
from api.batching import Batching, BatchLane
from api.errors import QueueFull
from api.settings import load_settings

TIMES = ("timing", "request_id")


@dataclass
class _Job:
    """As much of a job as its pace is told by."""

    kind: str = "kind"
    size: int = 0


def paced(*seconds: float) -> pace.Pace:
    made = pace.Pace()
    for one in seconds:
        made.note(_Job(), one)
    return made


SHORT, LONG = pace.SHORT_S, 2 * pace.SHORT_S
KNOWN = [SHORT] * pace.REMEMBERED


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], False),
        (KNOWN[1 + pace.BLIPS :], False),
        (KNOWN, True),
        ([*KNOWN, *[LONG] * pace.BLIPS], True),
        ([*KNOWN, *[LONG] * (pace.BLIPS + 1)], False),
        ([LONG, *KNOWN], True),
    ],
)
def test_a_kind_is_short_if_its_last_jobs_were(taken, expected):
    assert paced(*taken).is_short(_Job()) is expected


def test_a_large_job_is_never_short():
    known = paced(*KNOWN)
    assert known.is_short(_Job(size=pace.SHORT_BYTES))
    assert not known.is_short(_Job(size=pace.SHORT_BYTES + 1))
    assert not known.is_short(_Job(kind="another"))


def test_kinds_that_were_met_first_are_forgotten_first():
    known = paced(*KNOWN)
    for n in range(pace.KINDS):
        known.note(_Job(kind=f"kind {n}"), SHORT)
    assert not known.is_short(_Job())


def test_all_who_have_come_are_counted_before_one_of_them_runs():
    seen = []
    lane = BatchLane("it", 1, 1, lambda items: seen.append(lane.waiting) or items, Batching())

    async def three() -> list[object]:
        asked = (lane.run_here(n, n) for n in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(three())
    assert (first, second) == (0, 1)
    assert isinstance(third, QueueFull)
    assert seen == [2, 1]
    assert (lane.waiting, lane.running) == (0, 0)
    lane.close()


def test_who_waits_on_the_loop_runs_with_others_of_the_same_key():
    batches = []

    def run(items):
        batches.append(items)
        return [ValueError(n) if n == 3 else 10 * n for n in items]

    lane = BatchLane("it", 1, 9, run, Batching(max_size=3))

    async def all_at_once() -> list[object]:
        asked = (lane.run_here(n % 2, n) for n in range(8))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(all_at_once())
    assert batches[0] == [0, 2, 4]
    assert batches[1] == [1, 3, 5] or len(batches[1]) < 3, "what runs take may bound them further"
    assert sorted(chain.from_iterable(batches)) == list(range(8))
    assert isinstance(answers[3], ValueError)
    assert [a for n, a in enumerate(answers) if n != 3] == [0, 10, 20, 40, 50, 60, 70]
    assert (lane.waiting, lane.running) == (0, 0)
    lane.close()


@pytest.fixture
def hooked(shelf_dir, monkeypatch):
    """A server with the target `hooked`, and the names of the threads that it runs in."""
    threads: list[str] = []
    monkeypatch.setattr(pace, "SHORT_S", 3600.0)
    registry = HookedRegistry(lambda: threads.append(threading.current_thread().name))
    with running(load_settings(models_dir=shelf_dir), registry=registry) as server:
        yield server, threads


def ask(server, **changes):
    answer = answer_of(server.fuse(body(target="hooked", **changes)))
    return {key: value for key, value in answer.items() if key not in TIMES}


def test_what_is_always_short_leaves_the_threads_and_is_answered_alike(hooked, monkeypatch):
    server, threads = hooked
    monkeypatch.setattr(HookedProgram, "in_process", True)
    answers = [ask(server) for _ in range(pace.REMEMBERED + 1)]
    assert all(name.startswith("hooked") for name in threads[: pace.REMEMBERED - pace.BLIPS])
    assert not threads[-1].startswith("hooked")
    assert answers[-1] == answers[0]
    ask(server, record=["all"])
    assert threads[-1].startswith("hooked"), "it is of another kind"
    monkeypatch.setattr(pace, "SHORT_BYTES", 1)
    ask(server)
    assert threads[-1].startswith("hooked"), "it is large"


def test_what_may_wait_for_something_never_leaves_the_threads(hooked):
    server, threads = hooked
    for _ in range(pace.REMEMBERED + 1):
        ask(server)
    assert all(name.startswith("hooked") for name in threads)


def test_an_error_on_the_loop_is_told_as_from_a_thread(hooked, monkeypatch):
    server, threads = hooked
    monkeypatch.setattr(HookedProgram, "in_process", True)
    wrong = body(target="hooked", sensors={"cam": {"events": {"times_us": [1], "channels": [-1]}}})
    from_thread = server.fuse(wrong)
    for _ in range(pace.REMEMBERED):
        ask(server)
    assert not threads[-1].startswith("hooked")
    from_loop = server.fuse(wrong)
    assert from_loop.status_code == from_thread.status_code == 422
    assert from_loop.json()["detail"] == from_thread.json()["detail"]
