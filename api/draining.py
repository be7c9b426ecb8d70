"""Readiness ends when the process is told to stop, some time before it stops accepting."""

import asyncio
import signal
import threading
from types import FrameType

from api.health import Health


def drain_on_signal(health: Health, drain_s: float) -> None:
    """On SIGTERM or SIGINT end readiness, and `drain_s` later do what would be done at once.

    Called on the event loop, after the server has installed its own handlers. A second signal is
    handed on at once. Without a server's handlers, or outside the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        servers = signal.getsignal(sig)
        if not callable(servers) or servers is signal.default_int_handler:
            continue

        def handle(number: int, frame: FrameType | None, stop: object = servers) -> None:
            assert callable(stop)
            first = not health.draining
            health.drain()
            if first and drain_s > 0:
                loop.call_soon_threadsafe(loop.call_later, drain_s, stop, number, frame)
            else:
                stop(number, frame)

        signal.signal(sig, handle)
