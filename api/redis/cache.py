"""Answers that were given before, kept in Redis for what takes long to run."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog
from msgspec.structs import replace
from redis.asyncio import Redis

from api.errors import QueueFull
from api.job import Job, Reply
from api.lanes import Lane
from api.metrics import Metrics
from api.packing import Unreadable
from api.redis.answer_codec import pack, unpack
from api.redis.link import Link, RedisFailed
from api.redis.run_times import RunTimes
from backends.fuse import FusedAnswer

log = structlog.get_logger("snn_fusion.redis")

PREFIX = b"snn-fusion:answer:"
READ_S = 0.005
"""So long a request waits for Redis; then it is run."""
WRITE_S = 0.5
MAX_ENTRY_BYTES = 2**20
MAX_PACKING = 32
"""Answers that wait to be packed; one more is not kept."""

Outcome = Literal["hit", "miss", "bypass", "error"]
STATUS: dict[Outcome, str] = {
    "hit": "snn-fusion; hit",
    "miss": "snn-fusion; fwd=miss",
    "bypass": "snn-fusion; fwd=bypass",
    "error": "snn-fusion; fwd=miss; detail=unavailable",
}
"""Outcome → what the reply says of it in `Cache-Status` (RFC 9211)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache has for a job: the packed answer, None where it has none."""

    outcome: Outcome
    content: bytes | None = None


class AnswerCache:
    """Keeps the answers of models that take long on their target.

    What is kept is the answer, not its reply: whatever protocol it was asked by, and whoever asks
    next by another one, get it with their own id, seed and times.

    Args:
        link: the connection to Redis.
        ttl_s: seconds that an answer is kept.
        times: says which models take long.
        metrics: where outcomes are counted.
    """

    def __init__(self, link: Link, ttl_s: float, times: RunTimes, metrics: Metrics) -> None:
        self._link = link
        self._ttl_ms = max(1, round(1000 * ttl_s))
        self._times = times
        self._metrics = metrics
        self._packing = Lane("cache", 1, MAX_PACKING)
        self._loop: asyncio.AbstractEventLoop | None = None

    def concerns(self, job: Job) -> bool:
        """Return whether a job takes so long that its answer may be kept."""
        return self._times.long(job.shelved.model.digest, job.target.name)

    def usable(self, job: Job) -> bool:
        """Return whether the answer to a job may be taken from the cache, or put there.

        It may not if the target gives other bits another time, which a seed does not change, nor
        if the model is quantised on the way, which the reply tells of.
        """
        return job.target.capabilities.deterministic and not job.quantise and self._link.up

    async def find(self, key: bytes) -> Found:
        """Return what is kept under a name, within `READ_S`."""
        self._loop = asyncio.get_running_loop()
        try:
            content = await self._link.ask(partial(_get, key), READ_S)
        except RedisFailed:
            return Found("error")
        return Found("miss" if content is None else "hit", content)

    def reply(self, job: Job, content: bytes, request_id: str) -> Reply | None:
        """Return the reply that holds a kept answer, in a thread; None if it cannot be read.

        Its times are those of this request: nothing waited and nothing ran.
        """
        try:
            answer = unpack(content)
        except Unreadable as error:
            log.warning("a cached answer is unreadable", error=str(error))
            return None
        return job.encode(job, replace(answer, run_s=0.0), request_id, 0.0)

    def keeping(self, job: Job, key: bytes) -> Job:
        """Return a job whose answer will be kept under a name, once its reply is made."""

        def encode(job: Job, answer: FusedAnswer, request_id: str, queue_s: float) -> Reply:
            reply = before(job, answer, request_id, queue_s)
            self._offer(key, answer)
            return reply

        before = job.encode
        return replace(job, encode=encode)

    def count(self, job: Job, outcome: Outcome) -> None:
        """Count what came of asking for a job's answer."""
        self._metrics.cache.labels(job.shelved.model.name, job.target.name, outcome).inc()

    def close(self) -> None:
        """Drop what waits to be kept."""
        self._packing.close()

    def _offer(self, key: bytes, answer: FusedAnswer) -> None:
        try:
            self._packing.start(partial(self._keep, key, answer))
        except (QueueFull, RuntimeError):  # busy, or the service is closing
            return

    def _keep(self, key: bytes, answer: FusedAnswer) -> None:
        content = pack(answer)
        if content is None or len(content) > MAX_ENTRY_BYTES or self._loop is None:
            return
        call = partial(_set, key, content, self._ttl_ms)
        self._loop.call_soon_threadsafe(self._link.later, call, WRITE_S)


async def _get(key: bytes, client: "Redis") -> bytes | None:
    content = await client.get(PREFIX + key)
    assert content is None or isinstance(content, bytes)
    return content


async def _set(key: bytes, content: bytes, ttl_ms: int, client: "Redis") -> None:
    await client.set(PREFIX + key, content, px=ttl_ms)
