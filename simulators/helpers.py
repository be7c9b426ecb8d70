"""Threads that take a share of a run, as long as this process has cores that nothing else uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock


class Helpers:
    """Shares out samples among threads; safe to use from several threads at once.

    A run takes the core of its caller, and further ones only if they are allowed to this process
    and no other run has them. What other processes do is not known here.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._busy = 0
        self._pool: ThreadPoolExecutor | None = None

    def share(self, samples: int, most: int, work: Callable[[int, int, int], None]) -> None:
        """Call `work(first, last, number)` for ranges that together are all samples, at once.

        Args:
            samples: how many there are.
            most: threads to use at most, the caller's included.
            work: a range of samples, and the number of the range; it should hold Python's lock for
                little of its time.

        Raises:
            Exception: what a call has raised, when all have ended.
        """
        threads = self._take(min(most, samples))
        try:
            if threads == 1:
                work(0, samples, 0)
            else:
                self._share(samples, threads, work)
        finally:
            with self._lock:
                self._busy -= threads

    def _take(self, most: int) -> int:
        """Take cores, one in any case; return how many."""
        allowed = _cores() if most > 1 else 1
        with self._lock:
            threads = max(1, min(most, allowed - self._busy))
            self._busy += threads
        return threads

    def _share(self, samples: int, threads: int, work: Callable[[int, int, int], None]) -> None:
        edges = [samples * n // threads for n in range(threads + 1)]
        ranges = [(*edge, number) for number, edge in enumerate(pairwise(edges))]
        others = [self._others().submit(work, *one) for one in ranges[1:]]
        try:
            work(*ranges[0])
        finally:
            errors = [other.exception() for other in others]
        for error in filter(None, errors):
            raise error

    def _others(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(thread_name_prefix="samples")
            return self._pool


def _cores() -> int:
    """Return the cores that this process may use; macOS knows only those of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


_helpers = Helpers()


def helpers() -> Helpers:
    """Return the helpers of this process."""
    return _helpers


def _begin_anew() -> None:
    """Forget threads that a fork has left behind."""
    global _helpers  # noqa: PLW0603 (threads are a property of the process)
    _helpers = Helpers()


os.register_at_fork(after_in_child=_begin_anew)
