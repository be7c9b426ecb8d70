"""Shadow mode: a share of the live requests runs again on a second target, behind the reply."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import structlog
from numpy.typing import NDArray

from api.errors import QueueFull
from api.job import Job
from api.lanes import Lane
from api.metrics import Metrics
from api.settings import Settings
from backends.base import Target
from backends.compare import TOLERANCE, raster_of, verdict_on
from backends.contracts import contract_on
from backends.errors import BackendError, InvalidTarget
from backends.fuse import FusedAnswer, again_under, answer_of, run_batch
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.errors import FusionError
from simulators.rasters import PopulationDifference, population_difference

log = structlog.get_logger("snn_fusion")

MAX_WAITING = 4
"""Sampled requests that wait while one runs; each holds its input in memory."""


@dataclass(frozen=True, slots=True)
class Live:
    """A live request and what is kept of its answer: labels; output population → its spikes."""

    job: Job
    labels: Sequence[str]
    spikes: Mapping[str, NDArray[np.generic]]


class Shadow:
    """Runs sampled live requests again, one at a time, and counts how they differ.

    Args:
        target: where they run again.
        share: the share of the live requests, from 0 to 1.
        registry: the targets; its backends are the shadow's own, and closed with it.
        programs: the number of compiled programs kept.
        metrics: where verdicts are counted.
    """

    def __init__(
        self, target: Target, share: float, registry: Registry, programs: int, metrics: Metrics
    ) -> None:
        self.lane = Lane("shadow", 1, MAX_WAITING)
        self._target = target
        self._share = share
        self._registry = registry
        self._programs = ProgramCache(registry, programs)
        self._metrics = metrics
        self._lock = Lock()
        self._seen = 0

    def offer(self, job: Job, answer: FusedAnswer, outputs: Sequence[str]) -> None:
        """Take a live request that was answered, if it is sampled and there is room; never wait.

        Args:
            job: the live request.
            answer: its answer, with the spikes of its output populations.
            outputs: names of those.
        """
        if job.target.name == self._target.name or not self._sampled():
            return
        spikes = {node: answer.recorded[f"{node}.spikes"] for node in outputs}
        live = Live(job, [window.label for window in answer.windows], spikes)
        try:
            self.lane.start(partial(self._run, live))
        except (QueueFull, RuntimeError):  # busy, or the service is closing
            self._metrics.shadow_dropped.inc()

    def close(self) -> None:
        """Drop what waits and end the shadow's own programs and backends."""
        self.lane.close()
        self._programs.close()
        self._registry.close()

    def _sampled(self) -> bool:
        """Count a request, and return whether the share grew by a whole one with it."""
        with self._lock:
            self._seen += 1
            seen = self._seen
        return math.floor(seen * self._share) > math.floor((seen - 1) * self._share)

    def _run(self, live: Live) -> None:
        place = (live.job.shelved.model.name, live.job.target.name, self._target.name)
        try:
            verdict, mismatched = self._compare(live)
        except (FusionError, BackendError, InvalidTarget) as error:
            log.warning("shadow failed", model=place[0], shadow=place[2], error=str(error))
            verdict, mismatched = "failed", 0
        except Exception:
            log.exception("shadow failed unexpectedly", model=place[0], shadow=place[2])
            verdict, mismatched = "failed", 0
        self._metrics.shadow_mismatched.labels(*place).inc(mismatched)
        self._metrics.shadow.labels(*place, verdict).inc()

    def _compare(self, live: Live) -> tuple[str, int]:
        """Return the verdict on the shadow target, and the number of bins that differ."""
        job, model, limit_s = live.job, live.job.shelved.model, self._target.max_run_s
        contract = contract_on(self._target, job.own)
        program = self._programs.get(model, self._target.name, contract)
        windows = [again_under(model, job.window.encoding(), contract)]
        (again,) = run_batch(
            model, program, contract, windows, record=[*live.spikes], deadline_s=limit_s
        )
        again = answer_of(again)
        populations = [
            _difference(node, spikes, again, contract.dt_s) for node, spikes in live.spikes.items()
        ]
        agree = live.labels == [window.label for window in again.windows]
        verdict = verdict_on(populations, contract != job.contract, agree, TOLERANCE)
        return verdict, sum(one.mismatched for one in populations)


def _difference(
    node: str, spikes: NDArray[np.generic], again: FusedAnswer, dt_s: float
) -> PopulationDifference:
    second = again.recorded[f"{node}.spikes"]
    return population_difference(node, raster_of(spikes), raster_of(second), dt_s)


def make_shadow(settings: Settings, registry: Registry, metrics: Metrics) -> Shadow | None:
    """Return the shadow that settings ask for, None if they ask for none."""
    name = settings.shadow_target
    if name is None or settings.shadow_share == 0:
        return None
    target = registry.targets[name]
    separate = registry.separate()
    return Shadow(target, settings.shadow_share, separate, settings.programs, metrics)
