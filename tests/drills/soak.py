"""A soak: hours at half load, of mixed models, targets and protocols, watched for drift.

    PYTHONPATH=.:tests python -m drills.soak --hours 1 --out out/soak.json

Requests arrive at random moments (a Poisson process) at half the rate that the service was seen to
answer; a latency counts from the moment a request was due. Every status is looked at, and one reply
in twenty is compared with the reference's. Exits with 1 if anything failed or was wrong.
"""

import argparse
import http.client
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
from drills.checked_load import (
    REFERENCE,
    TARGET,
    Line,
    Question,
    Service,
    end_on_sigterm,
    event_questions,
    known,
    make_questions,
    service,
)
from rich.console import Console
from rich.table import Table

from benchmarks.fusion_model import write_model
from benchmarks.networks import FUSION_LINES

AV_DIGITS = Path(__file__).parents[2] / "examples" / "av_digits"
CHECK_EVERY, LINES_OPEN, PROBE_S = 20, 32, 30.0
SHARES = {TARGET: 0.97, "loihi-emulator": 0.02, "brian2": 0.005, REFERENCE: 0.005}
"""Target → its share of the requests."""


@dataclass
class Window:
    """What was seen in some minutes.

    Attributes:
        end_s: seconds since the start.
        requests: answered with 200.
        checked: compared with the reference.
        errors: neither answered with 200 nor right.
        p50_ms, p95_ms: of each protocol's requests to the default target.
        rss_mib: memory of all processes of the service at the end.
    """

    end_s: float
    requests: int
    checked: int
    errors: list[str]
    p50_ms: dict[str, float]
    p95_ms: dict[str, float]
    rss_mib: float


@dataclass
class Seen:
    """What happened since the last window; safe to use from several threads."""

    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: int = 0
    checked: int = 0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, question: Question, latency_s: float, wrong: str | None, checked: bool) -> None:
        """Note the outcome of a request."""
        with self.lock:
            self.checked += checked
            if wrong is not None:
                self.errors.append(f"{question.name}: {wrong}")
                return
            self.requests += 1
            self.latencies_s[question.name].append(latency_s)

    def window(self, end_s: float, rss_mib: float) -> Window:
        """Return what was seen, and start anew."""
        with self.lock:
            seen = {name: np.array(found) for name, found in sorted(self.latencies_s.items())}
            made = Window(
                end_s, self.requests, self.checked, self.errors,
                {name: _ms(found, 50) for name, found in seen.items() if "@" not in name},
                {name: _ms(found, 95) for name, found in seen.items() if "@" not in name},
                round(rss_mib, 1),
            )  # fmt: skip
            self.latencies_s = defaultdict(list)
            self.requests = self.checked = 0
            self.errors = []
        return made


def _ms(latencies_s: "np.ndarray", share: float) -> float:
    return round(float(np.percentile(latencies_s, share)) * 1e3, 2)


def soak(seconds: float, window_s: float, load: float) -> Iterator[Window]:
    """Yield what was seen, window by window."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(AV_DIGITS, Path(folder, "av_digits"))
        write_model(Path(folder))
        with service(MODELS_DIR=folder) as started:
            questions = _questions(started.port)
            rate = load * _full_rate(started.port, questions)
            print(f"{rate:.0f} requests a second", flush=True)
            yield from _watched(started, questions, rate, seconds, window_s)


def _questions(port: int) -> dict[str, list[Question]]:
    """Return target → questions with their answers; the reference's, where it can give them."""
    found = {}
    for target in SHARES:
        if target == "loihi-emulator":  # another arithmetic: held to its own answer, alone
            asked = [_quantised(one) for one in make_questions(target, 1)[:3]]
            found[target] = _named(known(port, asked, asked), target)
            continue
        size = FUSION_LINES["camera"], 100_000
        both = [
            make_questions(one, 1) + event_questions("fusion", one, "camera", size, 2)
            for one in (target, REFERENCE)
        ]
        found[target] = _named(known(port, *both), target)
    return found


def _quantised(question: Question) -> Question:
    body = {**json.loads(question.body), "quantise": True}
    return Question(question.name, question.path, question.headers, json.dumps(body).encode())


def _named(questions: Sequence[Question], target: str) -> list[Question]:
    """Return questions whose names tell the target, unless it is the default."""
    for one in questions:
        if target != TARGET:
            object.__setattr__(one, "name", f"{one.name}@{target}")
    return list(questions)


