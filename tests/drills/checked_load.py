"""Questions whose answers are known, and visitors that ask a running service for them.

A question is answered once by the readable reference, alone and before there is any load; every
later answer, from whatever engine, by whatever protocol, in whatever company, has to equal it.
"""

import http.client
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

HOST, READY_S, ANSWER_S = "127.0.0.1", 900.0, 60.0
TARGET, REFERENCE = "cpu", "numpy"
VARYING = ("request_id", "timing", "target", "energy_reason", "parameters")
"""Parts of a reply that differ from one request, or from one target, to the next."""
SAMPLES = ("digit-1", "digit-4", "digit-7")


@dataclass(frozen=True)
class Question:
    """A request with the answer that it must get.

    Attributes:
        name: model, target and protocol.
        path: where it is posted.
        headers, body: what is posted.
        answer: what the reference said, without what varies.
    """

    name: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer: Any = None

    def told_by(self, content: bytes) -> Any:
        """Return what a reply says, without what varies."""
        return {key: value for key, value in json.loads(content).items() if key not in VARYING}


@dataclass
class Line:
    """One keep-alive connection, opened when it is needed and not already closed by the service."""

    port: int
    connection: http.client.HTTPConnection | None = None

    def ask(self, question: Question) -> tuple[int, bytes]:
        """Return status and content of a reply; nothing is ever sent twice.

        Raises:
            OSError, http.client.HTTPException: if there is none.
        """
        if self.connection is not None and _closed(self.connection):
            self.close()
        if self.connection is None:
            self.connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_S)
        try:
            self.connection.request("POST", question.path, question.body, question.headers)
            reply = self.connection.getresponse()
            return reply.status, reply.read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed, as every pool of connections looks before it sends."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


@dataclass
class Tally:
    """What came of the questions that were asked; safe to use from several threads."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    by_name: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, line: Line, question: Question) -> None:
        """Ask and note the outcome."""
        try:
            status, content = line.ask(question)
        except (OSError, http.client.HTTPException) as error:
            self._note(self.failures, question, repr(error))
            return
        if status != 200:
            self._note(self.failures, question, f"{status}: {content[:300]!r}")
        elif question.told_by(content) != question.answer:
            self._note(self.wrong, question, repr(content[:300]))
        else:
            with self.lock:
                self.answered += 1
                self.by_name[question.name] += 1

    def _note(self, where: list[str], question: Question, what: str) -> None:
        with self.lock:
            where.append(f"{question.name}: {what}")


@contextmanager
def visitors(
    port: int, questions: Sequence[Question], habits: Sequence[Callable[[random.Random], float]]
) -> Iterator[Tally]:
    """Keep asking, from a thread for each habit; gives the tally, complete at the end.

    Args:
        port: of the service.
        questions: drawn from at random.
        habits: seconds that a visitor pauses between two questions; negative, it opens a
            connection for each.
    """
    tally, stop = Tally(), threading.Event()

    def visit(seed: int, habit: Callable[[random.Random], float]) -> None:
        draw, line = random.Random(seed), Line(port)
        while not stop.is_set():
            tally.ask(line, draw.choice(questions))
            pause_s = habit(draw)
            if pause_s < 0:
                line.close()
            else:
                stop.wait(pause_s)
        line.close()

    threads = [threading.Thread(target=visit, args=each) for each in enumerate(habits)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join()


HABITS: tuple[Callable[[random.Random], float], ...] = (
    lambda draw: 0.0,
    lambda draw: 0.0,
    lambda draw: -1.0,
    lambda draw: draw.uniform(0.0, 0.2),
    lambda draw: draw.uniform(0.0, 2.0),
    lambda draw: draw.uniform(0.0, 4.0),
)
"""Busy visitors, one with a connection for every question, and such as pause."""


def known_questions(port: int, seed: int = 0) -> list[Question]:
    """Return questions with the answers that the reference gives to them."""
    return known(port, make_questions(TARGET, seed), make_questions(REFERENCE, seed))


def known(
    port: int, questions: Sequence[Question], to_reference: Sequence[Question]
) -> list[Question]:
    """Return questions with the answers that the same ones get of a reference."""
    line = Line(port)
    answered = []
    for question, asked in zip(questions, to_reference, strict=True):
        status, content = line.ask(asked)
        assert status == 200, content
        answered.append(replace(question, answer=question.told_by(content)))
    line.close()
    return answered


def make_questions(target: str, seed: int) -> list[Question]:
    """Return questions about `av_digits` to a target, in each protocol."""
    chosen = {"model": "av_digits", "target": target}
    found = [
        _json({**chosen, "sensors": {name: {"sample": sample} for name in ("audio", "vision")}})
        for sample in SAMPLES
    ]
    return found + event_questions("av_digits", target, "vision", (34 * 34 * 2, 300_000), seed)


def event_questions(
    model: str, target: str, sensor: str, size: tuple[int, int], seed: int
) -> list[Question]:
    """Return questions of random events, in each protocol.

    Args:
        model, target: whom they are for.
        sensor: whose events.
        size: its channels, and how many microseconds the events last.
        seed: of the events.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(3):
        number = int(rng.integers(200, 2000))
        times = np.sort(rng.integers(0, size[1], number))
        channels = rng.integers(0, size[0], number, np.int32)
        events = {"times_us": times.tolist(), "channels": channels.tolist()}
        chosen = {"model": model, "target": target}
        tensors = (("times_us", times.astype("<i8"), "INT64"), ("channels", channels, "INT32"))
        found += [
            _json({**chosen, "sensors": {sensor: {"events": events}}}),
            _binary("binary", "/v1/fuse", chosen, sensor, tensors),
            _binary(
                "v2",
                f"/v2/models/{model}/infer",
                {"parameters": {"target": target}},
                sensor,
                tensors,
            ),
        ]
    return found


