"""What a request does, without HTTP: parse, find model and target, run, reply."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry

from api import render
from api.errors import LimitExceeded, UnknownName
from api.framing import Body
from api.health import Health
from api.intake import Parsed, parse, read_recordings
from api.job import Job, Reply
from api.lanes import Lane
from api.metrics import Metrics
from api.requests import FuseRequest
from api.settings import Settings
from api.shadow import make_shadow
from api.targets import check_names
from backends.base import Target
from backends.errors import BackendError, RunTimeout, UnknownTarget, told
from backends.fuse import FusedAnswer, encode, run_encoded
from backends.programs import ProgramCache
from backends.registry import InvalidTarget, Registry
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import FusionError, InvalidInput
from fusion.events import dt_ns
from fusion.manifest import Manifest
from fusion.model import FusionModel
from fusion.shelf import Shelf, ShelvedModel
from fusion.window import manifest_of, window_steps
from simulators.plan import make_plan, output_populations
from simulators.trace import recordable

log = structlog.get_logger("snn_fusion")


_Request = TypeVar("_Request", bound=FuseRequest)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What of a model's plan a request needs: output populations; node → values per step."""

    outputs: tuple[str, ...]
    recordable: Mapping[str, int]


class Service:
    """Everything that requests share; one for each process.

    Args:
        settings: the deployment's settings.
        registry: the targets.
        shelf: the models.
        metrics_registry: where metrics are registered.

    Raises:
        InvalidSettings: if a target or model that the settings name does not exist.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        shelf: Shelf,
        metrics_registry: CollectorRegistry,
    ) -> None:
        check_names(settings, registry, shelf)
        self.settings = settings
        self.registry = registry
        self.shelf = shelf
        self.metrics = Metrics(metrics_registry)
        self.health = Health()
        self.programs = ProgramCache(registry, settings.programs)
        names = settings.targets or tuple(registry.targets)
        self.targets = {name: registry.targets[name] for name in names}
        self.lanes = {name: self._lane(name) for name in self.targets}
        self.intake = Lane("intake", settings.threads, 4 * settings.max_queue + 4)
        self.housekeeping = Lane("housekeeping", 2, 256)
        self.shadow = make_shadow(settings, registry, self.metrics)
        self.comparing = Lane("compare", 1, settings.max_queue)
        self._wirings: dict[str, Wiring] = {}

    def _lane(self, name: str) -> Lane:
        gauge = self.metrics.pending.labels(name)
        return Lane(name, self.settings.threads, self.settings.max_queue, gauge.set)

    def warm_up(self) -> None:
        """Compile every model for the default target; problems are kept, not raised."""
        try:
            for shelved in self.shelf.models.values():
                if shelved.model.manifest is not None:
                    self._make_ready(shelved.model)
            self.health.started = True
        except Exception as error:
            self.health.failure = f"the warm-up broke off: {type(error).__name__}"
            log.exception("warm-up broke off")

    def _make_ready(self, model: FusionModel) -> None:
        name = self.settings.target
        try:
            contract = model.contract()
            self.programs.get(model, name, contract)
            self._wiring(model, contract)
        except (FusionError, BackendError, InvalidTarget) as error:  # others may well be served
            self.health.problems[model.name] = told(error)
            log.warning("model not ready", model=model.name, target=name, error=str(error))

    def close(self) -> None:
        """Drop waiting work and end every program, child processes included."""
        for lane in (*self.lanes.values(), self.intake, self.housekeeping, self.comparing):
            lane.close()
        self.programs.close()
        self.registry.close()
        if self.shadow is not None:
            self.shadow.close()

    def find_model(self, name: str | None) -> ShelvedModel:
        """Return a model by name or digest, the deployment's default without one.

        Raises:
            UnknownName: if there is none.
        """
        name = name if name is not None else self.settings.model
        if name is None:
            for shelved in self.shelf.models.values():
                return shelved
            raise UnknownName("model", f"there is no model in {self.shelf.folder}")
        try:
            return self.shelf.find(name)
        except InvalidInput as error:
            raise UnknownName(error.field, error.problem, error.nearest) from None

    def find_target(self, name: str | None) -> Target:
        """Return a target served here, the deployment's default without a name.

        Raises:
            UnknownTarget: if it is not served here.
        """
        name = name if name is not None else self.settings.target
        if name not in self.targets:
            raise UnknownTarget(name, sorted(self.targets))
        return self.targets[name]

    def find_targets(self, names: Sequence[str] | None) -> list[str]:
        """Return the names of targets served here, each once; all of them without a list.

        Raises:
            UnknownName: naming the entry that is not served here.
        """
        for index, name in enumerate(names or ()):
            if name not in self.targets:
                known = ", ".join(sorted(self.targets))
                raise UnknownName(f"targets[{index}]", f"{name[:80]!r} is unknown", known)
        return list(self.targets if names is None else dict.fromkeys(names))

    def prepare(self, body: Body, started: float, note: Callable[[str, str], None]) -> Job:
        """Return a request ready to run; `note` is told its model and target.

        Raises:
            FusionError, UnknownTarget: as `parse` and `read_recordings`, or for an unknown name.
        """
        begun = time.perf_counter()
        parsed = parse(body, self.settings.max_body_bytes, FuseRequest)
        return self.make_job(parsed, started, begun, note, render.encode_fuse)

    def make_job(
        self,
        parsed: Parsed[FuseRequest],
        started: float,
        begun: float,
        note: Callable[[str, str], None],
        encode: Callable[[Job, FusedAnswer, str, float], Reply],
    ) -> Job:
        """Return a parsed request ready to run; raises as `prepare`.

        Args:
            parsed: the request.
            started: its arrival, on the clock of `time.perf_counter`.
            begun: when parsing began, on the same clock.
            note: is told the model and the target.
            encode: makes the reply.
        """
        request = parsed.request
        shelved = self.find_model(request.model)
        target = self.find_target(request.target)
        note(shelved.model.name, target.name)
        contract, recordings = self.read(parsed, shelved)
        return Job(
            shelved=shelved,
            target=target,
            contract=contract,
            recordings=recordings,
            record=request.record,
            seed=request.seed,
            deadline_s=deadline(request, target.max_run_s),
            started=started,
            decode_s=time.perf_counter() - begun,
            encode=encode,
        )

    def read(
        self, parsed: Parsed[_Request], shelved: ShelvedModel
    ) -> tuple[ExecutionContract, dict[str, Recording]]:
        """Return a request's contract and its recordings, both within the limits.

        Raises:
            FusionError: naming the field that is wrong or too large.
        """
        request = parsed.request
        contract = shelved.model.contract(request.profile, request.dt_s, request.contract)
        recordings = read_recordings(parsed, shelved, self.settings)
        self._check_steps(manifest_of(shelved.model), contract)
        return contract, recordings

    def run(self, job: Job, request_id: str) -> Reply:
        """Return the encoded reply to a job.

        Raises:
            FusionError, BackendError: if it cannot be run, or the run failed.
        """
        model, target, contract = job.shelved.model, job.target, job.contract
        now = time.perf_counter()
        if now >= job.end:
            raise RunTimeout(target.name, job.deadline_s)
        queue_s = now - job.started - job.decode_s
        program = self.programs.get(model, target.name, contract)
        record = self._record(job)
        encoding = encode(model, job.recordings, contract)
        left_s = max(1e-3, job.end - time.perf_counter())
        answer = run_encoded(
            model, program, contract, [encoding], record=record, deadline_s=left_s
        )[0]
        self._observe(job, answer, queue_s)
        reply = job.encode(job, answer, request_id, queue_s)
        if self.shadow is not None:
            self.shadow.offer(job, answer, self._wiring(model, contract).outputs)
        return reply

    def _check_steps(self, manifest: Manifest, contract: ExecutionContract) -> None:
        dt_ns(contract.dt_s)
        steps = window_steps(manifest, contract.dt_s)
        if steps > self.settings.max_steps:
            raise LimitExceeded("dt_s", "steps", steps, self.settings.max_steps)

    def _record(self, job: Job) -> tuple[str, ...]:
        """Return the nodes to record: output populations, and what the caller asks for."""
        model, contract = job.shelved.model, job.contract
        record = tuple(dict.fromkeys((*self._wiring(model, contract).outputs, *job.record)))
        self.check_recorded(model, contract, record, "record")
        return record

    def check_recorded(
        self, model: FusionModel, contract: ExecutionContract, record: Sequence[str], field: str
    ) -> None:
        """Return if a run may record these nodes, or `all`.

        Raises:
            LimitExceeded: naming `field`, if that is too much.
        """
        wiring = self._wiring(model, contract)
        names = wiring.recordable if "all" in record else record
        steps = window_steps(manifest_of(model), contract.dt_s)
        values = steps * sum(wiring.recordable.get(name, 0) for name in names)
        allowed = self.settings.max_record_values
        if values > allowed:
            raise LimitExceeded(field, "recorded values", values, allowed)

    def _wiring(self, model: FusionModel, contract: ExecutionContract) -> Wiring:
        if model.digest not in self._wirings:  # the plan's shape is the same under any contract
            plan = make_plan(model.graph, contract)
            sizes = {node.name: node.size for node in plan.nodes}
            values = {name: sizes[name] * len(what) for name, what in recordable(plan).items()}
            self._wirings[model.digest] = Wiring(output_populations(plan), values)
        return self._wirings[model.digest]

    def _observe(self, job: Job, answer: FusedAnswer, queue_s: float) -> None:
        model, target = job.shelved.model.name, job.target.name
        metrics = self.metrics
        for window in answer.windows:
            metrics.observe_quality(model, target, window.quality)
            for sensor, report in window.reports.items():
                metrics.spikes.labels(model, target, "input").inc(report.events)
                metrics.outside_events.labels(model, sensor).inc(report.outside)
        metrics.spikes.labels(model, target, "network").inc(sum(answer.counts.spikes.values()))
        metrics.synaptic_events.labels(model, target).inc(answer.counts.synaptic_events)
        metrics.run_seconds.labels(model, target).observe(answer.run_s)
        metrics.queue_seconds.labels(target).observe(queue_s)


def deadline(request: FuseRequest, max_s: float) -> float:
    """Return the seconds that a request may take, at most and by default `max_s`.

    Raises:
        LimitExceeded: if it asks for more.
    """
    wanted = request.deadline_s
    if wanted is None:
        return max_s
    if wanted > max_s:
        raise LimitExceeded("deadline_s", "seconds", wanted, max_s)
    return wanted
