"""Limits: what may never be exceeded, whatever is asked of however many processes."""

import asyncio
import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from api.access.counts import DayCounts
from api.access.limits import UNLIMITED, Bucket, Limits
from api.access.meter import BOARD_TIME, DAY_S, RUN_TIME, SYNAPTIC_EVENTS, Alone, Meter
from api.access.refusals import Exhausted
from api.metrics import Metrics
from api.redis.embedded import shared_redis
from api.redis.shared import Shared
from api.settings import load_settings

FLUSH_S = 0.25
EPSILON = 1e-6
"""Sums of seconds in floating point."""


class Clock:
    """A clock that a test moves; midnight is at 0 and every `DAY_S` after."""

    def __init__(self, now_s=12 * 3600.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


class Told:
    """Counts of one process that hears of all others whenever a test says `tell`."""

    def __init__(self, clock, all_of_them):
        self.own = defaultdict(int)
        self.known = defaultdict(int)
        self._clock = clock
        self._all = all_of_them
        all_of_them.append(self)

    def _name(self, name):
        return f"{name}:{int(self._clock()) // DAY_S}"

    def add(self, name, amount):
        self.own[self._name(name)] += amount

    add_behind = add

    def others(self, name):
        return self.known[self._name(name)]

    def tell(self):
        for one in self._all:
            if one is not self:
                for name in {*one.own, *one.known}:
                    one.known[name] = sum(x.own[name] for x in self._all if x is not one)


def make(limits, clock, shared=None):
    return Meter("k", limits, shared or Alone(), clock=clock, epoch=clock)


def refusal_of(call, *given):
    """Return why a call is refused, None if it is not."""
    try:
        call(*given)
    except Exhausted as refusal:
        return refusal
    return None


def admitted(meter):
    if refusal_of(meter.enter) is not None:
        return False
    meter.leave()
    return True


def windows(times):
    """Return (length in seconds, count, midnights) of every window between two admissions."""
    for first, last in itertools.combinations_with_replacement(range(len(times)), 2):
        midnights = int(times[last]) // DAY_S - int(times[first]) // DAY_S
        yield times[last] - times[first], last - first + 1, midnights


ARRIVALS = st.lists(st.sampled_from([0, 0, 0, 0.01, 0.1, 0.3, 1, 5, 60]), max_size=120)
RATES = st.sampled_from([0.2, 1, 3.5, 20])
BURSTS = st.integers(1, 12)


@given(ARRIVALS, RATES, BURSTS)
def test_one_process_never_admits_more_than_burst_and_rate_allow(gaps, rate, burst):
    clock = Clock()
    meter = make(Limits(requests_per_s=rate, burst=burst), clock)
    times = []
    for gap in gaps:
        clock.now_s += gap
        if admitted(meter):
            times.append(clock.now_s)
    for length, count, _ in windows(times):
        assert count <= burst + rate * length + EPSILON


@given(ARRIVALS, RATES, BURSTS)
def test_whoever_waits_as_long_as_told_is_admitted(gaps, rate, burst):
    clock = Clock()
    meter = make(Limits(requests_per_s=rate, burst=burst), clock)
    for gap in gaps:
        clock.now_s += gap
        refusal = refusal_of(meter.enter)
        if refusal is not None:
            assert refusal.limit == "requests_per_s"
            assert refusal.retry_after_s == int(refusal.headers["Retry-After"]) >= 1
            clock.now_s += refusal.retry_after_s
            meter.enter()
        meter.leave()


STEPS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 0.02, 0.2, 1, 7]), st.integers(1, 8)), max_size=80
)
"""Seconds that pass, and requests that then come to every process in turn."""


@settings(max_examples=300)
@given(STEPS, RATES, BURSTS, st.integers(1, 4), st.booleans())
@example([(1, 3)] * 4, 3.5, 3, 2, True)
def test_processes_together_stay_within_the_documented_slack(steps, rate, burst, n, midnight):
    """Every process writes and reads every `FLUSH_S`, and is asked in between."""
    clock = Clock(DAY_S - 3.0 if midnight else 12 * 3600.0)
    everyone = []
    meters = [
        make(Limits(requests_per_s=rate, burst=burst), clock, Told(clock, everyone))
        for _ in range(n)
    ]
    times, flushed_s = [], clock.now_s
    for gap, requests in steps:
        end_s = clock.now_s + gap
        while flushed_s + FLUSH_S <= end_s:
            flushed_s = clock.now_s = flushed_s + FLUSH_S
            everyone[0].tell()
            everyone[-1].tell()
        clock.now_s = end_s
        times += [clock.now_s for one in meters * requests if admitted(one)]
    slack = (n - 1) * (2 * burst + FLUSH_S * rate)
    for length, count, midnights in windows(times):
        allowed = burst + rate * length + slack + (n - 1) * 2 * burst * midnights
        assert count <= allowed + EPSILON


