"""What a request does, without HTTP: parse, find model and target, run, reply."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from api import render
from api.batching import Batching, BatchLane
from api.errors import Elsewhere, LimitExceeded, UnknownName
from api.framing import Body
from api.health import Health
from api.hop import Hop
from api.intake import Parsed, parse, read_recordings
from api.job import Asked, Job, Reply, Window
from api.lanes import Lane
from api.metrics import Metrics
from api.models.catalogue import ModelAway
from api.models.keeper import Keeper, check_model
from api.notes import Use
from api.owners import Owners
from api.redis.shared import Shared
from api.requests import FuseRequest
from api.running import Runner
from api.settings import Settings
from api.shadow import make_shadow
from api.targets import check_targets
from backends.base import Target
from backends.contracts import contract_on
from backends.errors import BackendError, InvalidTarget, UnknownTarget, told
from backends.fuse import FusedAnswer, encode
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.contract import ExecutionContract
from fusion.events import dt_ns
from fusion.model import FusionModel, values_per_step
from fusion.shelf import Shelf, ShelvedModel
from fusion.window import Encoding, manifest_of, window_steps

log = structlog.get_logger("snn_fusion")


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
        check_targets(settings, registry)
        self.settings = settings
        self.registry = registry
        self.metrics = Metrics(metrics_registry)
        self.shared = Shared(settings, self.metrics)
        self.health = Health()
        self.programs = ProgramCache(registry, settings.programs, self._kept)
        names = settings.served(registry.targets)
        self.targets = {name: registry.targets[name] for name in names}
        self.owners = Owners(
            settings.peers,
            registry.targets,
            settings.model,
            4 * settings.max_queue + 4,
            self.metrics,
        )
        self.intake = Lane("intake", settings.threads, 4 * settings.max_queue + 4)
        self.housekeeping = Lane("housekeeping", 2, 256)
        self.shadow = make_shadow(settings, registry, self.metrics)
        record = settings.max_record_values
        self.runner = Runner(self.programs, self.metrics, self.shadow, record, self.shared.times)
        self.keeper = Keeper(
            settings,
            shelf,
            self.programs,
            self.runner,
            self.metrics,
            compiles=settings.target in self.targets,
        )
        self.keeper.forgotten.append(self._forget)
        self.models = self.keeper.catalogue
        check_model(settings, self.models)
        self.lanes = {name: self._lane(target) for name, target in self.targets.items()}
        self.comparing = Lane("compare", 1, settings.max_queue)
        self._contracts: dict[str, ExecutionContract] = {}

    def _kept(self) -> None:
        self.models.memory.trim()

    def _forget(self, model: FusionModel) -> None:
        self._contracts.pop(model.digest, None)
        if self.shared.times is not None:
            self.shared.times.forget(model.digest)

    def _lane(self, target: Target) -> BatchLane[Asked, Reply]:
        settings = self.settings
        return BatchLane(
            target.name,
            settings.threads,
            settings.max_queue,
            self.runner.run,
            Batching(
                _first(settings.max_batch_size, target.max_batch_size),
                _first(settings.max_queue_delay_us, target.max_queue_delay_us) / 1e6,
            ),
            self.metrics.pending.labels(target.name).set,
        )

    def warm_up(self) -> None:
        """Compile every model for the default target; problems are kept, not raised."""
        try:
            for name in self.targets:
                self._warm_up_target(name)
            self.keeper.warm_up()
            self.health.started = True
        except Exception as error:
            if self.health.draining:  # what it works with is being closed
                return
            self.health.failure = f"the warm-up broke off: {type(error).__name__}"
            log.exception("warm-up broke off")

    def _warm_up_target(self, name: str) -> None:
        try:
            self.registry.backend(name).warm_up()
        except (BackendError, InvalidTarget) as error:  # the catalogue says so, too
            log.info("target not available", target=name, error=told(error))

    def close(self) -> None:
        """Drop waiting work and end every program, child processes included."""
        for target_lane in self.lanes.values():
            target_lane.close()
        for lane in (self.intake, self.housekeeping, self.comparing):
            lane.close()
        self.keeper.close()
        self.programs.close()
        self.registry.close()
        if self.shadow is not None:
            self.shadow.close()

    def find_model(self, reference: str | None) -> ShelvedModel:
        """Return a model by a reference, the deployment's default without one, at once.

        Raises:
            ModelAway: if that takes its time: `bring_model` in a thread, then ask again.
        """
        return self.models.find(reference)

    def bring_model(self, reference: str | None) -> ShelvedModel:
        """Return a model by a reference, read from where it lies if need be; for a thread.

        Raises:
            UnknownName, NotLoaded, InvalidModel, StoreFailed: if there is none to be had.
        """
        try:
            return self.models.find(reference)
        except ModelAway:
            return self.models.bring(reference)

    def find_target(self, name: str | None, deadline_s: float | None = None) -> Target:
        """Return a target served here, the deployment's default without a name.

        Raises:
            Elsewhere: if it is served by another deployment, which has so many seconds.
            UnknownTarget: if it is not known here.
        """
        name = name if name is not None else self.settings.target
        if name in self.targets:
            return self.targets[name]
        if name in self.owners.targets:
            raise Elsewhere([self.owners.targets[name]], deadline_s)
        raise UnknownTarget(name, sorted({*self.targets, *self.owners.targets}))

    def find_targets(self, names: Sequence[str] | None) -> list[str]:
        """Return the names of targets, served here or elsewhere, each once; without a list, all.

        Raises:
            UnknownName: naming the entry that is not known here.
        """
        known = {**self.targets, **self.owners.targets}
        for index, name in enumerate(names or ()):
            if name not in known:
                nearest = ", ".join(sorted(known))
                raise UnknownName(f"targets[{index}]", f"{name[:80]!r} is unknown", nearest)
        return list(known if names is None else dict.fromkeys(names))

    def prepare(self, body: Body, started: float, use: Use) -> Job:
        """Return a request ready to run; `use` is told its model and target.

        Raises:
            FusionError, UnknownTarget: as `parse` and `read_recordings`, or for an unknown name.
            Refused: if the caller may not.
        """
        begun = time.perf_counter()
        parsed = parse(body, self.settings.max_body_bytes, FuseRequest)
        return self.make_job(parsed, started, begun, use, render.encode_fuse)

    def make_job(
        self,
        parsed: Parsed[FuseRequest],
        started: float,
        begun: float,
        use: Use,
        encode: Callable[[Job, FusedAnswer, str, float], Reply],
    ) -> Job:
        """Return a parsed request ready to run; raises as `prepare`.

        Args:
            parsed: the request.
            started: its arrival, on the clock of `time.perf_counter`.
            begun: when parsing began, on the same clock.
            use: is told the model and the target.
            encode: makes the reply.
        """
        request = parsed.request
        target = self.find_target(request.target, request.deadline_s)
        shelved = self.find_model(request.model)
        use(shelved.model, [target])
        own = self.contract(request, shelved)
        contract = contract_on(target, own)
        return Job(
            shelved=shelved,
            own=own,
            quantise=request.quantise,
            target=target,
            contract=contract,
            size=parsed.size,
            window=Window(partial(self._encoding, parsed, shelved, contract)),
            record=request.record,
            seed=request.seed,
            deadline_s=deadline(request, target.max_run_s, parsed.hop),
            priority=request.priority,
            started=started,
            parse_s=time.perf_counter() - begun,
            encode=encode,
        )

    def _encoding(
        self, parsed: Parsed[FuseRequest], shelved: ShelvedModel, contract: ExecutionContract
    ) -> Encoding:
        recordings = read_recordings(parsed, shelved, self.settings)
        return encode(shelved.model, recordings, contract)

    def contract(self, request: FuseRequest, shelved: ShelvedModel) -> ExecutionContract:
        """Return the contract that a request asks for, within the limit of steps.

        Raises:
            FusionError: naming the field that is wrong or too large.
        """
        model = shelved.model
        chosen = request.profile, request.dt_s, request.contract
        own = chosen == (None, None, {})
        if own and model.digest in self._contracts:
            return self._contracts[model.digest]
        contract = model.contract(*chosen)
        self._check_steps(model, contract)
        if own:
            self._contracts[model.digest] = contract
        return contract

    def _check_steps(self, model: FusionModel, contract: ExecutionContract) -> None:
        dt_ns(contract.dt_s)
        steps = window_steps(manifest_of(model), contract.dt_s)
        if steps > self.settings.max_steps:
            raise LimitExceeded("dt_s", "steps", steps, self.settings.max_steps)
        values = steps * values_per_step(model)
        if values > self.settings.max_input_values:
            raise LimitExceeded("dt_s", "input values", values, self.settings.max_input_values)


def deadline(request: FuseRequest, max_s: float, hop: Hop | None) -> float:
    """Return the seconds that a request may take, at most and by default `max_s`.

    Args:
        request: the request.
        max_s: what is allowed.
        hop: how it was forwarded, if it was.

    Raises:
        LimitExceeded: if it asks for more.
    """
    wanted = request.deadline_s
    if wanted is not None and wanted > max_s:
        raise LimitExceeded("deadline_s", "seconds", wanted, max_s)
    left_s = None if hop is None else hop.left_s
    return min(one for one in (wanted, left_s, max_s) if one is not None)


def _first(chosen: int | None, otherwise: int) -> int:
    return otherwise if chosen is None else chosen
