"""Brian2's code generation, held to the defined order and rounding of every addition.

Brian2's preferences are global, so they are set only while a network is built or prepared, under
one lock. The only place, beside `brian2_network`, that imports Brian2.
"""

import hashlib
import logging
import os
import platform
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

Codegen = Literal["auto", "cython", "numpy"]

COMPILER_FLAGS = ("-w", "-O3", "-ffp-contract=off", "-std=c++11")
"""No -ffast-math and no fused multiply-add, which round differently; no -march=native, because
machines of different make may share one cache."""


class CannotCompile(RuntimeError):
    """Code for Brian2's target `cython` cannot be compiled here."""


_lock = threading.RLock()
_log = logging.getLogger(__name__)


def _imported() -> Any:
    """Import Brian2 without the traces it leaves in the process: hooks, handlers, a log file."""
    hook = sys.excepthook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2  # noqa: PLC0415 (its import is what has to be guarded)
    sys.excepthook = hook
    logging.captureWarnings(False)
    logger = brian2.BrianLogger
    if logger.file_handler is not None:
        logging.getLogger("brian2").removeHandler(logger.file_handler)
        logger.file_handler.close()
        Path(logger.tmp_log).unlink(missing_ok=True)
        logger.file_handler = logger.tmp_log = None
    logging.getLogger("brian2").setLevel(logging.ERROR)
    return brian2


b2: Any = _imported()


def _function(name: str, python: Any, arguments: str, value: str) -> Any:
    """Return a function of numbers for generated code; in C it computes in double."""
    parameters = arguments.split(", ")
    cython = f"""
    @_cython.cdivision(True)
    cdef double _{name}({", ".join(f"double {parameter}" for parameter in parameters)}) noexcept:
        return {value}
    """
    made = b2.Function(python, arg_units=[None] * len(parameters), return_unit=1)
    made.implementations.add_implementation("cython", cython, name=f"_{name}")
    return made


FUNCTIONS = {
    "where": _function("where", np.where, "test, one, other", "one if test else other"),
    "quotient": _function("quotient", np.divide, "x, y", "x / y"),
    "whole": _function("whole", np.floor, "x", "floor(x)"),
}
"""What Brian2's language lacks: a choice between two values, a quotient that may overflow, and ⌊x⌋
as a number of x's type."""


@contextmanager
def preferences(
    target: str, dtype: np.dtype[np.floating], cache: Path | None = None
) -> Iterator[None]:
    """Set Brian2's preferences for code of one target (`numpy` or `cython`), and put them back."""
    wanted = {
        "codegen.target": target,
        "codegen.loop_invariant_optimisations": False,
        "core.default_float_dtype": dtype.type,
        "codegen.cpp.extra_compile_args": list(COMPILER_FLAGS),
        "codegen.cpp.extra_compile_args_gcc": list(COMPILER_FLAGS),
    }
    if cache is not None:
        wanted["codegen.runtime.cython.cache_dir"] = str(cache)
    with _lock:
        before = {name: b2.prefs[name] for name in wanted}
        try:
            for name, value in wanted.items():
                b2.prefs[name] = value
            yield
        finally:
            for name, value in before.items():
                b2.prefs[name] = value


def check_compiler() -> None:
    """Return if a compiler takes every flag; Brian2 would drop one that it could not try.

    Raises:
        CannotCompile: if not.
    """
    from brian2.codegen import cpp_prefs  # noqa: PLC0415 (see `_imported`)

    _, flags = cpp_prefs.get_compiler_and_args()
    missing = [flag for flag in COMPILER_FLAGS if flag not in flags]
    if missing:
        # Brian2 would remember the failure as long as the process lives; a full disk does not last.
        cpp_prefs._compiler_flag_compatibility.clear()
        raise CannotCompile(f"no C++ compiler here takes {' '.join(missing)}")


def cache_folder(chosen: Path | None) -> Path:
    """Return a writable folder for compiled modules.

    Brian2 names a module by its source text only, so the folder is named by everything else that
    decides its bits. Without a choice it is under $XDG_CACHE_HOME or ~/.cache; where that cannot be
    written, a temporary folder takes its place.
    """
    parts = (*COMPILER_FLAGS, platform.machine(), b2.__version__)
    name = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
    for parent in (chosen, _user_cache()) if chosen else (_user_cache(),):
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
        except OSError as error:
            _log.warning("cannot keep compiled code in %s: %s", folder, error)
    return Path(tempfile.mkdtemp(prefix="snn-fusion-brian2-"))


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "snn-fusion" / "brian2"
