"""The kernels in machine code: loaded from a folder of compiled code, else compiled and kept there.

Everything that a run can call is loaded once a process, and nothing is compiled after that. Numba's
own cache trusts what it finds; a damaged file would stop the process. So each set of kernels has a
folder, named by all that decides its code, which appears whole or not at all and is used only while
the checksums of its files are right. Neither where the sources lie nor when they were written
matters, so a set may be made while an image is built, beside the code.
"""

import hashlib
import json
import logging
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.registry import cpu_target
from numba.core.types import (
    Array,
    Tuple,
    boolean,
    float32,
    float64,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    void,
)

from fusion import weighing
from fusion.machine_code import use_machine_code
from simulators import compiled_events
from simulators.cache_folder import private_folder
from simulators.compiled_inputs import count_active, list_ones, list_raster, list_sparse
from simulators.compiled_loihi import step_samples
from simulators.compiled_run import run

_CHECKSUMS = "checksums.json"
_KEPT_SETS = 16

BESIDE_CODE = Path(__file__).parent / "machine_code"
"""Sets for everyone who uses this installation, trusted as its sources are."""

_log = logging.getLogger(__name__)
_lock = Lock()
_loaded = False


def load_kernels(cache_dir: Path | None = None) -> None:
    """Load or compile every kernel; later calls do nothing.

    Compiling takes some ten seconds, loading a fraction of one. Where nothing can be kept, kernels
    are compiled at every start.

    Args:
        cache_dir: folder for compiled code; by default that of the user, see `private_folder`.
    """
    global _loaded  # noqa: PLW0603 (machine code is a property of the process)
    with _lock:
        if _loaded:
            return
        shipped = BESIDE_CODE / kernels_key()
        if intact(shipped):
            _compile_all(shipped)
        elif (base := private_folder(cache_dir, "compiled")) is not None:
            _load_or_compile(base)
        else:
            _compile_all()
        for kernel, _ in kernels():
            kernel.disable_compile()
        use_machine_code(compiled_events)
        _loaded = True


def keep_beside_code() -> Path:
    """Compile every kernel, where that is not done yet, into a folder beside the code.

    Every user can read it, as the sources.

    Raises:
        OSError: if it cannot be written there.
    """
    folder = BESIDE_CODE / kernels_key()
    BESIDE_CODE.mkdir(exist_ok=True)
    with _alone(BESIDE_CODE):
        if not intact(folder):
            _make(BESIDE_CODE, folder)
    if not intact(folder):
        raise OSError(f"compiled code could not be kept in {folder}")
    folder.chmod(0o755)  # temporary folders are for their maker alone
    return folder


def _load_or_compile(base: Path) -> None:
    folder = base / kernels_key()
    if not intact(folder):
        with _alone(base):
            if not intact(folder):  # nobody else has made it meanwhile
                _make(base, folder)
                return
    _compile_all(folder)


def _make(base: Path, folder: Path) -> None:
    """Compile into a new folder and put it in place, whole."""
    try:
        made = Path(tempfile.mkdtemp(prefix=".", dir=base))
        _compile_all(made)
        (made / _CHECKSUMS).write_text(json.dumps(_checksums(made)))
        if folder.exists():
            _log.warning("%s was damaged and is made anew", folder)
            folder.rename(made / "damaged")
            shutil.rmtree(made / "damaged")
        made.rename(folder)
    except OSError as error:  # a full disk; what was compiled runs all the same
        _log.warning("compiled code is not kept in %s: %s", folder, error)
    finally:
        _tidy(base)


def _compile_all(folder: Path | None = None) -> None:
    """Compile every kernel, or load it from the folder if it is there.

    Raises:
        OSError: if compiled code could not be written; all kernels can be called nevertheless.
    """
    unwritten: OSError | None = None
    for kernel, signatures in kernels():
        if folder is not None:
            kernel._cache = _cache_in(folder)(kernel.py_func)
        for signature in signatures:
            try:
                kernel.compile(signature)
            except OSError as error:  # it is compiled, only its file could not be written
                unwritten = error
    if unwritten is not None:
        raise unwritten


def _cache_in(folder: Path) -> Any:
    """Return a class of Numba's caches that keeps everything in one folder, whose name says all."""

    class InFolder:
        @classmethod
        def from_function(cls, *_: Any) -> "InFolder":
            return cls()

        def get_cache_path(self) -> str:
            return str(folder)

        def ensure_cache_path(self) -> None:
            folder.mkdir(exist_ok=True)

        def get_source_stamp(self) -> str:
            return ""

        def get_disambiguator(self) -> str:
            return ""

    class Implementation(CompileResultCacheImpl):
        _locator_classes: Any = [InFolder]  # noqa: RUF012 (as Numba has it)

    class Cache(FunctionCache):
        _impl_class = Implementation

    return Cache


