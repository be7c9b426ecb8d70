"""The connection of one worker process to Redis: it may be slow, refuse or die, nobody waits."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import redis.exceptions as failures
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.metrics import Metrics

log = structlog.get_logger("snn_fusion.redis")
_T = TypeVar("_T")

CONNECTIONS = 4
"""Connections of one process; each is asked now and then, so that it is open when needed."""
HEARTBEAT_S = 1.0
ANSWER_S = 1.0
"""So long a heartbeat and a new connection may take."""
LATE_IN_A_ROW = 3
"""So many late answers in a row cut the connection: one alone may be this process' own doing."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
STEADY_S = 5.0
MAX_COMPLAINTS = 16
MAX_LATER = 64
"""Calls under way that nobody waits for; one more is dropped."""

Call = Callable[["Redis"], Awaitable[_T]]


class RedisFailed(Exception):
    """Redis did not do what it was asked for; the message says why."""


class _Abrupt(AbstractConnection):
    """A connection that ends without a word, for TLS would wait for the answer to its own.

    What is still under way then has been given up, so that nothing is lost.
    """

    async def disconnect(self, *args: Any, **options: Any) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(*args, **options)


class Link:
    """A pool of connections behind a circuit breaker.

    While Redis is not `up`, a call fails at once and without touching it. A task of the link asks
    Redis for life every second, and ever less often, down to every two seconds, while it is down.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        ca_file: certificates that sign the server's, for `rediss://`; by default the system's.
        metrics: where failures are counted.
    """

    def __init__(self, url: str, ca_file: Path | None, metrics: Metrics) -> None:
        self._url = url
        self._ca_file = ca_file
        self._metrics = metrics
        self._problem: str | None = "not connected yet"
        self._late = 0
        self._complaints: set[str] = set()
        self._client: Redis | None = None
        self._tripped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.redis_up.set(0)

    @property
    def up(self) -> bool:
        """Whether Redis answers."""
        return self._problem is None

    @property
    def problem(self) -> str | None:
        """Why Redis is not used, None if it is."""
        return self._problem

    async def open(self) -> None:
        """Start to connect, on the event loop that will use it."""
        options: dict[str, Any] = {}
        if self._url.startswith("rediss:") and self._ca_file is not None:
            options = {"ssl_ca_certs": str(self._ca_file)}
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            timeout=None,  # whoever asks brings a limit
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
            protocol=2,
            **options,
        )
        pool.connection_class = type("Connection", (_Abrupt, pool.connection_class), {})
        self._client = Redis.from_pool(pool)
        self._spawn(self._keep_up())

    async def close(self) -> None:
        """Drop what is under way, and disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._problem = "closed"
        if self._client is not None:
            await self._client.aclose()

    async def ask(self, call: Call[_T], within_s: float) -> _T:
        """Return what a call gives.

        Args:
            call: makes the call, of the client that it is given.
            within_s: seconds after which it is given up.

        Raises:
            RedisFailed: at once if Redis is down, and if the call failed or was late.
        """
        if self._problem is not None or self._client is None:
            raise RedisFailed(self._problem or "not connected yet")
        try:
            async with asyncio.timeout(within_s):
                result = await call(self._client)
        except (failures.RedisError, OSError) as error:
            raise self._failed(error) from None
        self._late = 0
        return result

    def later(self, call: Call[Any], within_s: float) -> bool:
        """Make a call that nobody waits for; return whether there was room for it."""
        if self._problem is not None or len(self._tasks) > MAX_LATER:
            return False
        self._spawn(self._try(call, within_s))
        return True

    async def _try(self, call: Call[Any], within_s: float) -> None:
        with suppress(RedisFailed):  # it is counted
            await self.ask(call, within_s)

    def _failed(self, error: Exception) -> RedisFailed:
        """Count a failure, and cut the connection unless it seems to be well."""
        kind, told = _kind_of(error), _told(error)
        self._late += kind == "late"
        if isinstance(error, failures.ResponseError):
            self._complain(kind, told)
        elif kind == "late" and self._late < LATE_IN_A_ROW:
            self._metrics.redis_errors.labels(kind).inc()
        else:
            self._trip(kind, told)
        return RedisFailed(told)

    def _complain(self, kind: str, told: str) -> None:
        """Count that Redis did not do what it was asked, and log the first time."""
        self._metrics.redis_errors.labels(kind).inc()
        if told not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(told)
            log.warning("Redis does not do what it is asked", reason=told)

    def _trip(self, kind: str, told: str) -> None:
        self._metrics.redis_errors.labels(kind).inc()
        if self._problem != told:
            log.warning("Redis is not used", reason=told)
        self._problem = told
        self._metrics.redis_up.set(0)
        self._tripped.set()

    async def _keep_up(self) -> None:
        """Find out again and again whether Redis answers."""
        pause_s, since = FIRST_PAUSE_S, time.monotonic()
        while True:
            if not self.up and await self._answers():
                self._problem, self._late, since = None, 0, time.monotonic()
                self._complaints.clear()
                self._metrics.redis_up.set(1)
                log.info("Redis is used")
            if self.up:
                self._tripped.clear()
                await self._until_down()
                if time.monotonic() - since > STEADY_S:
                    pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _until_down(self) -> None:
        while self.up:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tripped.wait(), HEARTBEAT_S)
            if self.up:
                await self._answers()

    async def _answers(self) -> bool:
        """Ask over every connection; note why if one gets no answer."""
        assert self._client is not None
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(*(self._client.ping() for _ in range(CONNECTIONS)))
        except failures.ResponseError as error:  # a full disk is no matter to who reads
            self._complain(_kind_of(error), _told(error))
        except Exception as error:  # whatever it is, the link lives on and tries again
            self._trip(_kind_of(error), _told(error))
            return False
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _kind_of(error: Exception) -> str:
    refused = failures.AuthenticationError | failures.NoPermissionError
    if isinstance(error, refused) or isinstance(error.__cause__ or error.__context__, refused):
        return "refused"
    if isinstance(error, TimeoutError | failures.TimeoutError):
        return "late"
    return "response" if isinstance(error, failures.ResponseError) else "connection"


def _told(error: Exception) -> str:
    if _kind_of(error) == "late":
        return "answers too late"
    return str(error).partition("\n")[0] or type(error).__name__
