"""Lava's CPU process models as a backend, in Loihi's integers or in floats; one child a program."""

import threading
import weakref
from collections.abc import Collection, Mapping
from typing import Any

from backends.base import Backend, Program, RunResult, Target, Violation
from backends.checks import NODE_TYPE, check_plan
from backends.contracts import LOIHI
from backends.errors import InvalidTarget, ModelRejected, RunFailed, TargetUnavailable
from backends.host import ChildHost
from backends.lava_engine import LavaEngine, lava_host
from backends.lava_environment import lava_python
from backends.lava_float import SUPPORTED, float_violations
from backends.lava_float_engine import LavaFloatEngine
from backends.loihi import check_loihi, cores_of, integers_of
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.plan import make_plan
from simulators.trace import Raster, State


class LavaBackend(Backend):
    """Runs models in Lava 0.10.0, in an environment of its own.

    A target whose arithmetic is Loihi's integers runs quantised models, another one graphs.
    A child runs one program; the target's options are `python`, the interpreter of Lava's
    environment (by default what `SNN_FUSION_LAVA_PYTHON` names, else `.venv-lava`), and
    `max_children`, how many children stay alive for the next request. An idle child makes room.

    Raises:
        InvalidTarget: naming the option that is wrong.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options = {"python": None, "max_children": 2, **target.options}
        if unknown := sorted(options.keys() - {"python", "max_children"}):
            raise InvalidTarget(f"{target.name}.yaml.options.{unknown[0]}: is unknown")
        self._python = _checked(target, "python", options["python"], str | None)
        self._children = _Children(_checked(target, "max_children", options["max_children"], int))

    @property
    def _in_integers(self) -> bool:
        return self.target.capabilities.arithmetic == (LOIHI,)

    def available(self) -> None:
        """Return if Lava is installed; see `Backend.available`."""
        lava_python(self.target.name, self._python)

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        if self._in_integers:
            return check_loihi(model, contract, self.target.capabilities)
        found = check_plan(model.graph, contract, self.target.capabilities, SUPPORTED)
        if not any(one.limit in (NODE_TYPE, "choice") for one in found):
            found += float_violations(make_plan(model.graph, contract))
        return found

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model as a program in a child of its own."""
        python = lava_python(self.target.name, self._python)
        violations = self.check(model, contract)
        if violations:
            raise ModelRejected(self.target.name, violations)
        host = lava_host(self.target.name, python)
        self._children.use(host)
        try:
            engine = _engine(model, contract, host)
        except RunFailed as error:
            hint = "see the log of the service; shared memory and processes are what Lava needs"
            raise TargetUnavailable(self.target.name, str(error), hint) from error
        return LavaProgram(engine, host, self._children, self.target.max_run_s)

    def cores(self, model: FusionModel, contract: ExecutionContract) -> int | None:  # noqa: ARG002
        """Return the cores of one chip that the model's integers take."""
        return cores_of(model, self.target.capabilities) if self._in_integers else None

    def close(self) -> None:
        """End every child; a later run starts a fresh one."""
        self._children.close()


class LavaProgram(Program):
    """A network in Lava.

    Args:
        engine: steps it.
        host: the engine's child.
        children: those of the target, this one among them.
        max_run_s: deadline of a run that names none.
    """

    def __init__(
        self,
        engine: LavaEngine | LavaFloatEngine,
        host: ChildHost,
        children: "_Children",
        max_run_s: float,
    ) -> None:
        self._engine = engine
        self._host = host
        self._children = children
        self._max_run_s = max_run_s
        self._closed = False

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,
    ) -> RunResult:
        """Run the network; see `Program.run`."""
        if self._closed:
            raise RunFailed("the program is closed")
        self._children.use(self._host)
        deadline_s = self._max_run_s if deadline_s is None else deadline_s
        trace, wall_s = self._engine.timed_run(batch, state, record, deadline_s)
        steps = next(iter(batch.values())).shape[1]
        return RunResult(
            trace.outputs, trace.recorded, trace.state, steps, trace.counts, wall_s
        )  # fmt: skip

    def close(self) -> None:
        """End the child."""
        self._closed = True
        self._host.close()


class _Children:
    """Children in the order of their last use; more than `limit` are kept only while they run."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._hosts: list[weakref.ref[ChildHost]] = []

    def use(self, host: ChildHost) -> None:
        """Note that a child is about to be used, and end idle ones that are too many."""
        with self._lock:
            others = [ref for ref in self._hosts if ref() not in (None, host)]
            self._hosts = [*others, weakref.ref(host)]
            alive = [one for ref in others if (one := ref()) is not None and one.pid is not None]
        surplus = len(alive) + 1 - self._limit
        for one in alive:
            if surplus > 0 and one.close_if_idle():
                surplus -= 1

    def close(self) -> None:
        """End every child."""
        with self._lock:
            hosts = [host for ref in self._hosts if (host := ref()) is not None]
        for host in hosts:
            host.close()


def _engine(
    model: FusionModel, contract: ExecutionContract, host: ChildHost
) -> LavaEngine | LavaFloatEngine:
    if contract.arithmetic != LOIHI:
        return LavaFloatEngine(make_plan(model.graph, contract), host)
    network = integers_of(model)
    assert network is not None  # `check_loihi` refuses a model without
    return LavaEngine(network, host)


def _checked(target: Target, name: str, value: Any, kind: Any) -> Any:
    wrong = not isinstance(value, kind) or isinstance(value, bool)
    if wrong or (kind is int and value < 1):
        wanted = "a whole number from 1 on" if kind is int else "a path, or null"
        raise InvalidTarget(f"{target.name}.yaml.options.{name}: is {value!r}, wanted {wanted}")
    return value