def kernels_key() -> str:
    """Return a name for everything that decides the kernels' code: sources, versions, the CPU."""
    sources = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("compiled_*.py")), Path(weighing.__file__)]:
        sources.update(repr((path.name, path.read_bytes())).encode())
    cpu = cpu_target.target_context.codegen().magic_tuple()
    versions = numba.__version__, llvmlite.__version__, np.__version__, platform.python_version()
    text = repr((sources.hexdigest(), cpu, versions, platform.python_implementation()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def intact(folder: Path) -> bool:
    """Return whether a folder holds a set of kernels with every file as it was written."""
    try:
        written: Any = json.loads((folder / _CHECKSUMS).read_text())
        return bool(written == _checksums(folder))
    except (OSError, ValueError):
        return False


def _checksums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _CHECKSUMS
    }


@contextmanager
def _alone(base: Path) -> Iterator[None]:
    """Let one process at a time compile; the others then find what it made."""
    with (base / ".lock").open("w") as file:
        with suppress(OSError):  # a file system without locks: compile twice, then
            flock(file, LOCK_EX)
        yield


def _tidy(base: Path) -> None:
    """Remove what was broken off, and all but the newest sets: other machines may use those."""
    folders = [path for path in base.iterdir() if path.is_dir()]
    sets = [path for path in folders if not path.name.startswith(".")]
    old = sorted(sets, key=lambda path: path.stat().st_mtime)[:-_KEPT_SETS]
    for path in {*folders} - {*sets} | {*old}:
        shutil.rmtree(path, ignore_errors=True)


def kernels() -> Iterator[tuple[Any, list[Any]]]:
    """Yield every kernel with the signatures that it can be called with."""
    yield run, [_run_signature(real) for real in (float32, float64)]
    rasters = [Array(kind, 1, "C", readonly=True) for kind in (uint8, float32, float64)]
    yield count_active, [int64(raster) for raster in rasters]
    rows, active = Array(int64, 1, "C"), Array(int32, 1, "C")
    yield list_ones, [boolean(raster, rows, active, int64, int64) for raster in rasters]
    values = [Array(real, 1, "C") for real in (float32, float64)]
    yield (
        list_raster,
        [int64(raster, rows, active, v, int64) for raster in rasters for v in values],
    )
    yield step_samples, [_loihi_signature()]
    starts, channels = (Array(kind, 1, "C", readonly=True) for kind in (int64, int32))
    yield (
        list_sparse,
        [int64(starts, channels, v, int64, rows, active, v, int64) for v in values],
    )

    text, numbers = Array(uint8, 1, "C", readonly=True), Array(int64, 1, "C")
    yield compiled_events.scan_integers, [int64(text, numbers)]
    events, weights = (Array(kind, 1, "C", readonly=True) for kind in (int32, float32))
    times, floats = Array(int64, 1, "C", readonly=True), Array(float32, 1, "C")
    yield (
        compiled_events.are_in_order,
        [boolean(times, lines, int64, int64) for lines in (events, times)],
    )
    yield (
        compiled_events.scan_events,
        [int64(times, events, weights, starts, int64, boolean, rows, active, floats)],
    )
    matrix, vector = Array(float64, 2, "C"), Array(float64, 1, "C")
    parts = Tuple((int64, float64, float64))  # type: ignore[no-untyped-call]
    yield compiled_events.weigh, [parts(matrix, vector, matrix, vector)]


def _run_signature(real: Any) -> Any:
    numbers, table = Array(int64, 1, "C"), Array(int64, 2, "C")
    reals, state = Array(real, 1, "C"), Array(real, 2, "C")
    bytes_, indices = Array(uint8, 1, "C"), Array(int32, 1, "C")
    return void(
        *(table, table, table, numbers, real, reals, reals, bytes_),
        *(numbers, Array(uint16, 1, "C"), indices, reals, numbers, numbers),
        *(table, int64, int64, int64),
        *(table, numbers, numbers, numbers, indices, reals),
        *(reals, state, reals, indices, table, numbers),
    )


def _loihi_signature() -> Any:
    numbers, table = Array(int64, 1, "C"), Array(int64, 2, "C")
    indices = Array(int32, 1, "C")
    return void(
        *(table, table, Array(int32, 2, "C"), Array(uint8, 1, "C"), Array(int16, 1, "C")),
        *(numbers, indices, numbers, table, numbers, indices, indices, int64),
        *(int64, int64, indices, int64, numbers, indices, Array(int64, 3, "C"), numbers),
    )
