"""What runs take: the median of the last few, by model and target."""

from collections import deque
from statistics import median
from threading import Lock

KEPT = 31
EVERY = 8
"""Once there are so many, the median is reckoned with every so many runs only."""
MAX_PLACES = 1024


class RunTimes:
    """Knows which models take long on which targets; safe to call from several threads.

    Args:
        least_s: from this median on a model takes long.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._lock = Lock()
        self._runs: dict[tuple[str, str], deque[float]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._long: frozenset[tuple[str, str]] = frozenset()

    def long(self, digest: str, target: str) -> bool:
        """Return whether a model takes long on a target; False before its first run."""
        return (digest, target) in self._long

    def observe(self, digest: str, target: str, run_s: float) -> None:
        """Take note of the seconds of one run."""
        place = digest, target
        with self._lock:
            if place not in self._runs and len(self._runs) >= MAX_PLACES:
                self._drop(next(iter(self._runs)))
            runs = self._runs.setdefault(place, deque(maxlen=KEPT))
            runs.append(run_s)
            self._seen[place] = seen = self._seen.get(place, 0) + 1
            if seen > EVERY and seen % EVERY:
                return
            long = median(runs) >= self._least_s
            if long is not (place in self._long):
                self._long = self._long | {place} if long else self._long - {place}

    def forget(self, digest: str) -> None:
        """Drop what is known of a model."""
        with self._lock:
            for place in [one for one in self._runs if one[0] == digest]:
                self._drop(place)

    def _drop(self, place: tuple[str, str]) -> None:
        del self._runs[place], self._seen[place]
        self._long -= {place}
