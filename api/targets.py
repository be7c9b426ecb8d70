"""The targets of a deployment, and whether they can be used here and now."""

from api.replies import AvailabilityReply
from api.settings import Settings
from backends.errors import BackendError, TargetUnavailable, UnknownTarget, told
from backends.registry import InvalidTarget, Registry


def make_registry(settings: Settings) -> Registry:
    """Return the targets that ship and those of the deployment's own folder."""
    return Registry([settings.hw_configs] if settings.hw_configs else [])


def availability(registry: Registry, name: str) -> AvailabilityReply:
    """Return whether a target can be used, else why not and what to do.

    Raises:
        UnknownTarget: if there is no such target.
    """
    try:
        registry.backend(name).available()
    except UnknownTarget:
        raise
    except (BackendError, InvalidTarget) as error:
        return unavailable(error)
    return {"available": True, "reason": None, "hint": None}


def unavailable(error: BackendError | InvalidTarget) -> AvailabilityReply:
    """Return what an error says about why a target cannot be used."""
    if isinstance(error, TargetUnavailable):
        reason = error.reason.partition("\n")[0]
        return {"available": False, "reason": reason, "hint": error.hint}
    return {"available": False, "reason": told(error), "hint": None}
