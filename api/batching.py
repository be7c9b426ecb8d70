"""Bounded lanes of threads, in which what can share a run is run together.

A run starts at once while its lane is idle. While all threads are busy items gather, and the oldest
starts with all that can share its run, up to a limit, as soon as a thread is free; so a batch is as
large as the load makes it, and nobody waits for company on an idle machine.

Items have one of three priorities. Each level counts as some seconds of waiting (`HEAD_START_S`):
an item is overtaken by those of a higher level that come within that time, and by none that come
later, so nobody starves. Where the queue is full, the newest of the lowest level has to go.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Condition
from typing import Any, Generic, TypeVar

from api.errors import QueueFull

HIGHEST, NORMAL, LOWEST = 1, 2, 3
"""The levels of priority: at the ends, and of who says nothing."""
HOLD_S = 2e-3
"""So long a batch may keep the event loop, going by what runs there took before."""
HEAD_START_S = 1.0
"""Seconds of waiting that a level of priority counts for."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Batching:
    """How items are run together.

    Attributes:
        max_size: items in one run.
        max_delay_s: seconds that an item may wait for others while its lane runs something and yet
            has a free thread.
    """

    max_size: int = 1
    max_delay_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Ticket(Generic[_Item, _Result]):
    """An item that waits: what it can share a run with, its priority, and since when it waits."""

    key: Hashable
    item: _Item
    priority: int
    since: float
    future: "Future[_Result]"

    @property
    def turn(self) -> float:
        """What the queue is sorted by."""
        return self.since + self.priority * HEAD_START_S


@dataclass(slots=True, eq=False)
class _Place(Generic[_Item, _Result]):
    """An item that waits on the event loop, and its result once there is one."""

    key: Hashable
    item: _Item
    result: _Result | Exception | None = None


