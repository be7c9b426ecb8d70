"""What a key has used of its limits, in this process and, as far as is known, in the others."""

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from api.access.limits import UNLIMITED, Bucket, Limits, make_bucket
from api.access.refusals import Exhausted

DAY_S = 86_400


class SharedCounts(Protocol):
    """Counts that the service's processes share; no call waits for anything."""

    def add(self, name: str, amount: int) -> None:
        """Count more under a name; safe to call from several threads."""

    def others(self, name: str) -> int:
        """Return what other processes have counted under a name, as far as is known here."""


class Alone:
    """The counts of a process that shares with no other."""

    def add(self, name: str, amount: int) -> None:
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
        self.limits = limits
        self._key_id = key_id
        self._shared = shared
        self._requests = f"{key_id}:requests:{place}"
        self._clock = clock
        self._epoch = epoch
        self._bucket = make_bucket(limits, clock())
        self._policy = _policy(self._bucket)
        self._seen = shared.others(self._requests)
        self._lock = Lock()
        self._day = 0
        self._used: dict[str, int] = {}

    def change(self, limits: Limits) -> None:
        """Take other limits; what was used stays used."""
        if limits == self.limits:
            return
        self.limits = limits
        self._bucket = make_bucket(limits, self._clock())
        self._policy = _policy(self._bucket)

    def enter(self) -> None:
        """Begin a request; on the event loop, as `leave`.

        Raises:
            Exhausted: if it is one too many at once, or in this second.
        """
        most = self.limits.concurrent
        if most is not None and self.in_flight >= most:
            raise self._exhausted("concurrent", self.in_flight + 1, most, 1, "at the same time")
        if self._bucket is not None:
            self._take()
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
        """Return if the key may run something more today.

        Raises:
            Exhausted: if a quota of runs, of boards or of other targets, is used up.
        """
        limits = self.limits
        self._check("synaptic_events_per_day", limits.synaptic_events_per_day, 1)
        if hardware:
            self._check("hardware_run_s_per_day", limits.hardware_run_s_per_day, 1e6)
        else:
            self._check("run_s_per_day", limits.run_s_per_day, 1e6)

    def charge(self, hardware: bool, synaptic_events: int, run_s: float) -> None:
        """Count a run; safe to call from several threads."""
        seconds = "hardware_run_s_per_day" if hardware else "run_s_per_day"
        self._add("synaptic_events_per_day", synaptic_events)
        self._add(seconds, math.ceil(run_s * 1e6))

    def used(self, quota: str) -> int:
        """Return what was used of a quota today, as far as is known, run time in microseconds."""
        day = self._today()
        with self._lock:
            own = self._used.get(quota, 0) if day == self._day else 0
        return own + self._shared.others(self._name(quota, day))

    def _take(self) -> None:
        bucket = self._bucket
        assert bucket is not None
        others = self._shared.others(self._requests)
        if others != self._seen:
            bucket.debit(max(0, others - self._seen))  # fewer: the count began anew
            self._seen = others
        wait_s = bucket.take(self._clock())
        if wait_s > 0:
            told = f"a second, {bucket.burst} at once"
            rate = bucket.rate_per_s
            raise self._exhausted("requests_per_s", rate, rate, math.ceil(wait_s), told)
        self._shared.add(self._requests, 1)

    def _check(self, quota: str, allowed: float | None, unit: float) -> None:
        if allowed is None:
            return
        used = self.used(quota) / unit
        if used >= allowed:
            left_s = DAY_S - int(self._epoch()) % DAY_S
            raise self._exhausted(quota, used, allowed, left_s, "until midnight UTC")

    def _add(self, quota: str, amount: int) -> None:
        if amount <= 0:
            return
        day = self._today()
        with self._lock:
            if day != self._day:
                self._day = day
                self._used.clear()
            self._used[quota] = self._used.get(quota, 0) + amount
        self._shared.add(self._name(quota, day), amount)

    def _today(self) -> int:
        return int(self._epoch()) // DAY_S

    def _name(self, quota: str, day: int) -> str:
        return f"{self._key_id}:{quota}:{day}"

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


class Unmetered(Meter):
    """The meter of callers without limits."""

    def __init__(self) -> None:
        super().__init__("", UNLIMITED, Alone())

    def charge(self, hardware: bool, synaptic_events: int, run_s: float) -> None:
        """Count nothing."""
