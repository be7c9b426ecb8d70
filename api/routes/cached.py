"""Jobs that take long are answered from the cache, if it has their answer."""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace
from starlette.requests import Request

from api.job import Job, Reply
from api.lanes import outcome
from api.notes import notes_of
from api.redis.answer_key import answer_key
from api.redis.cache import STATUS, AnswerCache, Found, Outcome
from api.service import Service

Run = Callable[[Service, Request, Job], Awaitable[Reply]]


async def cached_answer(
    request: Request, service: Service, cache: AnswerCache, job: Job, run: Run
) -> Reply:
    """Return the kept answer to a job, else run it and have its answer kept.

    The reply says which in its header `Cache-Status`. What goes wrong with the cache only has the
    job run.

    Args:
        request: the caller's request; `Cache-Control: no-cache` or `no-store` has the job run.
        service: what all requests share.
        cache: where answers are kept.
        job: a job that the cache concerns.
        run: runs a job.
    """
    if not cache.usable(job) or _unwanted(request):
        return _told(cache, job, "bypass", await run(service, request, job))
    place = job.target.name, job.end, job.deadline_s
    naming = service.intake.submit(partial(answer_key, job), job.priority)
    key = await outcome(naming, request, *place)
    found = await cache.find(key)
    if found.content is not None:
        make = partial(cache.reply, job, found.content, notes_of(request).request_id)
        reply = await outcome(service.intake.submit(make, job.priority), request, *place)
        if reply is not None:
            return _told(cache, job, "hit", reply)
        found = Found("error")
    return _told(cache, job, found.outcome, await run(service, request, cache.keeping(job, key)))


def _unwanted(request: Request) -> bool:
    asked = request.headers.get("cache-control", "").lower()
    return "no-cache" in asked or "no-store" in asked


def _told(cache: AnswerCache, job: Job, what: Outcome, reply: Reply) -> Reply:
    cache.count(job, what)
    return replace(reply, headers={**reply.headers, "Cache-Status": STATUS[what]})