class BatchLane(Generic[_Item, _Result]):
    """Runs items in threads, those of an equal key together, with a bounded queue.

    Args:
        name: what it is for: the target it serves.
        threads: how many runs go on at the same time.
        max_queue: how many items may wait; one more is refused at once.
        run: gives for the items of a batch a result or an exception each, in their order.
        batching: how many items share a run.
        on_change: is told the number of items that wait and run whenever it changes.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        max_queue: int,
        run: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
        batching: Batching,
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.threads = threads
        self.max_queue = max_queue
        self.batching = batching
        self._run = run
        self._on_change = on_change
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._changed = Condition()
        self._tickets: list[_Ticket[_Item, _Result]] = []
        self._pending = 0
        self._runs = 0
        self._here: list[_Place[_Item, _Result]] = []
        self._here_s = 0.0
        self._mean_s = 0.0

    @property
    def running(self) -> int:
        """How many items run."""
        return self._pending - self.waiting

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._tickets) + len(self._here)

    @property
    def idle(self) -> bool:
        """Whether one more item would start at once."""
        return len(self._tickets) < self.threads - self._runs

    @property
    def wait_s(self) -> float:
        """Estimate of the seconds that an item would wait now."""
        return 0.0 if self.idle else self._mean_s * (self.waiting + 1) / self.threads

    def refuse_if_full(self, priority: int = NORMAL) -> None:
        """Return if one more item of a priority may wait.

        Raises:
            QueueFull: if not.
        """
        if self._full and not self._below(priority):
            raise QueueFull(self.name, self.waiting, self.wait_s)

    def join(self, key: Hashable, item: _Item, priority: int = NORMAL) -> "asyncio.Future[_Result]":
        """Run an item, for a caller on the event loop; else as `enter`."""
        return asyncio.wrap_future(self.enter(key, item, priority))

    def enter(self, key: Hashable, item: _Item, priority: int = NORMAL) -> "Future[_Result]":
        """Run an item, alone or with others of an equal key.

        Cancelling the future takes a waiting item off the queue. A batch that runs goes on, and
        the others in it get their results.

        Raises:
            QueueFull: if as many wait as may, none of them of a lower priority; the future raises
                it if the item had to make room for one of a higher priority.
            RuntimeError: if the lane is closed.
        """
        ticket = _Ticket[_Item, _Result](key, item, priority, time.perf_counter(), Future())
        dropped = None
        with self._changed:
            self.refuse_if_full(priority)
            if self._full:
                dropped = max(self._below(priority), key=_last)
                self._tickets.remove(dropped)
            insort(self._tickets, ticket, key=_turn)
            self._count(1)
            self._changed.notify_all()  # a batch that waits for company may be full now
        if dropped is not None and dropped.future.set_running_or_notify_cancel():
            dropped.future.set_exception(QueueFull(self.name, self.waiting, self.wait_s))
        ticket.future.add_done_callback(partial(self._leave, ticket))
        try:
            self._pool.submit(self._serve)
        except RuntimeError:
            ticket.future.cancel()
            raise
        return ticket.future

    async def run_here(self, key: Hashable, item: _Item, priority: int = NORMAL) -> _Result:
        """Run an item in the thread of the event loop, with others of an equal key that wait there.

        It must be short. All requests that have arrived by now are counted before any of them
        runs, so that the queue is as bounded as if they waited for a thread.

        Raises:
            QueueFull: if as many wait as may, none of them of a lower priority.
            Exception: what `run` gives for the item.
        """
        self.refuse_if_full(priority)
        place: _Place[_Item, _Result] = _Place(key, item)
        self._here.append(place)
        self._arrive(1)
        try:
            await asyncio.sleep(0)
            if place.result is None:
                self._run_here(place)
            result = place.result
        finally:
            self._here.remove(place)
            self._arrive(-1)
        if isinstance(result, BaseException):
            raise result
        assert result is not None
        return result

    def _run_here(self, first: "_Place[_Item, _Result]") -> None:
        """Run what waits on the event loop and can share a run, for no longer than `HOLD_S`."""
        most = self.batching.max_size
        if self._here_s > 0.0:
            most = min(most, max(1, int(HOLD_S / self._here_s)))
        batch = [first]
        for one in self._here:
            if len(batch) == most:
                break
            if one is not first and one.result is None and one.key == first.key:
                batch.append(one)
        started = time.perf_counter()
        results = self._run([one.item for one in batch])
        took_s = (time.perf_counter() - started) / len(batch)
        self._here_s = took_s if self._here_s == 0.0 else 0.8 * self._here_s + 0.2 * took_s
        for one, result in zip(batch, results, strict=True):
            one.result = result

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            waiting = list(self._tickets)
        for ticket in waiting:
            ticket.future.cancel()

    @property
    def _full(self) -> bool:
        return self.waiting >= self.max_queue + self.threads - self._runs

    def _below(self, priority: int) -> list[_Ticket[_Item, _Result]]:
        """Return what waits with a lower priority."""
        return [one for one in self._tickets if one.priority > priority]

    def _serve(self) -> None:
        """Run the next batch. It is called once for every item, so none is left behind."""
        batch = self._next()
        if not batch:
            return
        started = time.perf_counter()
        results: Sequence[_Result | BaseException]
        try:
            results = self._run([ticket.item for ticket in batch])
        except BaseException as error:
            results = [error] * len(batch)
        self._end(len(batch), time.perf_counter() - started)
        for ticket, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                ticket.future.set_exception(result)
            else:
                ticket.future.set_result(result)

    def _next(self) -> list[_Ticket[_Item, _Result]]:
        """Take a batch off the queue as soon as it may start; empty if nothing waits any more."""
        with self._changed:
            while self._tickets:
                batch = self._alike()
                left_s = batch[0].since + self.batching.max_delay_s - time.perf_counter()
                if self._runs and len(batch) < self.batching.max_size and left_s > 0:
                    self._changed.wait(left_s)
                    continue
                for ticket in batch:
                    self._tickets.remove(ticket)
                batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
                if batch:
                    self._runs += 1
                    return batch
            return []

    def _alike(self) -> list[_Ticket[_Item, _Result]]:
        """Return the ticket whose turn it is, and those that can share its run, by their turns."""
        key = self._tickets[0].key
        alike = (ticket for ticket in self._tickets if ticket.key == key)
        return list(islice(alike, self.batching.max_size))

    def _end(self, size: int, seconds: float) -> None:
        mean_s = seconds / size
        with self._changed:
            self._runs -= 1
            self._mean_s = mean_s if self._mean_s == 0.0 else 0.8 * self._mean_s + 0.2 * mean_s
            self._changed.notify_all()

    def _leave(self, ticket: _Ticket[_Item, _Result], _: "Future[_Result]") -> None:
        with self._changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                self._changed.notify_all()
            self._count(-1)

    def _arrive(self, change: int) -> None:
        with self._changed:
            self._count(change)

    def _count(self, change: int) -> None:
        self._pending += change
        self._on_change(self._pending)


def _turn(ticket: _Ticket[Any, Any]) -> float:
    return ticket.turn


def _last(ticket: _Ticket[Any, Any]) -> tuple[int, float]:
    return ticket.priority, ticket.since
