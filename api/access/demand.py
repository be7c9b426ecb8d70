"""Where callers have to be asked for keys."""

import structlog

from api.settings import PREFIX, InvalidSettings, Settings

log = structlog.get_logger("snn_fusion")

KEYS, WITHOUT = f"{PREFIX}KEYS_FILE", f"{PREFIX}WITHOUT_KEYS"
OWN_MACHINE = ("127.0.0.1", "::1", "localhost")


def demand_keys(settings: Settings) -> None:
    """Return if callers are asked for keys, or do not have to be.

    Raises:
        InvalidSettings: if not, naming the variable.
    """
    if settings.keys_file is not None and settings.without_keys:
        raise InvalidSettings(f"{WITHOUT}: contradicts {KEYS}; set one of them")
    if settings.keys_file is None and settings.env != "development" and not settings.without_keys:
        raise InvalidSettings(
            f"{KEYS}: is not set, and {PREFIX}ENV={settings.env} wants keys: make one with "
            f"`snn-fusion keys new`, or set {WITHOUT}=true to serve whoever asks"
        )


def warn_if_open(settings: Settings) -> None:
    """Say loudly if other machines may be served without a key."""
    alone = settings.env == "development" and settings.host in OWN_MACHINE
    if settings.keys_file is None and not alone:
        log.warning(
            "NO KEYS ARE ASKED FOR: whoever reaches this address may use every target and "
            "change the models",
            host=settings.host,
            remedy=f"set {KEYS}",
        )
