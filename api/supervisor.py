"""The parent of the workers: brings back those that die or hang, and replaces them one by one.

It serves nothing itself and stays small. Its workers share the listening socket, so what waits
there to be accepted is not lost with any of them.
"""

import errno
import logging
import math
import multiprocessing
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any

from api.logs import configure_logging
from api.metrics_files import make_room, retire
from api.settings import Settings

START_S = 600.0
"""A worker has so long until its event loop turns."""
LONGEST_PAUSE_S = 30.0
"""Workers that keep dying before they are ready are started again after pauses up to this."""
MARGIN_S = 10.0
"""So long after the limits of its own a worker that was told to end is killed."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = logging.getLogger("snn_fusion.supervisor")


class Worker:
    """A worker process, as its supervisor knows it.

    Args:
        settings: the deployment's settings.
        listener: the socket that it listens on.
        patient: as `api.worker.work` takes it.
    """

    def __init__(self, settings: Settings, listener: socket.socket, patient: bool) -> None:
        self.ready = self.failed = self.mute = self.leaving = False
        self.due_s = time.monotonic() + START_S
        """When it has to have told something, or to have ended."""
        self._hang_s = settings.hang_s
        self._end_s = settings.drain_s + 2 * settings.shutdown_s + MARGIN_S
        self.link, theirs = socket.socketpair()
        self.link.setblocking(False)
        self.process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(settings, listener, theirs, patient)
        )
        with theirs:
            try:
                self.process.start()
            except OSError:
                self.link.close()
                raise
        assert self.process.pid is not None
        self.pid = self.process.pid

    def hear(self) -> None:
        """Take what the worker told: that its loop turns, that it is ready, that it cannot be."""
        try:
            told = self.link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        self.mute = not told
        self.ready = self.ready or b"r" in told
        self.failed = self.failed or b"f" in told
        if told and not self.leaving:
            self.due_s = time.monotonic() + self._hang_s

    def tell(self, number: signal.Signals) -> None:
        """Tell it to drain (SIGTERM) or to end as soon as what runs is done (SIGQUIT)."""
        if not self.leaving:
            self.leaving = True
            self.due_s = time.monotonic() + self._end_s
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.due_s = math.inf
        self.process.kill()

    def forget(self) -> int:
        """Let go of the process, which has ended, and return its exit code."""
        self.process.join()
        self.link.close()
        retire(self.pid)
        return self.process.exitcode or 0


def _work(settings: Settings, listener: socket.socket, link: socket.socket, patient: bool) -> None:
    """Run a worker, in its own process."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to every process
        signal.signal(number, signal.SIG_IGN)
    configure_logging(settings)
    make_room()
    # Imported here: the supervisor does without it.
    from api.worker import work  # noqa: PLC0415

    work(settings, listener, link, patient)