def _json(content: dict[str, Any]) -> Question:
    headers = {"Content-Type": "application/json"}
    return Question("json", "/v1/fuse", headers, json.dumps(content).encode())


def _binary(
    name: str, path: str, head: dict[str, Any], sensor: str, tensors: Sequence[tuple[Any, ...]]
) -> Question:
    inputs = [
        {
            "name": f"{sensor}.{part}",
            "datatype": datatype,
            "shape": [values.size],
            "parameters": {"binary_data_size": values.nbytes},
        }
        for part, values, datatype in tensors
    ]
    text = json.dumps({**head, "inputs": inputs}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(text)),
    }
    return Question(name, path, headers, text + b"".join(one[1].tobytes() for one in tensors))


@dataclass
class Service:
    """A service of its own processes, and its log."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and content of a reply to a GET, over a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in _command(child)]

    def rss_mib(self) -> float:
        """Return the memory of all its processes."""
        return sum(map(_rss_kib, _family(self.process.pid))) / 1024

    def told(self) -> str:
        """Return the end of its log, without requests."""
        lines = [one for one in self.log.read_text().splitlines() if '"route"' not in one]
        return "\n".join(lines[-40:])

    def logged(self, event: str) -> int:
        """Return how many lines of the log hold a text."""
        return self.log.read_text().count(event)


def _family(pid: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(one for child in children for one in _family(int(child)))]
    return []


def _rss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def _command(pid: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def end_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does, so that the service ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def service(
    *, under: Sequence[str] = (), variables: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[Service]:
    """Run the service as a deployment does, until it is ready; stop it at the end.

    Args:
        under: a command that runs the command that follows it.
        variables: of its environment, beside the settings.
        settings: by their names without the prefix.
    """
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        chosen = {
            "ENV": "production",
            "WITHOUT_KEYS": "true",
            "HOST": HOST,
            "PORT": port,
            "DATA_DIR": folder,
            **settings,
        }
        environment = {f"SNN_FUSION_{name}": str(value) for name, value in chosen.items()}
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "api.cli", "serve"],
            env={**os.environ, **(variables or {}), **environment},
            stderr=log,
            start_new_session=True,
        )
        started = Service(process, port, Path(folder, "log"))
        try:
            wait_for(lambda: _ready(started), READY_S)
            yield started
            if process.poll() is None:
                process.terminate()
                assert process.wait(READY_S) == 0
        except BaseException as error:
            error.add_note(started.told())
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ready(started: Service) -> bool:
    assert started.process.poll() is None, started.log.read_text()[-2000:]
    with suppress(OSError, http.client.HTTPException):
        return started.get("/healthz/ready")[0] == 200
    return False


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Return once the condition holds.

    Raises:
        TimeoutError: if it does not come true.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        time.sleep(0.05)
