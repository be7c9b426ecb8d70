"""How much a key may ask.

Requests a second are a token bucket: `burst` requests at once, `requests_per_s` in the long run.
Every process has one, and takes off it what the others admitted as soon as it hears of it, below
zero if need be. So N processes that hear of each other within d seconds admit in any W seconds at
most burst + W·rate + (N − 1)·(2·burst + d·rate) requests, whatever they are sent: others may have
admitted burst + d·rate that one has not heard of, and the first that it hears of others in a day
says nothing about when that was, so it takes off nothing, and costs another burst. Every midnight
in these seconds adds (N − 1)·2·burst: for the first news again, and for what it had heard of the
old day and not yet taken off.
"""

import math
from dataclasses import dataclass

from fusion.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may use; None is without limit.

    Attributes:
        requests_per_s: requests a second in the long run.
        burst: requests at once; by default those of a second, at least 1.
        concurrent: requests that one process works on at the same time.
        synaptic_events_per_day: synaptic events of all runs in a day (UTC).
        run_s_per_day: seconds in engines in a day, boards apart.
        hardware_run_s_per_day: seconds on boards in a day.
    """

    requests_per_s: float | None = None
    burst: int | None = None
    concurrent: int | None = None
    synaptic_events_per_day: int | None = None
    run_s_per_day: float | None = None
    hardware_run_s_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            least = 1 if name in ("burst", "concurrent") else 0
            if value is not None and not least <= value < math.inf:
                raise InvalidInput(name, f"is {value}", f"at least {least}")
        if self.requests_per_s == 0:
            raise InvalidInput("requests_per_s", "is 0", "disabled: true")
        if self.burst is not None and self.requests_per_s is None:
            raise InvalidInput("burst", "means nothing alone", "requests_per_s beside it")


UNLIMITED = Limits()


class Bucket:
    """A token bucket, full at first.

    Args:
        rate_per_s: tokens that flow in a second.
        burst: tokens that it holds at most.
        now_s: time now, on any clock that never goes back.
    """

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def take(self, now_s: float, others: int = 0) -> float:
        """Take a token and return 0, else return the seconds until there is one.

        Args:
            now_s: time now.
            others: tokens that others have taken since the last call.
        """
        # They took them while tokens flowed in, so what overflows is theirs first.
        tokens = min(float(self.burst), self._flowed(now_s) - others)
        self._at_s = now_s
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / self.rate_per_s

    def tokens(self, now_s: float) -> float:
        """Return the tokens in it, less than 0 where others took more than there were."""
        return min(float(self.burst), self._flowed(now_s))

    def _flowed(self, now_s: float) -> float:
        return self._tokens + (now_s - self._at_s) * self.rate_per_s


def make_bucket(limits: Limits, now_s: float) -> Bucket | None:
    """Return the bucket of a key's requests, None if they have no limit."""
    rate = limits.requests_per_s
    if rate is None:
        return None
    return Bucket(rate, limits.burst or max(1, math.ceil(rate)), now_s)
