"""What the protocol's statistics extension tells of each model, counted in this process."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from api.job import Placed
from api.models.entry import Entry
from api.oip.replies import DurationReply, ModelStatistics
from api.oip.reply import Ran
from fusion.model import FusionModel

PARTS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class _Counts:
    """One model's counts: `times` is part → number and nanoseconds."""

    last_ms: int = 0
    inferences: int = 0
    executions: int = 0
    times: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(PARTS, (0, 0)))

    def add(self, part: str, seconds: float) -> None:
        number, ns = self.times[part]
        self.times[part] = (number + 1, ns + round(seconds * 1e9))


class Statistics:
    """Counts inferences by model; safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, _Counts] = {}

    def succeed(self, job: Placed, ran: Ran, encode_s: float) -> None:
        """Count an inference whose reply is made."""
        with self._lock:
            counts = self._counts.setdefault(job.shelved.model.name, _Counts())
            counts.last_ms = time.time_ns() // 1_000_000
            counts.inferences += ran.batch
            counts.executions += 1
            counts.add("success", time.perf_counter() - job.started)
            counts.add("queue", ran.queue_s)
            counts.add("compute_input", job.decode_s)
            counts.add("compute_infer", ran.run_s)
            counts.add("compute_output", encode_s)

    def fail(self, model: FusionModel, seconds: float) -> None:
        """Count an inference that failed."""
        with self._lock:
            self._counts.setdefault(model.name, _Counts()).add("fail", seconds)

    def told(self, models: Sequence[Entry]) -> list[ModelStatistics]:
        """Return what was counted of models, all versions of each together."""
        with self._lock:
            return [_told(model, self._counts.get(model.name, _Counts())) for model in models]


def _told(model: Entry, counts: _Counts) -> ModelStatistics:
    durations: dict[str, DurationReply] = {
        part: {"count": number, "ns": ns} for part, (number, ns) in counts.times.items()
    }
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": counts.last_ms,
        "inference_count": counts.inferences,
        "execution_count": counts.executions,
        "inference_stats": durations,
        "batch_stats": [],
    }
