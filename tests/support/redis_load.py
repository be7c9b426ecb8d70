"""Load on a service while its Redis is tormented: every reply is checked."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from support.api_models import body
from support.api_server import until

THREADS = 3
QUESTIONS = 5


class Load:
    """Threads that ask a few questions again and again, and others once.

    Args:
        client: of the service that they ask.
        target: where it runs.
    """

    def __init__(self, client: httpx.Client, target: str = "numpy") -> None:
        self._address = client.base_url
        self._target = target
        self._stopping = threading.Event()
        self._seeds = itertools.count(QUESTIONS)
        self._wanted: dict[str, Any] = self._core(self._ask(client, 0).json())
        self.outcomes: Counter[str] = Counter()
        self.failed: list[str] = []

    def _ask(self, client: httpx.Client, seed: int) -> httpx.Response:
        return client.post("/v1/fuse", json=body(target=self._target, seed=seed))

    def _core(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what the seed, which is only echoed, does not change."""
        changing = ("request_id", "timing", "seed")
        return {key: value for key, value in answer.items() if key not in changing}

    def work(self) -> None:
        with httpx.Client(base_url=self._address, timeout=60) as client:
            for turn in itertools.count():
                if self._stopping.is_set():
                    return
                seed = next(self._seeds) if turn % 4 == 3 else turn % QUESTIONS
                reply = self._ask(client, seed)
                if reply.status_code != 200:
                    self.failed.append(reply.text)
                elif self._core(reply.json()) != self._wanted:
                    self.failed.append(f"another answer to {seed}: {reply.text}")
                self.outcomes[reply.headers.get("Cache-Status", "none")] += 1

    def stop(self) -> None:
        self._stopping.set()

    def more(self, replies: int) -> None:
        """Return after so many more replies."""
        wanted = self.outcomes.total() + replies
        until(lambda: self.outcomes.total() >= wanted)

    def more_hits(self, hits: int = 20) -> None:
        """Return after so many more hits."""
        wanted = self.outcomes["snn-fusion; hit"] + hits
        until(lambda: self.outcomes["snn-fusion; hit"] >= wanted)


@contextmanager
def under_load(client: httpx.Client) -> Iterator[Load]:
    """Have a service under load; at the end nothing may have failed."""
    load = Load(client)
    threads = [threading.Thread(target=load.work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join()
    assert load.failed == []
