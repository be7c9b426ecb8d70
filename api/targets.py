"""The targets and models that a deployment names, and whether targets can be used now."""

from api.replies import AvailabilityReply
from api.settings import PREFIX, InvalidSettings, Settings
from backends.errors import BackendError, InvalidTarget, TargetUnavailable, UnknownTarget, told
from backends.registry import Registry


def make_registry(settings: Settings) -> Registry:
    """Return the targets that ship and those of the deployment's own folder."""
    folders = [settings.hw_configs] if settings.hw_configs else []
    return Registry(folders, settings.size_limits)


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


def check_targets(settings: Settings, registry: Registry) -> None:
    """Check that the targets that settings name exist.

    Raises:
        InvalidSettings: naming the variable.
    """
    known = ", ".join(sorted(registry.targets))
    for variable, name in (
        ("TARGET", settings.target),
        *(("TARGETS", name) for name in settings.served(registry.targets)),
        *(("PEERS", name) for name in settings.peers),
        ("SHADOW_TARGET", settings.shadow_target),
    ):
        if name is not None and name not in registry.targets:
            raise InvalidSettings(f"{PREFIX}{variable}: {name!r} is no target (known: {known})")
