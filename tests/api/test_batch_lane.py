"""A lane's own behaviour: what runs together, what waits, and what is refused."""

import threading

import pytest
from support.api_backends import Turnstile

from api import batching
from api.batching import HIGHEST, LOWEST, NORMAL, Batching, BatchLane
from api.errors import QueueFull

LONG_S = 3600.0


class Recorder:
    """A run that passes a turnstile, notes its batches and gives twice every number."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        self.turnstile()
        return [ZeroDivisionError(item) if item < 0 else 2 * item for item in items]

    def wait(self):
        assert self.turnstile.entered.acquire(timeout=60)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def lane(recorder, request):
    threads, max_queue, *batching = getattr(request, "param", (1, 100, 4))
    lane = BatchLane("it", threads, max_queue, recorder, Batching(*batching))
    yield lane
    lane.close()
    recorder.turnstile.release(100)


def test_an_idle_lane_runs_one_alone_and_gathers_while_it_is_busy(lane, recorder):
    first = lane.enter("a", 0)
    recorder.wait()
    rest = [lane.enter(key, n) for n, key in enumerate("aabaaab", 1)]
    assert (lane.running, lane.waiting, lane.idle) == (1, 7, False)
    recorder.turnstile.release(100)
    assert [future.result(60) for future in (first, *rest)] == [2 * n for n in range(8)]
    assert recorder.batches == [[0], [1, 2, 4, 5], [3, 7], [6]]
    assert (lane.running, lane.waiting, lane.idle) == (0, 0, True)


@pytest.mark.parametrize("lane", [(2, 100, 4)], indirect=True)
def test_a_free_thread_takes_what_comes_without_a_delay(lane, recorder):
    futures = []
    for n in range(2):
        futures.append(lane.enter("a", n))
        recorder.wait()
    assert recorder.batches == [[0], [1]]
    recorder.turnstile.release(2)
    assert [future.result(60) for future in futures] == [0, 2]


@pytest.mark.parametrize("lane", [(2, 100, 3, LONG_S)], indirect=True)
def test_with_a_delay_a_free_thread_waits_for_a_full_batch_or_the_end_of_the_run(lane, recorder):
    alone = lane.enter("a", 0)
    recorder.wait()
    waiting = [lane.enter("a", n) for n in (1, 2)]
    assert lane.waiting == 2
    filled = lane.enter("a", 3)
    recorder.wait()
    assert recorder.batches == [[0], [1, 2, 3]]
    recorder.turnstile.release(2)
    assert [one.result(60) for one in (alone, *waiting, filled)] == [0, 2, 4, 6]
    first = lane.enter("a", 4)
    recorder.wait()
    second = lane.enter("a", 5)
    assert lane.waiting == 1
    recorder.turnstile.release(2)
    assert (first.result(60), second.result(60)) == (8, 10)
    assert recorder.batches[2:] == [[4], [5]]


@pytest.mark.parametrize("lane", [(2, 100, 3, 1e-6)], indirect=True)
def test_a_delay_ends(lane, recorder):
    futures = []
    for n in range(2):
        futures.append(lane.enter("a", n))
        recorder.wait()
    recorder.turnstile.release(2)
    assert [future.result(60) for future in futures] == [0, 2]


def test_who_leaves_the_queue_is_not_run_and_the_others_are(lane, recorder):
    first = lane.enter("a", 0)
    recorder.wait()
    stays, leaves, stays_too = (lane.enter("a", n) for n in (1, 2, 3))
    assert leaves.cancel()
    assert lane.waiting == 2
    assert not first.cancel(), "what runs cannot be taken back"
    recorder.turnstile.release(2)
    assert [one.result(60) for one in (first, stays, stays_too)] == [0, 2, 6]
    assert recorder.batches == [[0], [1, 3]]


def test_an_error_is_of_its_own_item_only(lane, recorder):
    first = lane.enter("a", 0)
    recorder.wait()
    good, bad = lane.enter("a", 1), lane.enter("a", -1)
    recorder.turnstile.release(2)
    assert (first.result(60), good.result(60)) == (0, 2)
    with pytest.raises(ZeroDivisionError):
        bad.result(60)


def test_a_run_that_fails_as_a_whole_fails_all_of_it_and_nothing_else():
    def run(items):
        raise MemoryError

    lane = BatchLane("it", 1, 10, run, Batching(4))
    futures = [lane.enter("a", n) for n in range(3)]
    for future in futures:
        with pytest.raises(MemoryError):
            future.result(60)
    assert lane.idle
    lane.close()


@pytest.mark.parametrize(("lane", "fit"), [((1, 2, 4), 3), ((1, 0, 4), 1)], indirect=["lane"])
def test_what_is_too_much_is_refused_at_once(lane, recorder, fit):
    futures = [lane.enter("a", 0)]
    recorder.wait()
    futures += [lane.enter("a", n) for n in range(1, fit)]
    with pytest.raises(QueueFull):
        lane.enter("a", 9)
    with pytest.raises(QueueFull):
        lane.refuse_if_full()
    recorder.turnstile.release(10)
    assert [future.result(60) for future in futures] == [2 * n for n in range(fit)]
    assert lane.enter("a", 9).result(60) == 18


@pytest.mark.parametrize("lane", [(1, 100, 2)], indirect=True)
def test_the_urgent_goes_first_and_takes_along_what_shares_its_run(lane, recorder):
    first = lane.enter("a", 0)
    recorder.wait()
    late = lane.enter("a", 1, LOWEST)
    usual = [lane.enter("b", 2), lane.enter("b", 3), lane.enter("a", 4)]
    urgent = lane.enter("a", 5, HIGHEST)
    recorder.turnstile.release(100)
    assert [one.result(60) for one in (first, late, *usual, urgent)] == [0, 2, 4, 6, 8, 10]
    assert recorder.batches == [[0], [5, 4], [2, 3], [1]]


@pytest.mark.parametrize("lane", [(1, 100, 1)], indirect=True)
def test_nobody_is_overtaken_for_longer_than_a_level_counts(lane, recorder, monkeypatch):
    now = 0.0
    monkeypatch.setattr(batching.time, "perf_counter", lambda: now)
    futures = [lane.enter("a", 0)]
    recorder.wait()
    futures.append(lane.enter("a", 1, LOWEST))
    for n, (moment, priority) in enumerate(
        [(0.5, NORMAL), (1.5, NORMAL), (1.9, HIGHEST), (2.1, HIGHEST)], 2
    ):
        now = moment * batching.HEAD_START_S
        futures.append(lane.enter("a", n, priority))
    recorder.turnstile.release(100)
    for future in futures:
        future.result(60)
    assert recorder.batches == [[0], [2], [4], [1], [5], [3]]


@pytest.mark.parametrize("lane", [(1, 3, 1)], indirect=True)
def test_a_full_queue_drops_the_newest_of_the_lowest_priority(lane, recorder):
    futures = [lane.enter("a", 0)]
    recorder.wait()
    futures += [lane.enter("a", n, p) for n, p in enumerate((LOWEST, LOWEST, NORMAL), 1)]
    for priority in (LOWEST, LOWEST):
        with pytest.raises(QueueFull):
            lane.enter("a", 9, priority)
    futures.append(lane.enter("a", 4, NORMAL))
    with pytest.raises(QueueFull):
        futures.pop(2).result(60)
    lane.refuse_if_full(NORMAL)
    futures.append(lane.enter("a", 5, HIGHEST))
    with pytest.raises(QueueFull):
        futures.pop(1).result(60)
    with pytest.raises(QueueFull):
        lane.enter("a", 9, NORMAL)
    assert lane.waiting == 3
    recorder.turnstile.release(100)
    assert [one.result(60) for one in futures] == [0, 6, 8, 10]
    assert recorder.batches == [[0], [5], [3], [4]]
    assert lane.idle


def test_the_number_in_the_lane_is_told(recorder):
    told = []
    lane = BatchLane("it", 1, 10, recorder, Batching(2), told.append)
    recorder.turnstile.release(10)
    futures = [lane.enter("a", n) for n in range(3)]
    ended = threading.Event()
    for future in futures:
        future.add_done_callback(lambda _: ended.set() if told[-1] == 0 else None)
    assert ended.wait(60)
    assert max(told) <= 3
    lane.close()


def test_closing_drops_what_waits_and_takes_no_more(lane, recorder):
    first = lane.enter("a", 0)
    recorder.wait()
    waits = lane.enter("a", 1)
    lane.close()
    assert waits.cancelled()
    with pytest.raises(RuntimeError):
        lane.enter("a", 2)
    recorder.turnstile.release()
    assert first.result(60) == 0
    assert lane.running == 0
