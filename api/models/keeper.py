"""Keeps models ready: compiles them before they are asked for, and watches for changes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from api.errors import QueueFull, UnknownName
from api.lanes import Lane
from api.metrics import Metrics
from api.models.catalogue import Catalogue
from api.models.entry import Entry
from api.models.opening import make_changes, make_store
from api.running import Runner
from api.settings import PREFIX, InvalidSettings, Settings
from backends.errors import BackendError, InvalidTarget, told
from backends.programs import ProgramCache
from fusion.errors import FusionError, StoreFailed
from fusion.model import FusionModel
from fusion.shelf import Shelf

log = structlog.get_logger("snn_fusion")

SWEEP_EVERY_S = 600.0
UPLOADS_AT_ONCE = 2
"""Uploads that are read and stored at the same time."""
RECEIVING_AT_ONCE = 4
"""Uploads whose bodies lie in memory; one more is told to come again."""


class Keeper:
    """Keeps the models of one process ready to run.

    Args:
        settings: the deployment's settings.
        shelf: the models that ship.
        programs: where compiled programs come from.
        runner: what runs them.
        metrics: where the models in memory are counted.
        compiles: whether the default target is served here, so that models are compiled for it.
    """

    def __init__(
        self,
        settings: Settings,
        shelf: Shelf,
        programs: ProgramCache,
        runner: Runner,
        metrics: Metrics,
        *,
        compiles: bool,
    ) -> None:
        self._settings = settings
        self._compiles = compiles
        self._programs = programs
        self._runner = runner
        self._swept_s = time.monotonic()
        self._receiving = 0
        self.forgotten: list[Callable[[FusionModel], None]] = []
        self.loading = Lane("models", 4, 256)
        self.warming = Lane("warm-up of models", 1, 256)
        self.uploading = Lane("uploads", UPLOADS_AT_ONCE, 64)
        self.catalogue = Catalogue(
            shelf,
            make_store(settings),
            self,
            metrics,
            default=settings.model,
            budget_bytes=settings.models_memory_mib * 2**20,
            changes=make_changes(settings),
        )

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Around an upload, whose body lies in memory; on the event loop.

        Raises:
            QueueFull: if there are as many as may be.
        """
        if self._receiving == RECEIVING_AT_ONCE:
            raise QueueFull("uploads", self._receiving, 1.0)
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    def held_bytes(self) -> int:
        """Return what the programs hold in memory."""
        return self._programs.held_bytes()

    def forget(self, model: FusionModel) -> None:
        """Drop what was made of a model; runs on it end undisturbed."""
        self._programs.drop(model.digest)
        self._runner.forget(model)
        for forget in self.forgotten:
            forget(model)

    def warm_up(self) -> None:
        """Find all models, and compile those that should be ready, as far as memory goes."""
        self.catalogue.following.look()
        self.warm_untried()

    def warm_untried(self) -> None:
        """Compile what should be ready and was not tried: all that ships, the rest by memory."""
        for entry in self.catalogue.known.untried():
            if entry.stored is None or self.catalogue.memory.has_room:
                self.warm(entry)

    def warm(self, entry: Entry) -> None:
        """Compile a model for the default target, unless somebody did or does."""
        if not self.catalogue.known.claim(entry):
            return
        try:
            model = self.catalogue.memory.load(entry).model
            self._compile(model)
        except (FusionError, BackendError, InvalidTarget) as error:  # others may well be served
            log.warning("model not ready", model=entry.title, error=str(error))
            if not isinstance(error, StoreFailed):
                self.catalogue.known.note(entry, "failed", told(error))
            elif entry.state == "loading":  # the next look tries again
                self.catalogue.known.note(entry, "known", str(error))
        except Exception as error:
            log.exception("model not ready", model=entry.title)
            problem = f"the service failed: {type(error).__name__}"
            self.catalogue.known.note(entry, "failed", problem)
        else:
            self.catalogue.known.note(entry, "ready")

    def _compile(self, model: FusionModel) -> None:
        # A bare graph has no contract of its own to compile it under.
        if model.manifest is None or not self._compiles:
            return
        target = self._settings.target
        contract = self._programs.contract(target, model.contract())
        self._programs.get(model, target, contract)
        self._runner.wiring(model, contract)

    async def watch(self) -> None:
        """Look every now and then for what others changed in the store, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.store_poll_s)
            with suppress(QueueFull):
                await self.warming.submit(self.poll)

    def poll(self) -> None:
        """Look for what others changed, and compile what is new; sweep at times."""
        try:
            self.catalogue.following.look()
            self.warm_untried()
            if self._settings.uploads and time.monotonic() - self._swept_s > SWEEP_EVERY_S:
                self._swept_s = time.monotonic()
                self.catalogue.store.sweep()
        except Exception:
            log.exception("models not looked at")

    def close(self) -> None:
        """Drop what waits, and give back what other processes share."""
        for lane in (self.loading, self.warming, self.uploading):
            lane.close()
        self.catalogue.close()


def check_model(settings: Settings, catalogue: Catalogue) -> None:
    """Check that the model that settings name exists, as far as the store can be read.

    Raises:
        InvalidSettings: naming the variable.
    """
    if settings.model is None:
        return
    catalogue.following.look()
    try:
        catalogue.known.entry(settings.model)
    except UnknownName as error:
        if catalogue.following.store_failure is None:
            where = f"in {catalogue.shelf.folder} and {catalogue.store.objects.where}"
            raise InvalidSettings(f"{PREFIX}MODEL: {error.problem} {where}") from None
    except FusionError as error:
        log.warning("default model not usable", error=str(error))
