"""The engines of Loihi's integers as a backend: in this process, in machine code or NumPy."""

from backends.base import Backend, Program, Violation
from backends.cpu_backend import why_numba_fails
from backends.errors import ModelRejected
from backends.in_process import InProcessProgram
from backends.loihi import check_loihi, cores_of, integers_of
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.loihi import LoihiEngine
from simulators.loihi_network import LoihiNetwork


class LoihiEmulatorBackend(Backend):
    """Runs the integers of quantised models as the chip would; records and states are integers.

    Without Numba the readable engine runs them, more slowly, to the same bits.
    """

    def warm_up(self) -> None:
        """Load the machine code, or compile it where no earlier start has."""
        if why_numba_fails() is None:
            from simulators.compiled_loading import load_kernels  # noqa: PLC0415 (it needs Numba)

            load_kernels()

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        return check_loihi(model, contract, self.target.capabilities)

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model's integers as a program that runs in the caller's thread."""
        violations = self.check(model, contract)
        network = integers_of(model)
        if violations or network is None:
            raise ModelRejected(self.target.name, violations)
        return InProcessProgram(fastest_engine(network))

    def cores(self, model: FusionModel, contract: ExecutionContract) -> int | None:  # noqa: ARG002
        """Return the cores of one chip that the model's integers take."""
        return cores_of(model, self.target.capabilities)


def fastest_engine(network: LoihiNetwork) -> LoihiEngine:
    """Return the engine in machine code where Numba works, else the readable one."""
    if why_numba_fails() is not None:
        return LoihiEngine(network)
    from simulators.loihi_compiled import CompiledLoihiEngine  # noqa: PLC0415 (it needs Numba)

    return CompiledLoihiEngine(network)
