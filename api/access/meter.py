"""What a key has used of its limits, in this process and, as far as is known, in the others."""

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from api.access.limits import Bucket, Limits, make_bucket
from api.access.refusals import Exhausted

DAY_S = 86_400
MICRO = 1e6
"""Time is counted in whole microseconds."""
SYNAPTIC_EVENTS = "synaptic_events_per_day"
RUN_TIME = "run_s_per_day"
BOARD_TIME = "hardware_run_s_per_day"
QUOTAS = (SYNAPTIC_EVENTS, RUN_TIME, BOARD_TIME)


class SharedCounts(Protocol):
    """Counts of this day (UTC) that the service's processes share; no call waits for anything."""

    def add(self, name: str, amount: int) -> None:
        """Count more under a name; on the event loop."""

    def add_behind(self, name: str, amount: int) -> None:
        """Count more under a name, a moment later; from any thread."""

    def others(self, name: str) -> int:
        """Return what others have counted, as far as is known here; on the event loop."""


class Alone:
    """The counts of a process that shares with no other."""

    def add(self, name: str, amount: int) -> None:
        """Count for nobody."""

    def add_behind(self, name: str, amount: int) -> None:
        """Count for nobody."""

    def others(self, name: str) -> int:  # noqa: ARG002
        """Return nothing."""
        return 0


class Meter:
    """Counts what one key uses, and refuses what is beyond its limits.

    Quotas are of a day (UTC) and looked at before a run, whose size is known after it: so they are
    exceeded by the runs that go on when they are reached, and by what is not yet known of other
    processes.

    Args:
        key_id: the key's public id.
        limits: its limits.
        shared: the counts of all processes.
        place: name of the deployment, which requests a second are counted by.
        clock: seconds, never going back.
        epoch: seconds since 1970, UTC.
    """

    def __init__(
        self,
        key_id: str,
        limits: Limits,
        shared: SharedCounts,
        place: str = "",
        clock: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self.in_flight = 0
        self._key_id = key_id
        self._shared = shared
        self._requests = f"{key_id}:requests:{place}"
        self._clock = clock
        self._epoch = epoch
        self._lock = Lock()
        self._day = 0
        self._own: dict[str, int] = {}
        self._others: dict[str, int] = {}
        self._heard = self._heard_on = 0
        self._set(limits)

    def change(self, limits: Limits) -> None:
        """Take other limits; what was used of quotas stays used."""
        if limits != self.limits:
            self._set(limits)

    def _set(self, limits: Limits) -> None:
        self.limits = limits
        self._bucket = make_bucket(limits, self._clock())
        self._policy = _policy(self._bucket)
        self._quotas = tuple(name for name in QUOTAS if getattr(limits, name) is not None)

    def enter(self) -> None:
        """Begin a request; on the event loop, as `leave`.

        Raises:
            Exhausted: if it is one too many at once, or in this second.
        """
        most = self.limits.concurrent
        if most is not None and self.in_flight >= most:
            raise self._exhausted("concurrent", self.in_flight + 1, most, 1, "at the same time")
        if self._bucket is not None:
            self._take(self._bucket)
        if self._quotas:
            self._hear()
        self.in_flight += 1

    def leave(self) -> None:
        """End a request that was begun."""
        self.in_flight -= 1

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what replies say about requests a second (draft-ietf-httpapi-ratelimit-headers).

        Requests left now and seconds until all are there again; nothing without a limit.
        """
        bucket = self._bucket
        if bucket is None:
            return []
        tokens = bucket.tokens(self._clock())
        full_s = math.ceil((bucket.burst - tokens) / bucket.rate_per_s)
        left = b'"requests_per_s";r=%d;t=%d' % (max(0, int(tokens)), full_s)
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", left)]

    def check_quotas(self, hardware: bool) -> None:
        """Return if the key may run something more today; safe to call from several threads.

        Raises:
            Exhausted: if a quota of runs, of boards or of other targets, is used up.
        """
        for quota in self._quotas:
            if quota in (SYNAPTIC_EVENTS, BOARD_TIME if hardware else RUN_TIME):
                self._check(quota)

    def charge(self, hardware: bool, synaptic_events: int, run_s: float) -> None:
        """Count a run against the quotas that there are; safe to call from several threads."""
        if not self._quotas:
            return
        amounts = {
            SYNAPTIC_EVENTS: synaptic_events,
            BOARD_TIME if hardware else RUN_TIME: math.ceil(run_s * MICRO),
        }
        for quota in self._quotas:
            amount = amounts.get(quota, 0)
            if amount > 0:
                with self._lock:
                    self._turn()
                    self._own[quota] = self._own.get(quota, 0) + amount
                self._shared.add_behind(self._name(quota), amount)

    def used(self, quota: str) -> float:
        """Return what was used of a quota today, as far as is known, in the quota's unit."""
        with self._lock:
            self._turn()
            amount = self._own.get(quota, 0) + self._others.get(quota, 0)
        return amount if quota == SYNAPTIC_EVENTS else amount / MICRO

    def _hear(self) -> None:
        heard = {quota: self._shared.others(self._name(quota)) for quota in self._quotas}
        with self._lock:
            self._turn()
            self._others = heard

    def _take(self, bucket: Bucket) -> None:
        wait_s = bucket.take(self._clock(), self._news())
        if wait_s > 0:
            told = f"a second, {bucket.burst} at once"
            rate = bucket.rate_per_s
            raise self._exhausted("requests_per_s", rate, rate, math.ceil(wait_s), told)
        self._shared.add(self._requests, 1)

    def _news(self) -> int:
        """Return what others have admitted since the last look."""
        others, today = self._shared.others(self._requests), self._today()
        if today != self._heard_on:
            self._heard, self._heard_on = 0, today
        if others <= self._heard:  # less, if Redis has lost its data: they will tell again
            return 0
        heard, self._heard = self._heard, others
        return others - heard if heard else 0  # the first news of a day may be hours old

    def _check(self, quota: str) -> None:
        used, allowed = self.used(quota), getattr(self.limits, quota)
        if allowed is not None and used >= allowed:
            left_s = DAY_S - int(self._epoch()) % DAY_S
            raise self._exhausted(quota, used, allowed, left_s, "until midnight UTC")

    def _turn(self) -> None:
        """Begin a new day, if one has begun."""
        day = self._today()
        if day != self._day:
            self._day = day
            self._own.clear()
            self._others.clear()

    def _today(self) -> int:
        return int(self._epoch()) // DAY_S

    def _name(self, quota: str) -> str:
        return f"{self._key_id}:{quota}"

    def _exhausted(
        self, limit: str, used: float, allowed: float, after_s: int, told: str
    ) -> Exhausted:
        detail = f"key {self._key_id} may use {limit} = {allowed:.12g} ({told}), and has used it up"
        return Exhausted(limit, used, allowed, after_s, detail)


def _policy(bucket: Bucket | None) -> bytes:
    if bucket is None:
        return b""
    window_s = math.ceil(bucket.burst / bucket.rate_per_s)
    return b'"requests_per_s";q=%d;w=%d' % (bucket.burst, window_s)
