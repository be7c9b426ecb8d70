"""The reference engine as a backend: in this process, in NumPy."""

import time
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend, Program, RunResult, Violation
from backends.checks import check_plan
from backends.errors import ModelRejected
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.plan import make_plan
from simulators.reference import SUPPORTED, ReferenceEngine
from simulators.trace import State


class NumpyBackend(Backend):
    """Runs models in the reference engine."""

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        return check_plan(model.graph, contract, self.target.capabilities, SUPPORTED)

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model as a program that runs in the caller's thread."""
        violations = self.check(model, contract)
        if violations:
            raise ModelRejected(self.target.name, violations)
        return NumpyProgram(ReferenceEngine(make_plan(model.graph, contract)))


class NumpyProgram(Program):
    """A model in the reference engine.

    It runs in the caller's thread and cannot be broken off: `deadline_s` is not looked at. The
    limits on events and duration bound what a run can take.
    """

    def __init__(self, engine: ReferenceEngine) -> None:
        self._engine = engine

    def run(
        self,
        batch: Mapping[str, NDArray[np.generic]],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,  # noqa: ARG002 (see the class docstring)
    ) -> RunResult:
        """Run the network; see `Program.run`."""
        started = time.perf_counter()
        trace = self._engine.run(batch, state, record)
        steps = next(iter(batch.values())).shape[1]
        wall_s = time.perf_counter() - started
        return RunResult(
            trace.outputs, trace.recorded, trace.state, steps, trace.counts, wall_s, energy=None
        )
