"""CPU work leaves the event loop, and who waits for it may leave or run out of time."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from api.batching import NORMAL, Batching, BatchLane
from api.errors import ClientGone
from backends.errors import RunTimeout

_T = TypeVar("_T")

SOON_S = 0.01
"""So long nobody looks whether the caller has left: most answers are there before."""


class Lane(BatchLane[Callable[[], Any], Any]):
    """Runs work in threads, as much at once as there are threads, with a bounded queue.

    Args:
        name: what it is for.
        threads: how much runs at the same time.
        max_queue: how much may wait; more is refused at once.
    """

    def __init__(self, name: str, threads: int, max_queue: int) -> None:
        super().__init__(name, threads, max_queue, _run_one, Batching())

    def submit(self, work: Callable[[], _T], priority: int = NORMAL) -> "asyncio.Future[_T]":
        """Run `work` in a thread, for a caller on the event loop; else as `start`."""
        return asyncio.wrap_future(self.start(work, priority))

    def start(self, work: Callable[[], _T], priority: int = NORMAL) -> Future[_T]:
        """Run `work` in a thread, with the caller's context variables.

        Cancelling the future takes waiting work off the queue; running work runs on to its end.

        Raises:
            QueueFull: as of `BatchLane.enter`.
            RuntimeError: if the lane is closed.
        """
        return self.enter(None, partial(copy_context().run, work), priority)


def _run_one(work: Sequence[Callable[[], Any]]) -> list[Any]:
    return [one() for one in work]


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
    try:
        await asyncio.wait((work,), timeout=min(SOON_S, _left_s(end)))
        if not work.done():
            await _done_or_gone(work, request, end)
        if not work.done():
            raise RunTimeout(lane, deadline_s)
        return work.result()
    finally:
        work.cancel()


async def _done_or_gone(work: "asyncio.Future[Any]", request: Request, end: float) -> None:
    """Wait for the work until the deadline; raise `ClientGone` if the caller leaves before."""
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        both: tuple[asyncio.Future[Any], ...] = (work, gone)
        timeout = None if math.isinf(end) else _left_s(end)
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not work.done():
            raise ClientGone("the caller closed the connection")
    finally:
        gone.cancel()


def _left_s(end: float) -> float:
    return max(0.0, end - time.perf_counter())


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