def test_what_others_admit_is_taken_off_below_zero_and_repaid():
    clock, everyone = Clock(), []
    limits = Limits(requests_per_s=1, burst=5)
    one, two = (make(limits, clock, Told(clock, everyone)) for _ in range(2))
    assert admitted(one)
    assert admitted(two)
    everyone[0].tell()
    everyone[1].tell()
    assert [admitted(one) for _ in range(5)] == [True] * 4 + [False]
    assert [admitted(two) for _ in range(5)] == [True] * 4 + [False]
    everyone[0].tell()
    everyone[1].tell()
    clock.now_s += 3.0
    assert not admitted(one), "three have flowed in, and others took four"
    clock.now_s += 2.0
    assert admitted(one)


def test_a_process_that_was_idle_for_hours_is_not_in_debt():
    clock, everyone = Clock(), []
    limits = Limits(requests_per_s=1, burst=5)
    busy, idle = (make(limits, clock, Told(clock, everyone)) for _ in range(2))
    assert admitted(busy)
    everyone[0].tell()
    assert admitted(idle)
    for _ in range(5000):
        clock.now_s += 1.0
        assert admitted(busy)
        everyone[0].tell()
    clock.now_s += 2.0
    assert admitted(idle)


def test_a_process_that_starts_late_in_the_day_is_not_in_debt():
    clock, everyone = Clock(), []
    limits = Limits(requests_per_s=1, burst=5)
    busy = make(limits, clock, Told(clock, everyone))
    for _ in range(1000):
        clock.now_s += 1.0
        assert admitted(busy)
    late = make(limits, clock, Told(clock, everyone))
    assert admitted(late)
    everyone[0].tell()
    assert admitted(late)


def test_counts_that_redis_lost_and_hears_again_are_no_news():
    clock, everyone = Clock(), []
    limits = Limits(requests_per_s=1, burst=5)
    one, two = (make(limits, clock, Told(clock, everyone)) for _ in range(2))
    for _ in range(100):
        clock.now_s += 2.0
        assert admitted(one)
        assert admitted(two)
        for each in everyone:
            each.tell()
    before = dict(everyone[1].known)
    everyone[1].known.clear()
    clock.now_s += 10.0
    assert admitted(two)
    everyone[1].known.update(before)
    assert admitted(two)


def test_requests_at_the_same_time_are_bounded_and_end_in_any_case():
    meter = make(Limits(concurrent=2), Clock())
    meter.enter()
    meter.enter()
    with pytest.raises(Exhausted, match="concurrent = 2") as caught:
        meter.enter()
    assert (caught.value.limit, caught.value.retry_after_s) == ("concurrent", 1)
    meter.leave()
    meter.enter()
    assert meter.in_flight == 2


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.floats(0, 3)), max_size=40))
def test_quotas_are_exceeded_by_the_run_that_reaches_them_at_most(runs):
    limits = Limits(synaptic_events_per_day=20, run_s_per_day=5, hardware_run_s_per_day=2)
    meter = make(limits, Clock())
    spent = {SYNAPTIC_EVENTS: 0, RUN_TIME: 0.0, BOARD_TIME: 0.0}
    for board, events, run_s in runs:
        time_of = BOARD_TIME if board else RUN_TIME
        reached = [q for q in (SYNAPTIC_EVENTS, time_of) if spent[q] >= getattr(limits, q) - 1e-5]
        refusal = refusal_of(meter.check_quotas, board)
        if refusal is not None:
            assert refusal.limit in reached
            continue
        assert all(meter.used(q) < getattr(limits, q) for q in (SYNAPTIC_EVENTS, time_of))
        meter.charge(board, events, run_s)
        spent[SYNAPTIC_EVENTS] += events
        spent[time_of] += run_s
    for quota, used in spent.items():
        assert meter.used(quota) == pytest.approx(used, abs=1e-4)


