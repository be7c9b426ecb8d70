"""Counts that all worker processes and replicas share, written behind.

A count belongs to a key and a window: a span of so many seconds, of which one follows the other
from the start of 1970 on the wall clock, so that every process means the same one.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from api.redis.link import Link, RedisFailed

FLUSH_S = 0.25
WRITE_S = 0.5
SETTLED_S = 1.0
"""So long after a window's end it is still written and read."""
KEPT_WINDOWS = 3
SLOTS_AT_ONCE = 64
PREFIX = "snn-fusion:count:"


@dataclass(frozen=True, slots=True)
class _Slot:
    """One window of one key: which one since 1970, and its length."""

    key: str
    window_s: int
    number: int

    @property
    def name(self) -> bytes:
        return f"{PREFIX}{self.window_s}:{self.number}:{self.key}".encode()

    def end_s(self, later: int = 0) -> int:
        """Seconds since 1970 at its end, or at the end of so many windows later."""
        return (self.number + 1 + later) * self.window_s


@dataclass(slots=True)
class _Count:
    """What is known of a slot: counted here, and by all others when last asked."""

    own: int = 0
    others: int = 0


class Counters:
    """Counts in this process, and what all others counted a moment ago.

    Nothing here waits or fails; every method but `keep` takes a microsecond or so and is for the
    event loop. What it guarantees:

    - `own` is exact while the process lives. A process that ends writes its last counts; one that
      is killed loses those since its last flush.
    - `others` is exact as of the last flush, so at most `FLUSH_S` and one answer of Redis old while
      Redis is up, and as old as the last flush while it is down: then every process counts alone.
    - Each process writes its own total, not differences: a flush that is repeated, or whose answer
      is lost, counts nothing twice, and a Redis that lost its data is told all again.
    - A limit of L that all processes hold by `own + others` is exceeded by no more than what the
      other processes admit in one flush.

    Args:
        link: the connection; None where there is no Redis.
        clock: the seconds since 1970.
    """

    def __init__(self, link: Link | None, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._clock = clock
        self._me = os.urandom(8).hex().encode()
        self._counts: dict[_Slot, _Count] = {}

    def add(self, key: str, n: int = 1, window_s: int = 60) -> None:
        """Count `n` more in the current window."""
        self._count(key, window_s).own += n

    def own(self, key: str, window_s: int = 60) -> int:
        """Return what this process counted in the current window."""
        return self._count(key, window_s).own

    def read_others(self, key: str, window_s: int = 60) -> int:
        """Return what all others counted in the current window, as of the last flush.

        A key that was never named before is first asked for at the next flush.
        """
        return self._count(key, window_s).others

    def sliding(self, key: str, window_s: int = 60) -> float:
        """Return an estimate of what all counted in the last `window_s` seconds.

        It takes the window before as evenly spread, which smooths the edge of a fixed window.
        """
        position = self._clock() / window_s
        now = self._at(_Slot(key, window_s, int(position)))
        before = self._counts.get(_Slot(key, window_s, int(position) - 1), _Count())
        left = 1.0 - position % 1.0
        return now.own + now.others + left * (before.own + before.others)

    def _count(self, key: str, window_s: int) -> _Count:
        return self._at(_Slot(key, window_s, int(self._clock()) // window_s))

    def _at(self, slot: _Slot) -> _Count:
        count = self._counts.get(slot)
        if count is None:
            count = self._counts[slot] = _Count()
        return count

    async def keep(self) -> None:
        """Flush again and again, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted here, and read what others did."""
        now = self._clock()
        self._counts = {slot: one for slot, one in self._counts.items() if slot.end_s(1) > now}
        if self._link is None:
            return
        slots = [slot for slot in self._counts if slot.end_s() + SETTLED_S > now]
        for first in range(0, len(slots), SLOTS_AT_ONCE):
            some = slots[first : first + SLOTS_AT_ONCE]
            with suppress(RedisFailed):  # the link counts it; the next flush makes up for it
                await self._link.ask(partial(self._exchange, some), WRITE_S)

    async def _exchange(self, slots: Sequence[_Slot], client: "Redis") -> None:
        pipe = client.pipeline(transaction=False)
        written = [self._counts[slot].own for slot in slots]
        for slot, own in zip(slots, written, strict=True):
            if own:
                pipe.hset(slot.name, self._me, str(own))
                pipe.expire(slot.name, KEPT_WINDOWS * slot.window_s)
            pipe.hvals(slot.name)
        told = [one for one in await pipe.execute() if isinstance(one, list)]
        for slot, own, counts in zip(slots, written, told, strict=True):
            self._counts[slot].others = sum(map(int, counts)) - own
