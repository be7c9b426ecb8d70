"""From jobs that share a run to their replies."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from api.errors import LimitExceeded
from api.job import Asked, Job, Reply
from api.metrics import Metrics
from api.pace import Pace
from api.quantising import Quantiser
from api.redis.run_times import RunTimes
from api.shadow import Shadow
from backends.errors import RunTimeout
from backends.fuse import FusedAnswer, run_batch
from backends.programs import ProgramCache
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from fusion.shelf import ShelvedModel
from fusion.window import Encoding, manifest_of, window_steps
from simulators.plan import make_plan, output_populations
from simulators.trace import recordable


@dataclass(frozen=True, slots=True)
class Wiring:
    """What of a model's plan a request needs: output populations; node → values per step."""

    outputs: tuple[str, ...]
    recordable: Mapping[str, int]


class _Ready(Struct, frozen=True):
    """A job that is about to run: its place in the batch, its input, the seconds it waited."""

    index: int
    asked: Asked
    encoding: Encoding
    queue_s: float


class Runner:
    """Runs jobs on compiled programs.

    Args:
        programs: where compiled programs come from.
        metrics: where answers are counted.
        shadow: what runs some of them again, if anything does.
        max_record_values: values that one run may record.
        times: where the seconds of runs are noted, if anywhere.
    """

    def __init__(
        self,
        programs: ProgramCache,
        metrics: Metrics,
        shadow: Shadow | None,
        max_record_values: int,
        times: RunTimes | None = None,
    ) -> None:
        self._programs = programs
        self._metrics = metrics
        self._shadow = shadow
        self._max_record_values = max_record_values
        self._times = times
        self._wirings: dict[str, Wiring] = {}
        self.quantiser = Quantiser()
        self._pace = Pace()

    def run(self, batch: Sequence[Asked]) -> list[Reply | Exception]:
        """Return a reply or what went wrong for every job of a batch, all of one target and key."""
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        results: list[Reply | Exception] = [RuntimeError("was not run")] * len(batch)
        ready = []
        for index, asked in enumerate(batch):
            try:
                ready.append(self._ready(index, asked, begun))
            except Exception as error:
                results[index] = error
        if ready:
            started = time.perf_counter()
            # What is logged on the way bears the request's id, of several the first one's.
            outcomes = ready[0].asked.context.run(self._run, ready)
            ended = time.perf_counter()
            share_s = (ended - started) / len(ready)
            for one, outcome in zip(ready, outcomes, strict=True):
                _charge(one.asked, outcome, share_s)
                results[one.index] = self._reply(one.asked, outcome, one.queue_s)
                trace = one.asked.notes.trace
                if trace is not None:
                    trace.waited(begun)
                    trace.stage("run", started, ended)
                    trace.stage("encode", ended, time.perf_counter())
        # Jobs that can share a run are of one kind.
        job = batch[0].job
        self._pace.note(job, (time.thread_time() - begun_cpu) / len(batch))
        return results

    def is_short(self, job: Job) -> bool:
        """Return whether a job will take less time here and now than being handed to a thread."""
        return self._pace.is_short(job) and self._programs.at_hand(
            job.shelved.model, job.target.name, job.contract
        )

    def _ready(self, index: int, asked: Asked, begun: float) -> _Ready:
        job = asked.job
        if begun >= job.end:
            raise RunTimeout(job.target.name, job.deadline_s)
        queue_s = begun - job.started - job.decode_s
        encoding = asked.context.run(job.window.encoding)
        if job.quantise:
            asked = replace(asked, job=self._quantised(job, encoding))
        return _Ready(index, asked, encoding, queue_s)

    def _quantised(self, job: Job, encoding: Encoding) -> Job:
        """Return a job with its model quantised, if its target needs that."""
        made = self.quantiser.ready(
            job.shelved, job.own, [job.target], lambda _: encoding.rasters()
        )
        shelved = ShelvedModel(job.shelved.path, made.model)
        return replace(job, shelved=shelved, quantisation=made.quantisation)

    def _run(self, ready: Sequence[_Ready]) -> Sequence[FusedAnswer | Exception]:
        jobs = [one.asked.job for one in ready]
        first = jobs[0]
        model, contract, target = first.shelved.model, first.contract, first.target.name
        self._metrics.observe_batch(target, len(jobs))
        try:
            program = self._programs.get(model, target, contract)
            record = self._record(first)
        except Exception as error:
            return [error] * len(jobs)
        # Whoever's time is up earlier is told so meanwhile; the run goes on for the others.
        left_s = max(1e-3, max(job.end for job in jobs) - time.perf_counter())
        encodings = [one.encoding for one in ready]
        return run_batch(model, program, contract, encodings, record=record, deadline_s=left_s)

    def _reply(
        self, asked: Asked, outcome: FusedAnswer | Exception, queue_s: float
    ) -> Reply | Exception:
        if isinstance(outcome, Exception):
            return outcome
        try:
            return asked.context.run(self._encoded, asked, outcome, queue_s)
        except Exception as error:
            return error

    def _encoded(self, asked: Asked, answer: FusedAnswer, queue_s: float) -> Reply:
        job = asked.job
        self._metrics.observe_answer(job.shelved.model.name, job.target.name, answer, queue_s)
        if self._times is not None:
            self._times.observe(job.shelved.model.digest, job.target.name, answer.run_s)
        reply = job.encode(job, answer, asked.notes.request_id, queue_s)
        if self._shadow is not None:
            outputs = self.wiring(job.shelved.model, job.contract).outputs
            self._shadow.offer(job, answer, outputs)
        return reply

    def _record(self, job: Job) -> tuple[str, ...]:
        """Return the nodes to record: output populations, and what the caller asks for."""
        model, contract = job.shelved.model, job.contract
        record = tuple(dict.fromkeys((*self.wiring(model, contract).outputs, *job.record)))
        self.check_recorded(model, contract, record, "record")
        return record

    def check_recorded(
        self, model: FusionModel, contract: ExecutionContract, record: Sequence[str], field: str
    ) -> None:
        """Return if a run may record these nodes, or `all`.

        Raises:
            LimitExceeded: naming `field`, if that is too much.
        """
        wiring = self.wiring(model, contract)
        names = wiring.recordable if "all" in record else record
        steps = window_steps(manifest_of(model), contract.dt_s)
        values = steps * sum(wiring.recordable.get(name, 0) for name in names)
        if values > self._max_record_values:
            raise LimitExceeded(field, "recorded values", values, self._max_record_values)

    def wiring(self, model: FusionModel, contract: ExecutionContract) -> Wiring:
        """Return what of the model's plan requests need, once it was made."""
        if model.digest not in self._wirings:  # the plan's shape is the same under any contract
            plan = make_plan(model.graph, contract)
            sizes = {node.name: node.size for node in plan.nodes}
            values = {name: sizes[name] * len(what) for name, what in recordable(plan).items()}
            self._wirings[model.digest] = Wiring(output_populations(plan), values)
        return self._wirings[model.digest]

    def forget(self, model: FusionModel) -> None:
        """Drop what is kept for a model."""
        self._wirings.pop(model.digest, None)


def _charge(asked: Asked, outcome: FusedAnswer | Exception, run_s: float) -> None:
    """Charge a caller with a share of a run, whatever came of it."""
    events = 0 if isinstance(outcome, Exception) else outcome.counts.synaptic_events
    asked.notes.charge(asked.job.target, events, run_s)
