"""Where Lava lies: in an environment of its own, beside the service's."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from backends.errors import TargetUnavailable

VARIABLE = "SNN_FUSION_LAVA_PYTHON"
"""Environment variable that names the interpreter of Lava's environment."""
HINT = f"`make lava` makes .venv-lava; or name an interpreter in options.python or {VARIABLE}"
_BESIDE = Path(__file__).parents[1] / ".venv-lava/bin/python"
_START_S = 60.0
_TRY = """
import importlib.metadata, importlib.util, sys
missing = [m for m in ("lava", "numpy", "scipy", "networkx", "asteval", "msgspec")
           if importlib.util.find_spec(m) is None]
if missing:
    sys.exit("it lacks " + ", ".join(missing))
version = importlib.metadata.version("lava-nc")
if version != "0.10.0":
    sys.exit("it has lava-nc " + version + ", not 0.10.0")
"""


def lava_python(target: str, option: str | None = None) -> str:
    """Return the interpreter of an environment that has Lava and all it needs.

    Args:
        target: whom errors name.
        option: the target's option `python`, before the environment variable and `.venv-lava`.

    Raises:
        TargetUnavailable: saying what is missing and what to do.
    """
    named = option or os.environ.get(VARIABLE)
    if named is None and not _BESIDE.exists():
        raise TargetUnavailable(target, "Lava's environment is not installed", HINT)
    python = str(Path(named).expanduser()) if named else str(_BESIDE)
    problem = _problem(python)
    if problem is not None:
        _problem.cache_clear()  # what is missing may be installed meanwhile
        raise TargetUnavailable(target, f"{python} cannot run Lava: {problem}", HINT)
    return python


@lru_cache
def _problem(python: str) -> str | None:
    try:
        done = subprocess.run(
            [python, "-P", "-c", _TRY],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (said[-1] if said else "it says nothing")
