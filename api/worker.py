"""A process that serves: uvicorn's server, begun and ended by its supervisor."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import typer
import uvicorn

from api.app import create_app
from api.connection import Connection, ConnectionLimits, Connections
from api.plain_errors import plain_errors
from api.service import Service
from api.settings import Settings

ALIVE, READY, FAILED = b".", b"r", b"f"
"""What a worker tells its supervisor: every second that its event loop turns, and how that went
that had to be done before it is ready."""
LOOK_S = 0.25
GC_THRESHOLDS = 10_000, 20, 20
"""Objects, and passes over younger ones, between two passes of the garbage collector."""
SPARE_FILES = 128
"""Descriptors that connections leave to files, child processes and libraries."""


def work(settings: Settings, listener: socket.socket, link: socket.socket, patient: bool) -> None:
    """Serve until SIGTERM, or until the supervisor is gone.

    SIGTERM ends readiness; `drain_s` later the listening ends, connections may be idle for
    `linger_s`, and what runs finishes within `shutdown_s`. SIGQUIT, or a second SIGTERM, waits for
    what runs alone.

    Args:
        settings: the deployment's settings.
        listener: the socket that all workers listen on.
        link: the connection to the supervisor.
        patient: whether to accept connections only when models are compiled, as it should be while
            others serve; else at once, so that probes are answered.
    """
    try:
        with plain_errors():
            app = create_app(settings, warm_first=patient)
    except typer.Exit as told:
        sys.exit(told.exit_code)
    Server(make_config(settings, app), app.state.service, link).run([listener])
    os._exit(0)  # all is closed; a thread that hangs or still compiles is not waited for


def make_config(settings: Settings, app: object) -> uvicorn.Config:
    """Return uvicorn's configuration; logging is ours, the access log the middleware's."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=Connection,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_s,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits of connections, of which there may be as many as descriptors allow."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ConnectionLimits(
        connections=max(1, min(settings.max_connections, files - SPARE_FILES)),
        head_s=settings.head_s,
        transfer_s=settings.transfer_s,
        keep_alive_s=settings.keep_alive_s,
        linger_s=settings.linger_s,
    )


class Server(uvicorn.Server):
    """uvicorn's server with our connections, signals, and supervisor.

    Args:
        config: of `make_config`.
        service: the application's service.
        link: the connection to the supervisor.
    """

    def __init__(self, config: uvicorn.Config, service: Service, link: socket.socket) -> None:
        super().__init__(config)
        self._settings = service.settings
        self._health = service.health
        self._link = link
        self._connections = Connections(connection_limits(service.settings), service.metrics.cut)
        self.server_state = self._connections
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; look after connections, and tell the supervisor, from now on."""
        self._link.setblocking(False)
        asyncio.get_running_loop().add_reader(self._link, self._orphaned)
        self._tasks = {asyncio.create_task(one) for one in (self._look(), self._report())}
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let connections end, and close the application."""
        self._connections.draining = self._connections.lingering = True
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have signals begin the end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        loop.add_signal_handler(signal.SIGQUIT, self.stop)
        yield

    def drain(self) -> None:
        """End readiness and ask clients to go on elsewhere; stop listening `drain_s` later."""
        if self._health.draining:
            self.stop()
            return
        self._health.drain()
        self._connections.draining = True
        asyncio.get_running_loop().call_later(self._settings.drain_s, self._leave)

    def stop(self) -> None:
        """Stop listening now, and wait for what runs, but for no idle connection."""
        self._health.drain()
        self._connections.limits = replace(self._connections.limits, linger_s=0.0)
        if self._connections.lingering:
            for connection in list(self._connections.connections):
                connection.shutdown()
        self._leave()

    def _leave(self) -> None:
        self.should_exit = True

    def _orphaned(self) -> None:
        """End when the supervisor has closed its end of the link, which it never writes to."""
        asyncio.get_running_loop().remove_reader(self._link)
        self.stop()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self._connections.look(loop.time())

    async def _report(self) -> None:
        told = False
        while True:
            if not told and (self._health.failure or (self.started and self._health.started)):
                self.settle()
                told = self._tell(FAILED if self._health.failure else READY)
            self._tell(ALIVE)
            await asyncio.sleep(1.0 if told else 0.05)

    def settle(self) -> None:
        """Have the garbage collector pass over all that is loaded by now, and look less often.

        Libraries and models are a million objects, which it walked through for a twentieth of a
        second, with everybody waiting.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    def _tell(self, what: bytes) -> bool:
        with suppress(OSError):  # a supervisor that does not read will do so, or is gone
            self._link.send(what)
            return True
        return False
