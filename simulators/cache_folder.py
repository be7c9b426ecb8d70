"""Where engines keep compiled code between starts."""

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)


def private_folder(chosen: Path | None, *names: str) -> Path | None:
    """Return a folder that only this user can write to, after making it.

    It is `names` under the chosen folder, else under `snn-fusion` in $XDG_CACHE_HOME or ~/.cache.
    Code is loaded from there, so a folder that belongs to somebody else is not used. None where no
    such folder can be made.
    """
    bases = [chosen, _user_cache()] if chosen else [_user_cache()]
    for base in bases:
        folder = base.joinpath(*names)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                problem = "cannot be written to"
            elif folder.stat().st_uid != os.getuid():
                problem = "belongs to another user"
            else:
                return folder
        except OSError as error:
            problem = str(error)
        _log.warning("compiled code is not kept in %s: %s", folder, problem)
    return None


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "snn-fusion"
