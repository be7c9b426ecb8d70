"""Which requests take so little that a thread of their own costs more (docs/adr/0025)."""

from collections import OrderedDict
from collections.abc import Hashable

from api.job import Job

SHORT_S = 2e-3
"""Processor seconds within which an answer is short."""

SHORT_BYTES = 2**17
"""Recordings up to which it can be."""

REMEMBERED = 32
"""Answers of a kind that are remembered."""

BLIPS = 3
"""So many of them may have been long, as a machine's hiccups make them."""

KINDS = 256
"""Kinds that are remembered; the one that was met first makes room."""

_ALL = (1 << REMEMBERED) - 1


class Pace:
    """Whether the last answers of every kind of job were short.

    Counted is processor time, from recordings to reply, which no other process lengthens. Written
    by the threads that run jobs, read by the event loop.
    """

    def __init__(self) -> None:
        self._long: OrderedDict[Hashable, int] = OrderedDict()  # a bit an answer, 1 if it was long

    def note(self, job: Job, seconds: float) -> None:
        """Remember what a job took."""
        kind = job.kind
        before = self._long.get(kind)
        if before is None:
            before = _ALL
            if len(self._long) >= KINDS:
                self._long.popitem(last=False)
        self._long[kind] = (before << 1 | (seconds > SHORT_S)) & _ALL

    def is_short(self, job: Job) -> bool:
        """Return whether a job will be short: small, and of a kind that always is."""
        return job.size <= SHORT_BYTES and self._long.get(job.kind, _ALL).bit_count() <= BLIPS
