"""What one worker process has of Redis."""

import asyncio
from contextlib import suppress

from api.metrics import Metrics
from api.redis.cache import AnswerCache
from api.redis.counters import Counters
from api.redis.link import Link
from api.redis.run_times import RunTimes
from api.settings import PREFIX, Settings

NONE = f"none: {PREFIX}REDIS_URL is not set, and no server of the service's own runs"


class Shared:
    """The connection to Redis, and what lies behind it.

    Args:
        settings: the deployment's settings.
        metrics: where calls that fail are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.link = _link(settings, metrics)
        self.counters = Counters(self.link)
        self.times = None
        self.cache = None
        if self.link is not None and settings.cache_ttl_s > 0:
            self.times = RunTimes(settings.cache_min_run_ms / 1000)
            self.cache = AnswerCache(self.link, settings.cache_ttl_s, self.times, metrics)
        self._keeping: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why Redis is not used, None if it is."""
        return NONE if self.link is None else self.link.problem

    async def open(self) -> None:
        """Start to connect, and to write counts; nobody waits for either."""
        if self.link is not None:
            await self.link.open()
        self._keeping = asyncio.create_task(self.counters.keep())

    async def close(self) -> None:
        """Write the last counts if Redis is up, and disconnect."""
        if self.cache is not None:
            self.cache.close()
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        await self.counters.flush()
        if self.link is not None:
            await self.link.close()


def _link(settings: Settings, metrics: Metrics) -> Link | None:
    if settings.redis_url is None:
        metrics.redis_up.set(0)
        return None
    return Link(settings.redis_url.get_secret_value(), settings.redis_ca_file, metrics)
