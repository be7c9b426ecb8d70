"""The store that settings name, and what tells a service of its changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import CollectorRegistry

from api.metrics import Metrics
from api.models.catalogue import Catalogue
from api.models.changes import Changes, Unshared
from api.models.remote import make_objects
from api.settings import Settings
from fusion.model import FusionModel
from fusion.shelf import Shelf
from fusion.store import ModelStore

log = structlog.get_logger("snn_fusion")


def make_store(settings: Settings) -> ModelStore:
    """Return the store that the settings name."""
    return ModelStore(make_objects(settings.store_address), settings.model_limits)


def make_changes(settings: Settings) -> Changes | Unshared:
    """Return the counter that the processes of a service share, if they can share one."""
    try:
        return Changes(settings.data_dir / "models.changes")
    except OSError as error:
        log.warning("changes of models are not told at once", error=str(error))
        return Unshared()


@contextmanager
def changing(settings: Settings) -> Iterator[ModelStore]:
    """Give the store to change it from outside of a service, and tell the service."""
    changes = make_changes(settings)
    try:
        yield make_store(settings)
        changes.tell()
    finally:
        changes.close()


def make_offline_catalogue(settings: Settings) -> Catalogue:
    """Return all models for one run without a server."""
    shelf = Shelf(settings.models_dir, settings.model_limits)
    metrics = Metrics(CollectorRegistry())
    return Catalogue(shelf, make_store(settings), _NoPrograms(), metrics, default=settings.model)


class _NoPrograms:
    """Nothing is made of models before they are run."""

    def held_bytes(self) -> int:
        return 0

    def forget(self, model: FusionModel) -> None:
        """Do nothing."""
