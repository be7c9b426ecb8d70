"""A load generator for HTTP over keep-alive connections, light enough to share two cores.

Latencies are seconds from the moment a request was due: where requests arrive at a rate, those that
had to wait for a free connection count that wait, too.
"""

import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

IDLE_S = 2.0
"""After so long a connection is opened anew, before the service closes it."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class Refused(RuntimeError):
    """The service did not answer with 200."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the generator saw: every request's latency, and the time that all took."""

    latencies_s: Seconds
    took_s: float

    @property
    def requests_per_s(self) -> float:
        """Requests answered in a second."""
        return self.latencies_s.size / self.took_s

    def percentile_ms(self, share: float) -> float:
        """Return the milliseconds within which `share` per cent of the requests were answered."""
        return float(np.percentile(self.latencies_s, share) * 1e3)


class _Connection:
    """One connection, with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self.due_s = 0.0
        self.reply = b""
        self._address = (host, port)
        self._got = bytearray()
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used_s = time.perf_counter()

    def send(self, request: bytes, due_s: float) -> None:
        """Send a request that was due at a moment of `time.perf_counter`."""
        if time.perf_counter() - self._used_s > IDLE_S:
            self.socket.close()
            self._connect()
        self.due_s = due_s
        self._got.clear()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has arrived, and return whether that is the whole reply.

        Raises:
            Refused: if its status is not 200, or the connection was closed.
        """
        part = self.socket.recv(1 << 18)
        if not part:
            raise Refused("the service closed the connection")
        self._got += part
        head = self._got.find(_HEAD_END)
        if head < 0:
            return False
        length = _LENGTH.search(self._got, 0, head + 2)
        if length is None:
            raise Refused("a reply without Content-Length")
        if len(self._got) < head + len(_HEAD_END) + int(length[1]):
            return False
        self.reply = bytes(self._got[head + len(_HEAD_END) :])
        self._used_s = time.perf_counter()
        if not self._got.startswith(b"HTTP/1.1 200"):
            raise Refused(bytes(self._got[:2000]).decode(errors="replace"))
        return True


@contextmanager
def _connected(host: str, port: int, number: int) -> Iterator[list[_Connection]]:
    connections = [_Connection(host, port) for _ in range(number)]
    try:
        yield connections
    finally:
        for one in connections:
            one.socket.close()


def request_bytes(path: str, body: bytes, **headers: str) -> bytes:
    """Return a POST request as it goes over the wire; `_` in a header's name stands for `-`."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def ask(host: str, port: int, request: bytes) -> bytes:
    """Return the body of the reply to one request."""
    with _connected(host, port, 1) as (one,):
        one.send(request, 0.0)
        while not one.receive():
            continue
        return one.reply


def one_after_the_other(host: str, port: int, requests: Sequence[bytes], number: int) -> Load:
    """Send requests over one connection, each when the last was answered."""
    return in_parallel(host, port, requests, number, connections=1)


def in_parallel(
    host: str, port: int, requests: Sequence[bytes], number: int, connections: int
) -> Load:
    """Keep every connection busy until `number` were answered, taking `requests` in turn."""
    latencies: list[float] = []
    sent = 0
    with _connected(host, port, connections) as open_ones, select.epoll() as poll:
        by_number = {one.socket.fileno(): one for one in open_ones}
        started = time.perf_counter()
        for one in open_ones[:number]:
            poll.register(one.socket, select.EPOLLIN)
            one.send(requests[sent % len(requests)], time.perf_counter())
            sent += 1
        while len(latencies) < number:
            for descriptor, _ in poll.poll():
                one = by_number[descriptor]
                if not one.receive():
                    continue
                now = time.perf_counter()
                latencies.append(now - one.due_s)
                if sent < number:
                    one.send(requests[sent % len(requests)], now)
                    sent += 1
        return Load(np.array(latencies), time.perf_counter() - started)


def at_rate(
    host: str,
    port: int,
    requests: Sequence[bytes],
    number: int,
    *,
    per_s: float,
    connections: int = 64,
    seed: int = 0,
) -> Load:
    """Send requests at random moments, `per_s` a second on average (a Poisson process)."""
    gaps = np.random.default_rng(seed).exponential(1 / per_s, number)
    with _connected(host, port, connections) as open_ones:
        started = time.perf_counter()
        arrivals = _Arrivals((started + np.cumsum(gaps)).tolist(), requests, open_ones)
        while len(arrivals.latencies) < number:
            arrivals.turn()
        return Load(np.array(arrivals.latencies), time.perf_counter() - started)


class _Arrivals:
    """Requests that come at given moments, and the connections that carry them."""

    def __init__(
        self, due: Sequence[float], requests: Sequence[bytes], connections: Sequence[_Connection]
    ) -> None:
        self.latencies: list[float] = []
        self._due = deque(enumerate(due))
        self._requests = requests
        self._free = deque(connections)
        self._busy: dict[int, _Connection] = {}

    def turn(self) -> None:
        """Send what is due, then wait for replies until the next request is."""
        now = time.perf_counter()
        while self._due and self._free and self._due[0][1] <= now:
            index, due_s = self._due.popleft()
            one = self._free.pop()
            one.send(self._requests[index % len(self._requests)], due_s)
            self._busy[one.socket.fileno()] = one
        left_s = None
        if self._due and self._free:
            left_s = max(0.0, self._due[0][1] - time.perf_counter())
        for descriptor in select.select(list(self._busy), (), (), left_s)[0]:
            one = self._busy[descriptor]
            if one.receive():
                self.latencies.append(time.perf_counter() - one.due_s)
                del self._busy[descriptor]
                self._free.append(one)
