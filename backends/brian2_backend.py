"""Brian2 as a backend, in a child process: its state is global and its import slow."""

import importlib.util
from pathlib import Path
from typing import Any

from backends.base import Backend, Program, Target, Violation
from backends.checks import check_plan
from backends.errors import InvalidTarget, ModelRejected, RunFailed, TargetUnavailable
from backends.host import ChildHost
from backends.simulated import HostedProgram, from_tree, to_tree
from backends.worker import Opened
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.plan import make_plan
from simulators.reference import SUPPORTED

_CODEGENS = ("auto", "cython", "numpy")


class Brian2Backend(Backend):
    """Runs models in Brian2; all programs of a target share one child process.

    The target's options are `codegen` (`auto`, `cython` or `numpy`; see `Brian2Engine`) and
    `cache_dir`, a folder for compiled code.

    Raises:
        InvalidTarget: naming the option that is wrong.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options = {"codegen": "auto", "cache_dir": None, **target.options}
        if unknown := sorted(options.keys() - {"codegen", "cache_dir"}):
            raise InvalidTarget(f"{target.name}.yaml.options.{unknown[0]}: is unknown")
        if options["codegen"] not in _CODEGENS:
            raise InvalidTarget(
                f"{target.name}.yaml.options.codegen: is {options['codegen']!r}, "
                f"allowed {' or '.join(_CODEGENS)}"
            )
        self._options = options
        self._host = ChildHost(target.name, f"{__name__}:open_program")

    def available(self) -> None:
        """Return if Brian2 is installed.

        Raises:
            TargetUnavailable: if not.
        """
        # The child has this environment; importing Brian2 here would cost seconds and leave traces.
        if importlib.util.find_spec("brian2") is None:
            raise TargetUnavailable(
                self.target.name, "Brian2 is not installed", "pip install 'brian2>=2.9'"
            )

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        return check_plan(model.graph, contract, self.target.capabilities, SUPPORTED)

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model as a program in the child process."""
        self.available()
        violations = self.check(model, contract)
        if violations:
            raise ModelRejected(self.target.name, violations)
        parts = {"plan": to_tree(make_plan(model.graph, contract)), **self._options}
        try:
            return HostedProgram(self._host, parts, self.target.max_run_s)
        except RunFailed as error:
            hint = "without a C++ compiler, set options.codegen to numpy"
            raise TargetUnavailable(self.target.name, str(error), hint) from error

    def close(self) -> None:
        """End the child process; a later run starts a fresh one."""
        self._host.close()


def open_program(parts: dict[str, Any]) -> Opened:
    """Return a compiled plan, in the child."""
    from simulators.brian2_engine import Brian2Engine  # noqa: PLC0415 (only the child imports it)

    cache_dir = parts["cache_dir"]
    engine = Brian2Engine(
        from_tree(parts["plan"]),
        codegen=parts["codegen"],
        cache_dir=Path(cache_dir).expanduser() if cache_dir else None,
    )
    return lambda request: to_tree(engine.run(**request))
