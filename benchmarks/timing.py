"""How long a call takes."""

import time
from collections.abc import Callable


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds of wall time that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