def _full_rate(port: int, questions: dict[str, list[Question]]) -> float:
    """Return how many requests of the mix are answered in a second, eight under way."""
    seen = Seen()
    end = time.perf_counter() + PROBE_S

    def ask(seed: int) -> None:
        draw, line = random.Random(seed), Line(port)
        while time.perf_counter() < end:
            _ask(line, _drawn(draw, questions), time.perf_counter(), seen, check=False)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen.requests / PROBE_S


def _drawn(draw: random.Random, questions: dict[str, list[Question]]) -> Question:
    """Return any question, of the targets by their shares."""
    (target,) = draw.choices(list(SHARES), list(SHARES.values()))
    return draw.choice(questions[target])


def _ask(line: Line, question: Question, due: float, seen: Seen, check: bool) -> None:
    wrong = None
    try:
        status, content = line.ask(question)
        if status != 200:
            wrong = f"{status}: {content[:200]!r}"
        elif check and question.told_by(content) != question.answer:
            wrong = f"is not the reference's answer: {content[:200]!r}"
    except (OSError, http.client.HTTPException) as error:
        wrong = repr(error)
    seen.note(question, time.perf_counter() - due, wrong, check)


def _watched(
    started: Service,
    questions: dict[str, list[Question]],
    rate: float,
    seconds: float,
    window_s: float,
) -> Iterator[Window]:
    seen, due, stop = Seen(), SimpleQueue[tuple[float, Question, bool]](), threading.Event()
    begun = time.perf_counter()

    def serve() -> None:
        line = Line(started.port)
        while not stop.is_set():
            try:
                moment, question, check = due.get(timeout=0.5)
            except Empty:
                continue
            _ask(line, question, moment, seen, check)
        line.close()

    def arrive() -> None:
        draw, moment, number = random.Random(0), begun, 0
        while not stop.is_set():
            moment += draw.expovariate(rate)
            stop.wait(max(0.0, moment - time.perf_counter()))
            number += 1
            due.put((moment, _drawn(draw, questions), number % CHECK_EVERY == 0))

    threads = [threading.Thread(target=serve) for _ in range(LINES_OPEN)]
    threads.append(threading.Thread(target=arrive))
    for thread in threads:
        thread.start()
    try:
        for number in range(1, max(1, round(seconds / window_s)) + 1):
            time.sleep(max(0.0, begun + number * window_s - time.perf_counter()))
            yield seen.window(round(time.perf_counter() - begun, 1), started.rss_mib())
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def drift(windows: Sequence[Window]) -> dict[str, float]:
    """Return growth of memory per hour from the second window on, and of p95 over the soak."""
    settled = windows[1:] if len(windows) > 2 else windows
    hours = [one.end_s / 3600 for one in settled]
    slope = float(np.polyfit(hours, [one.rss_mib for one in settled], 1)[0]) if hours[1:] else 0.0
    p95 = [max(one.p95_ms.values(), default=0.0) for one in settled]
    return {
        "rss_growth_mib": round(settled[-1].rss_mib - settled[0].rss_mib, 1),
        "rss_growth_mib_per_hour": round(slope, 1),
        "p95_ms_first": p95[0],
        "p95_ms_last": p95[-1],
        "p95_ms_worst": max(p95),
    }


def row(window: Window) -> list[str]:
    """Return a window as a row of the table."""
    return [
        f"{window.end_s / 60:.0f}",
        str(window.requests),
        str(window.checked),
        str(len(window.errors)),
        " ".join(f"{name} {value:g}" for name, value in window.p50_ms.items()),
        " ".join(f"{name} {value:g}" for name, value in window.p95_ms.items()),
        f"{window.rss_mib:g}",
    ]


def main() -> None:
    """Soak, write what was seen as JSON, and print it as a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--window-s", type=float, default=300.0)
    parser.add_argument("--load", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path("out/soak.json"))
    given = parser.parse_args()
    end_on_sigterm()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    windows: list[Window] = []
    for window in soak(given.hours * 3600, given.window_s, given.load):
        windows.append(window)
        print("\t".join(row(window)), flush=True)
        told = {"windows": [asdict(one) for one in windows], "drift": drift(windows)}
        given.out.write_text(json.dumps(told, indent=1))
    table = Table("minute", "answered", "checked", "errors", "p50 ms", "p95 ms", "RSS MiB")
    for window in windows:
        table.add_row(*row(window))
    Console(width=120).print(table, drift(windows))
    errors = [error for window in windows for error in window.errors]
    print("\n".join(errors[:20]), file=sys.stderr)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
