"""The compiled engine as a backend: in this process, in machine code made by Numba."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from backends.base import Target
from backends.errors import InvalidTarget, TargetUnavailable
from backends.in_process import Engine, InProcessBackend
from simulators.plan import Plan

_MOST_THREADS = 64


class CpuBackend(InProcessBackend):
    """Runs models in the compiled engine, with the reference engine's bits.

    Options of the target are `cache_dir`, a folder for compiled code, by default in that of the
    user; and `threads`, how many may share the samples of a batch, 1 to 64, by default 2. They do
    where that pays, and as long as the process has cores that no other run uses.

    Raises:
        InvalidTarget: naming the option that is wrong.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if unknown := sorted(target.options.keys() - {"cache_dir", "threads"}):
            raise InvalidTarget(f"{target.name}.yaml.options.{unknown[0]}: is unknown")
        chosen = target.options.get("cache_dir")
        if not isinstance(chosen, str | None):
            raise InvalidTarget(f"{target.name}.yaml.options.cache_dir: is {chosen!r}, no path")
        self._cache_dir = Path(chosen).expanduser() if chosen else None
        threads = target.options.get("threads", 2)
        if type(threads) is not int or not 1 <= threads <= _MOST_THREADS:
            raise InvalidTarget(
                f"{target.name}.yaml.options.threads: is {threads!r}, not 1 to {_MOST_THREADS}"
            )
        self._threads = threads

    def available(self) -> None:
        """Return if Numba can be used.

        Raises:
            TargetUnavailable: if not.
        """
        problem = why_numba_fails()
        if problem is not None:
            hint = "pip install numba, in a version for this Python and this NumPy; or target numpy"
            raise TargetUnavailable(self.target.name, problem, hint)

    def warm_up(self) -> None:
        """Load the kernels, or compile them where no earlier start has.

        Raises:
            TargetUnavailable: if Numba cannot be used.
        """
        self.available()
        from simulators.compiled_loading import load_kernels  # noqa: PLC0415 (it needs Numba)

        load_kernels(self._cache_dir)

    def engine(self, plan: Plan) -> Engine:
        """Return the compiled engine for a plan."""
        self.warm_up()
        from simulators.compiled import CompiledEngine  # noqa: PLC0415 (it needs Numba)

        return CompiledEngine(plan, self._threads)


@cache
def why_numba_fails() -> str | None:
    """Return why Numba cannot be imported, None if it can."""
    try:
        import_module("numba")
    except Exception as error:  # it refuses versions of Python and NumPy in ways of its own
        return f"Numba cannot be imported: {error}"
    return None


def default_target(served: Sequence[str]) -> str:
    """Return the fastest target that runs here, of those served; without a list, all are."""
    for name in ("cpu", "numpy"):
        if (not served or name in served) and (name != "cpu" or why_numba_fails() is None):
            return name
    return served[0]
