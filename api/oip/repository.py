"""Models as the protocol's repository: what there is, and loading and unloading it."""

from collections.abc import Callable
from pathlib import Path

from api.errors import NotSupported, UnknownName
from api.oip.replies import IndexEntry
from api.service import Service
from fusion.errors import InvalidInput, InvalidModel
from fusion.model import FusionModel
from fusion.shelf import ShelvedModel


def unready(service: Service, model: FusionModel) -> str | None:
    """Return why a loaded model is not ready on the default target, None if it is."""
    problem = service.health.problems.get(model.name)
    if problem is None and not service.health.started:
        return "models are being compiled"
    return problem


def index(service: Service) -> list[IndexEntry]:
    """Return every model in the folder, with its state and the reason if it is not READY."""
    shelf = service.shelf
    entries = [_entry(service, shelved.model) for shelved in shelf.models.values()]
    entries += [
        {"name": Path(path).stem, "state": "UNAVAILABLE", "reason": str(problem)}
        for path, problem in shelf.problems.items()
    ]
    for name, shelved in shelf.unloaded.items():
        version = version_of(shelved.model)
        entries.append(
            {"name": name, "version": version, "state": "UNAVAILABLE", "reason": "unloaded"}
        )
    return entries


def load(service: Service, name: str) -> ShelvedModel:
    """Read a model anew from its folder, and compile it for the default target.

    Raises:
        NotSupported: if other processes would not know.
        UnknownName: if there is no such model.
        InvalidModel: if it cannot be read, or the default target cannot run it.
    """
    _check_alone(service)
    before = service.shelf.models.get(name)
    shelved = _found(service.shelf.load, name)
    if before is not None and before.model.digest != shelved.model.digest:
        service.forget(before.model)
    if shelved.model.manifest is not None:
        service.make_ready(shelved.model)
        problem = service.health.problems.get(name)
        if problem is not None:
            raise InvalidModel("model", f"is loaded, but not ready: {problem}")
    return shelved


def unload(service: Service, name: str) -> ShelvedModel:
    """Take a model off the shelf, and drop its programs; runs on them end undisturbed.

    Raises:
        NotSupported: if other processes would not know.
        UnknownName: if there is no such model.
        NotLoaded: if it has been unloaded before.
    """
    _check_alone(service)
    shelved = _found(service.shelf.unload, name)
    service.forget(shelved.model)
    return shelved


def version_of(model: FusionModel) -> str:
    """Return a model's version, empty for a bare graph."""
    return model.manifest.version if model.manifest else ""


def _entry(service: Service, model: FusionModel) -> IndexEntry:
    reason = unready(service, model)
    state = "READY" if reason is None else "UNAVAILABLE"
    if reason is not None and not service.health.started:
        state = "LOADING"
    return {
        "name": model.name,
        "version": version_of(model),
        "state": state,
        "reason": reason or "",
    }


def _found(change: Callable[[str], ShelvedModel], name: str) -> ShelvedModel:
    try:
        return change(name)
    except InvalidInput as error:
        raise UnknownName(error.field, error.problem, error.nearest) from None


def _check_alone(service: Service) -> None:
    if service.settings.workers > 1:
        raise NotSupported(
            f"models are loaded and unloaded in one process, and this server has "
            f"{service.settings.workers}: run it with SNN_FUSION_WORKERS=1"
        )
