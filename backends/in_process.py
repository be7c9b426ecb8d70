"""What backends share whose engine runs in the service's own process."""

import time
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Protocol

from backends.base import Backend, Program, RunResult, Violation
from backends.checks import check_plan
from backends.errors import ModelRejected
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.plan import Plan, make_plan
from simulators.reference import SUPPORTED
from simulators.trace import Raster, State, Trace


class Engine(Protocol):
    """Steps a plan; see `ReferenceEngine.run`."""

    def run(
        self, inputs: Mapping[str, Raster], state: State | None, record: Collection[str]
    ) -> Trace:
        """Step the network over the inputs."""


class InProcessBackend(Backend):
    """Runs models in an engine that implements every choice of the contract."""

    @abstractmethod
    def engine(self, plan: Plan) -> Engine:
        """Return the engine for a plan."""

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        return check_plan(model.graph, contract, self.target.capabilities, SUPPORTED)

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model as a program that runs in the caller's thread."""
        self.available()
        violations = self.check(model, contract)
        if violations:
            raise ModelRejected(self.target.name, violations)
        return InProcessProgram(self.engine(make_plan(model.graph, contract)))


class InProcessProgram(Program):
    """A model in an engine.

    It runs in the caller's thread and cannot be broken off: `deadline_s` is not looked at. The
    limits on events and duration bound what a run can take.
    """

    in_process = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,  # noqa: ARG002 (see the class docstring)
    ) -> RunResult:
        """Run the network; see `Program.run`."""
        started = time.perf_counter()
        trace = self._engine.run(batch, state, record)
        wall_s = time.perf_counter() - started
        steps = next(iter(batch.values())).shape[1]
        return RunResult(
            trace.outputs,
            trace.recorded,
            trace.state,
            steps,
            trace.counts,
            wall_s,
            overflows=trace.overflows,
        )