def test_boards_have_a_quota_of_their_own():
    meter = make(Limits(run_s_per_day=1, hardware_run_s_per_day=1), Clock())
    meter.charge(True, 5, 1.5)
    meter.check_quotas(False)
    with pytest.raises(Exhausted, match="hardware_run_s_per_day = 1") as caught:
        meter.check_quotas(True)
    assert caught.value.retry_after_s == DAY_S / 2


def test_a_day_ends_at_midnight():
    clock = Clock(DAY_S - 1.0)
    meter = make(Limits(synaptic_events_per_day=3), clock)
    meter.charge(False, 3, 0.0)
    with pytest.raises(Exhausted) as caught:
        meter.check_quotas(False)
    assert caught.value.retry_after_s == 1
    clock.now_s += 1.0
    meter.check_quotas(False)
    assert meter.used(SYNAPTIC_EVENTS) == 0


def test_charges_of_many_threads_are_all_counted():
    meter = make(Limits(synaptic_events_per_day=10**9), Clock())
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4000):
            pool.submit(meter.charge, False, 1, 0.0)
    assert meter.used(SYNAPTIC_EVENTS) == 4000


def test_other_limits_are_taken_and_what_was_used_stays():
    clock = Clock()
    meter = make(Limits(requests_per_s=1, burst=1, synaptic_events_per_day=3), clock)
    assert admitted(meter)
    assert not admitted(meter)
    meter.charge(False, 3, 0.0)
    meter.change(Limits(requests_per_s=1, burst=2, synaptic_events_per_day=3))
    assert [admitted(meter) for _ in range(3)] == [True, True, False]
    with pytest.raises(Exhausted):
        meter.check_quotas(False)
    meter.change(UNLIMITED)
    meter.check_quotas(False)
    assert admitted(meter)


def test_replies_say_what_is_left():
    clock = Clock()
    meter = make(Limits(requests_per_s=2, burst=10), clock)
    admitted(meter)
    headers = dict(meter.headers())
    assert headers[b"ratelimit-policy"] == b'"requests_per_s";q=10;w=5'
    assert headers[b"ratelimit"] == b'"requests_per_s";r=9;t=1'
    assert make(Limits(concurrent=1), clock).headers() == []


def test_a_bucket_is_full_at_first_and_holds_no_more_than_its_burst():
    bucket = Bucket(2.0, 3, 0.0)
    assert bucket.tokens(1000.0) == 3
    assert [bucket.take(1000.0) for _ in range(4)] == [0, 0, 0, 0.5]


@asynccontextmanager
async def processes(count, folder):
    """Give as many sets of counts as processes would have, behind a real server."""
    with shared_redis(load_settings(data_dir=folder)) as chosen:
        if chosen.redis_url is None:
            pytest.skip("no Redis can run here")
        every = [Shared(chosen, Metrics(CollectorRegistry())) for _ in range(count)]
        for one in every:
            await one.open()
        async with asyncio.timeout(60):
            while any(one.problem for one in every):
                await asyncio.sleep(0.01)
        try:
            yield every
        finally:
            for one in every:
                await one.close()


def test_processes_hear_of_each_other_through_redis(tmp_path):
    async def tried():
        async with processes(2, tmp_path) as every:
            limits = Limits(requests_per_s=1e-6, burst=20, synaptic_events_per_day=100)
            counts = [DayCounts(one.counters) for one in every]
            for one in counts:
                one.start()
            a, b = (Meter("k", limits, one) for one in counts)

            async def flushed():
                for one in (*every, *every):
                    await one.counters.flush()

            assert admitted(a)
            assert admitted(b)
            await flushed()
            assert admitted(a)
            assert admitted(b)
            assert sum(admitted(a) for _ in range(30)) == 18
            await flushed()
            assert not admitted(b), "18 of the 20 went to the other one"
            await asyncio.to_thread(a.charge, False, 100, 0.0)
            await asyncio.sleep(0)
            await flushed()
            b.change(Limits(synaptic_events_per_day=100))
            assert admitted(b)
            with pytest.raises(Exhausted, match="synaptic_events_per_day"):
                b.check_quotas(False)

    asyncio.run(tried())