class Supervisor:
    """Keeps workers serving until it is told to end.

    SIGTERM drains all workers and ends; a second one waits for running requests alone. SIGINT does
    that at once, and a second one kills. SIGHUP replaces every worker by a fresh process: the new
    one is ready before the old one is told to leave, and the next follows when that has ended.

    Args:
        settings: the deployment's settings.
        listener: the socket that workers listen on; it is closed here at the end.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._signals: deque[int] = deque()
        self._serving: list[Worker] = []
        self._leaving: list[Worker] = []
        self._successor: Worker | None = None
        self._to_replace: list[Worker] = []
        self._missing = 0
        self._pause_s = self._not_before_s = 0.0
        self._settled = self._ending = False
        self._exit_code = 0

    def run(self) -> int:
        """Return when all workers have ended: 0, or the exit code of one that could not start."""
        with self._signalled() as woken:
            for _ in range(self._settings.workers):
                self._serving.append(self._start(patient=False))
            while self._all() or self._missing:
                self._wait(woken)
                self._obey()
                self._look()
                self._revive()
                self._roll()
        return self._exit_code

    def _all(self) -> list[Worker]:
        successor = [] if self._successor is None else [self._successor]
        return [*self._serving, *self._leaving, *successor]

    def _start(self, patient: bool) -> Worker:
        worker = Worker(self._settings, self._listener, patient)
        log.info("worker %d started", worker.pid)
        return worker

    def _try_to_start(self) -> Worker | None:
        """Return a worker that accepts once it is ready; None if the machine has no room for it."""
        try:
            return self._start(patient=True)
        except OSError as error:
            log.error("a worker cannot be started: %s", error)
            return None

    @contextmanager
    def _signalled(self) -> Iterator[socket.socket]:
        """Note signals and wake `_wait`; gives the socket that is readable then."""
        woken, wakes = socket.socketpair()
        with woken, wakes:
            woken.setblocking(False)
            wakes.setblocking(False)
            before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
            handlers: dict[int, Any] = {
                number: signal.signal(number, lambda number, _: self._signals.append(number))
                for number in SIGNALS
            }
            try:
                yield woken
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(before)

    def _wait(self, woken: socket.socket) -> None:
        """Return when something happened, or something is due."""
        workers = self._all()
        due_s = min((one.due_s for one in workers), default=math.inf)
        if self._missing:
            due_s = min(due_s, self._not_before_s)
        left_s = None if math.isinf(due_s) else max(0.0, due_s - time.monotonic())
        links = [one.link for one in workers if not one.mute]
        wait([woken, *links, *(one.process.sentinel for one in workers)], left_s)
        with suppress(BlockingIOError):
            woken.recv(4096)

    def _obey(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            if number == signal.SIGHUP and not _terminal_is_gone():
                if not self._ending:
                    log.info("restarting workers one by one")
                    self._to_replace = list(self._serving)
            elif number == signal.SIGINT and self._ending:
                self._each(Worker.kill)
            else:
                patient = number != signal.SIGINT and not self._ending
                self._end(signal.SIGTERM if patient else signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        log.info("stopping" if number == signal.SIGTERM else "stopping at once")
        self._ending = True
        self._missing = 0
        self._to_replace = []
        self._listener.close()  # nothing shall wait there that nobody will accept
        self._each(lambda worker: worker.tell(number))

    def _each(self, do: Callable[[Worker], None]) -> None:
        for worker in self._all():
            do(worker)

    def _look(self) -> None:
        """Hear workers, bury those that ended, kill those that hang."""
        now = time.monotonic()
        for worker in self._all():
            worker.hear()
            if worker.ready and not self._settled:
                self._settled = True
            if worker.process.exitcode is not None:
                self._bury(worker)
            elif now >= worker.due_s:
                log.error("worker %d hangs and is killed", worker.pid)
                worker.kill()

    def _bury(self, worker: Worker) -> None:
        code = worker.forget()
        if worker in self._leaving or self._ending:
            log.info("worker %d ended", worker.pid)
        else:
            log.error("worker %d died with exit code %s", worker.pid, code)
        if worker is self._successor:
            self._successor = None
            self._give_up()
        elif worker in self._leaving:
            self._leaving.remove(worker)
        else:
            self._serving.remove(worker)
            self._mourn(worker, code)

    def _mourn(self, worker: Worker, code: int) -> None:
        """Arrange for a successor of a worker that died while it should have served."""
        self._to_replace = [one for one in self._to_replace if one is not worker]
        if self._ending:
            return
        if not self._settled:
            log.error("no worker could start")
            self._exit_code = code if code > 0 else 1
            self._end(signal.SIGQUIT)
            return
        self._pause_s = 0.0 if worker.ready else longer(self._pause_s)
        self._not_before_s = time.monotonic() + self._pause_s
        self._missing += 1

    def _revive(self) -> None:
        while self._missing and time.monotonic() >= self._not_before_s:
            worker = self._try_to_start()
            if worker is None:
                self._not_before_s = time.monotonic() + LONGEST_PAUSE_S
                return
            self._missing -= 1
            self._serving.append(worker)

    def _roll(self) -> None:
        """Take the next step of replacing workers, if it can be taken."""
        successor = self._successor
        if successor is None:
            if self._to_replace and not self._leaving:
                self._successor = self._try_to_start()
                if self._successor is None:
                    self._give_up()
        elif successor.failed:
            successor.kill()
        elif successor.ready:
            self._successor = None
            self._serving.append(successor)
            if self._to_replace:
                self._send_off(self._to_replace.pop(0))
            elif self._missing:  # whom it should replace has died meanwhile
                self._missing -= 1
            elif len(self._serving) > self._settings.workers and not self._ending:
                self._send_off(self._serving[0])

    def _send_off(self, worker: Worker) -> None:
        self._serving.remove(worker)
        self._leaving.append(worker)
        worker.tell(signal.SIGTERM)
        if not self._to_replace:
            log.info("restart: the last worker is told to leave")

    def _give_up(self) -> None:
        if not self._ending:
            log.error("the restart is given up: a new worker could not start")
        self._to_replace = []


def longer(pause_s: float) -> float:
    """Return the pause before a worker is started again whose predecessor was never ready either.

    Args:
        pause_s: the pause before that one was started, 0 for none.
    """
    return min(LONGEST_PAUSE_S, 2 * pause_s + 1)


def _terminal_is_gone() -> bool:
    """Whether the signal came because the terminal that this runs in was closed."""
    try:
        os.tcgetpgrp(0)
    except OSError as error:
        return error.errno == errno.EIO
    return False
