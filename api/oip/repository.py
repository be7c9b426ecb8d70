"""Models as the protocol's repository: what there is, and loading and unloading it."""

from collections.abc import Iterator
from pathlib import Path

from api.errors import NotSupported
from api.models.entry import Entry
from api.models.table import Family
from api.oip.replies import IndexEntry
from api.service import Service
from api.settings import PREFIX
from fusion.errors import InvalidModel
from fusion.model import FusionModel


def unready(service: Service, model: FusionModel) -> str | None:
    """Return why a model is not ready on the default target, None if it is."""
    return _reason(service, service.models.known.entry(model.digest))


def _reason(service: Service, entry: Entry) -> str | None:
    if entry.problem is None and not service.health.started:
        return "models are being compiled"
    return "is being compiled" if entry.state == "loading" else entry.problem


def index(service: Service) -> list[IndexEntry]:
    """Return every version of every model, with its state and the reason if it is not READY."""
    service.models.following.look()
    entries = [
        one for family in service.models.families.values() for one in _family(service, family)
    ]
    entries += [
        {"name": Path(path).stem, "state": "UNAVAILABLE", "reason": str(problem)}
        for path, problem in service.models.problems()
    ]
    return entries


def _family(service: Service, family: Family) -> Iterator[IndexEntry]:
    for one in family.entries:
        reason = "unloaded" if family.unloaded else _reason(service, one)
        state = "READY" if reason is None else "UNAVAILABLE"
        if reason is not None and one.problem is None and not family.unloaded:
            state = "LOADING"
        yield {"name": one.name, "version": one.version, "state": state, "reason": reason or ""}


def load(service: Service, name: str) -> Entry:
    """Read a model anew in every process, and compile it here for the default target.

    Raises:
        NotSupported: if others would not know.
        UnknownName: if there is no such model.
        InvalidModel: if it cannot be read, or the default target cannot run it.
    """
    _check_shared(service)
    service.models.switch(name, unloaded=False)
    service.keeper.warm_untried()
    entry = service.models.family(name).chosen
    if entry.problem is not None:
        raise InvalidModel("model", f"is loaded, but not ready: {entry.problem}")
    return entry


def unload(service: Service, name: str) -> Entry:
    """Take a model out of every process, and drop its programs; runs on it end undisturbed.

    Raises:
        NotSupported: if others would not know.
        UnknownName: if there is no such model.
        NotLoaded: if it has been unloaded before.
    """
    _check_shared(service)
    service.models.switch(name, unloaded=True)
    return service.models.family(name).chosen


def version_of(model: FusionModel) -> str:
    """Return a model's version, empty for a bare graph."""
    return model.manifest.version if model.manifest else ""


def _check_shared(service: Service) -> None:
    if not service.settings.uploads:
        raise NotSupported(
            "models are loaded and unloaded through a store that all replicas share, and "
            f"{PREFIX}UPLOADS=false says that there is none"
        )
