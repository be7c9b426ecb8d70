"""What the process itself takes, sampled beside the requests so that all workers' add up."""

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from api.metrics import Metrics
from backends.host import restarts

LAG_EVERY_S = 0.25
"""So often the event loop is asked to wake something up, which tells how late it is."""
SAMPLE_EVERY = 4
"""At every so-maniest of these occasions the process is looked at, too."""


async def watch_vitals(metrics: Metrics, targets: Iterable[str]) -> None:
    """Observe the event loop, the process and the children of these targets until cancelled."""
    metrics.start_time.set(time.time())
    for target in targets:  # a counter that starts with 1 is one that nobody sees rise
        metrics.restarts.labels(target)
    told = Counter(restarts())
    beats = 0
    while True:
        if beats % SAMPLE_EVERY == 0:
            _sample(metrics, told)
        due = time.perf_counter() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.loop_lag.observe(max(0.0, time.perf_counter() - due))
        beats += 1


def _sample(metrics: Metrics, told: Counter[str]) -> None:
    with suppress(OSError):  # without a descriptor left, the last figures stay
        open_fds, resident_bytes = process_use()
        metrics.open_fds.set(open_fds)
    metrics.max_fds.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    metrics.resident.set(resident_bytes)
    for target, number in restarts().items():
        metrics.restarts.labels(target).inc(number - told[target])
        told[target] = number


def process_use() -> tuple[int, int]:
    """Return this process's open file descriptors, and its resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1, pages * os.sysconf("SC_PAGE_SIZE")
