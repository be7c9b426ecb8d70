"""The engine of Loihi's integers as a backend: in this process, in NumPy."""

import time
from collections.abc import Collection, Mapping

from backends.base import Backend, Program, RunResult, Violation
from backends.errors import ModelRejected
from backends.loihi import check_loihi, cores_of, integers_of
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.loihi import LoihiEngine
from simulators.trace import Raster, State


class LoihiEmulatorBackend(Backend):
    """Runs the integers of quantised models as the chip would."""

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        return check_loihi(model, contract, self.target.capabilities)

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model's integers as a program that runs in the caller's thread."""
        violations = self.check(model, contract)
        network = integers_of(model)
        if violations or network is None:
            raise ModelRejected(self.target.name, violations)
        return LoihiEmulatorProgram(LoihiEngine(network))

    def cores(self, model: FusionModel, contract: ExecutionContract) -> int | None:  # noqa: ARG002
        """Return the cores of one chip that the model's integers take."""
        return cores_of(model, self.target.capabilities)


class LoihiEmulatorProgram(Program):
    """A network of integers in the emulator; it cannot be broken off, as `NumpyProgram`."""

    def __init__(self, engine: LoihiEngine) -> None:
        self._engine = engine

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,  # noqa: ARG002 (see the class docstring)
    ) -> RunResult:
        """Run the network; see `Program.run`. Records and states are integers."""
        started = time.perf_counter()
        trace = self._engine.run(batch, state=state, record=record)
        wall_s = time.perf_counter() - started
        steps = next(iter(batch.values())).shape[1]
        return RunResult(
            trace.outputs, trace.recorded, trace.state, steps, trace.counts, wall_s,
            overflows=trace.overflows,
        )  # fmt: skip
