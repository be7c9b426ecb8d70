"""What a day's counts of keys are shared by: the counters behind Redis."""

import asyncio
from contextlib import suppress

from api.access.meter import DAY_S
from api.redis.counters import Counters


class DayCounts:
    """Counts of this day (UTC), which processes tell each other through Redis.

    Args:
        counters: the process's counters.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Take the event loop on which the counters are kept; called on it."""
        self._loop = asyncio.get_running_loop()

    def add(self, name: str, amount: int) -> None:
        """Count more under a name; on the event loop."""
        self._counters.add(name, amount, DAY_S)

    def add_behind(self, name: str, amount: int) -> None:
        """Count more under a name, a moment later; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and with it the service
                self._loop.call_soon_threadsafe(self.add, name, amount)

    def others(self, name: str) -> int:
        """Return what others have counted, as far as is known here; on the event loop."""
        return self._counters.read_others(name, DAY_S)
