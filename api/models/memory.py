"""Which models are in memory, how they come there, and which leave to make room."""

import itertools
from typing import Protocol

import structlog

from api.errors import UnknownName
from api.metrics import Metrics
from api.models.entry import Entry
from api.models.known import Known
from fusion.errors import Damaged, InvalidInput, InvalidModel
from fusion.held import held_bytes
from fusion.model import FusionModel
from fusion.shelf import ShelvedModel
from fusion.store import ModelStore

log = structlog.get_logger("snn_fusion")


class Programs(Protocol):
    """What is made of models, as the catalogue needs to know it."""

    def held_bytes(self) -> int:
        """Return what all of it holds in memory."""

    def forget(self, model: FusionModel) -> None:
        """Drop what was made of a model."""


class Memory:
    """The models of one process that are in memory; safe to use from several threads.

    Args:
        known: all models.
        store: the models that were uploaded.
        programs: what is made of models.
        metrics: where the models in memory are counted.
        budget_bytes: models and programs in memory; stored models beyond it leave, the longest
            unused first.
    """

    def __init__(
        self,
        known: Known,
        store: ModelStore,
        programs: Programs,
        metrics: Metrics,
        budget_bytes: int,
    ) -> None:
        self._known = known
        self._store = store
        self._programs = programs
        self._metrics = metrics
        self.budget_bytes = budget_bytes
        self._uses = itertools.count(1)

    def use(self, entry: Entry) -> None:
        """Note that an entry is used now."""
        entry.used = next(self._uses)

    def load(self, entry: Entry) -> ShelvedModel:
        """Return an entry's model, read from the store if it is not in memory.

        Raises:
            UnknownName: if it was deleted.
            InvalidModel, StoreFailed: if it cannot be read.
        """
        with entry.gate:
            self.use(entry)
            if entry.shelved is not None:
                return entry.shelved
            shelved = _keep(entry, self._read(entry))
        self.trim()
        return shelved

    def _read(self, entry: Entry) -> FusionModel:
        assert entry.stored is not None
        try:
            model = self._store.read(entry.stored)
        except InvalidInput as error:
            raise UnknownName(error.field, error.problem) from None
        except (Damaged, InvalidModel) as error:
            entry.state, entry.problem = "damaged", str(error)
            self._known.retable()
            raise
        if entry.state == "damaged":  # somebody mended it
            entry.state, entry.problem = "known", None
        return model

    def keep(self, entry: Entry, model: FusionModel) -> None:
        """Have an entry's model in memory that somebody has read already."""
        with entry.gate:
            if entry.shelved is None:
                _keep(entry, model)
            self.use(entry)

    def trim(self) -> None:
        """Let stored models leave the memory until the rest is within the budget.

        The one that was used last stays, whatever it holds.
        """
        with self._known.lock:
            here = sorted(
                (one for one in self._known.entries.values() if one.stored and one.shelved),
                key=lambda one: one.used,
            )
            for entry in here[:-1]:
                if self.held_bytes <= self.budget_bytes:
                    break
                self.drop(entry)
                self._metrics.models_evicted.inc()
                log.info("model left the memory", model=entry.title)
            self.count()

    def drop(self, entry: Entry) -> None:
        """Let a model leave the memory; runs on it end undisturbed."""
        shelved, entry.shelved = entry.shelved, None
        if shelved is not None:
            self._programs.forget(shelved.model)

    def forget_programs(self, entry: Entry) -> None:
        """Drop what was made of an entry's model, if it is in memory."""
        if entry.shelved is not None:
            self._programs.forget(entry.shelved.model)

    def count(self) -> None:
        """Set the gauges of what is in memory."""
        loaded = sum(one.shelved is not None for one in self._known.entries.values())
        self._metrics.models_loaded.set(loaded)
        self._metrics.models_memory.set(self.held_bytes)

    @property
    def held_bytes(self) -> int:
        """What models and programs hold in memory."""
        entries = self._known.entries.values()
        held = sum(one.held_bytes for one in entries if one.shelved is not None)
        return held + self._programs.held_bytes()

    @property
    def has_room(self) -> bool:
        """Whether less is in memory than may be."""
        return self.held_bytes < self.budget_bytes


def _keep(entry: Entry, model: FusionModel) -> ShelvedModel:
    shelved = ShelvedModel(None, model)
    entry.held_bytes = held_bytes(model)
    entry.shelved = shelved
    return shelved
