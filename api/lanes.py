"""Bounded thread pools: CPU work leaves the event loop, and one more than fits is refused."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Any, TypeVar

from starlette.requests import Request

from api.errors import ClientGone, QueueFull
from backends.errors import RunTimeout

_T = TypeVar("_T")


class Lane:
    """Runs work in threads, as much at once as there are threads, with a bounded queue.

    Args:
        name: the target it serves.
        threads: how much runs at the same time.
        max_queue: how much may wait; more is refused at once.
        on_change: is told the number that waits and runs whenever it changes.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        max_queue: int,
        on_change: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self.threads = threads
        self.max_queue = max_queue
        self._on_change = on_change
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = Lock()
        self._pending = 0
        self._mean_s = 0.0

    @property
    def running(self) -> int:
        """How many run."""
        return min(self._pending, self.threads)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return max(0, self._pending - self.threads)

    @property
    def wait_s(self) -> float:
        """Estimate of the seconds that a request would wait now."""
        return self._mean_s * max(0, self._pending - self.threads + 1) / self.threads

    def submit(self, work: Callable[[], _T]) -> "asyncio.Future[_T]":
        """Run `work` in a thread, for a caller on the event loop; else as `start`."""
        return asyncio.wrap_future(self.start(work))

    def start(self, work: Callable[[], _T]) -> Future[_T]:
        """Run `work` in a thread, with the caller's context variables.

        Cancelling the future takes waiting work off the queue; running work runs on to its end.

        Raises:
            QueueFull: if as many wait as may.
            RuntimeError: if the lane is closed.
        """
        with self._lock:
            if self._pending >= self.threads + self.max_queue:
                raise QueueFull(self.name, self.waiting, self.wait_s)
            self._pending += 1
            self._tell()
        future = self._pool.submit(copy_context().run, self._timed, work)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            took = time.perf_counter() - started
            self._mean_s = took if self._mean_s == 0.0 else 0.8 * self._mean_s + 0.2 * took

    def _done(self, _: Future[_T]) -> None:
        with self._lock:
            self._pending -= 1
            self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self._pending)


async def outcome(
    work: "asyncio.Future[_T]", request: Request, lane: str, end: float, deadline_s: float
) -> _T:
    """Return the work's result, unless the caller leaves or the deadline passes before.

    Args:
        work: what a lane gave back.
        request: the caller's request, its body read.
        lane: name for the error.
        end: the deadline on the clock of `time.perf_counter`.
        deadline_s: the deadline as the caller knows it, for the error.

    Raises:
        ClientGone: if the connection closed.
        RunTimeout: if the deadline passed.
    """
    gone = asyncio.ensure_future(_disconnected(request))
    left_s = max(0.0, end - time.perf_counter())
    try:
        both: tuple[asyncio.Future[Any], ...] = (work, gone)
        timeout = None if math.isinf(left_s) else left_s
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if gone.done():
            raise ClientGone("the caller closed the connection")
        raise RunTimeout(lane, deadline_s)
    finally:
        gone.cancel()
        work.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
