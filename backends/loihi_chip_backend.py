"""A Loihi 2 board as a backend, where Intel's closed extension of Lava is installed."""

import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from backends.base import Backend, CheckedStep, Energy, Program, RunResult, Target, Violation
from backends.errors import InvalidTarget, ModelRejected, RunFailed, TargetUnavailable
from backends.host import ChildHost
from backends.lava_engine import LavaEngine, lava_host, network_parts
from backends.lava_environment import lava_python
from backends.loihi import check_loihi, cores_of, integers_of
from fusion.contract import ExecutionContract
from fusion.errors import InvalidInput, InvalidModel
from fusion.manifest import convert
from fusion.model import FusionModel
from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Conv
from simulators.loihi_network import LoihiNetwork
from simulators.trace import Raster, State, Trace

MODULE = "backends.lava.chip:open_program"
_ASK = """
from lava.utils import loihi
raise SystemExit(0 if loihi.is_installed() else 3)
"""
_ASK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """Which board SLURM gives: one by name, or any of a partition."""

    partition: str | None = None
    board: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethernet:
    """A board's host on the network.

    Attributes:
        address: its IP address.
        binary: the driver's path on it.
    """

    address: str
    binary: str = "nxcore/bin/nx_driver_server"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOptions:
    """The options of a target on a board.

    Attributes:
        python: interpreter of the environment with Lava and the extension; see `LavaBackend`.
        generation: the chip's, as `lava.utils.loihi.ChipGeneration` names it.
        slurm: how to ask SLURM for a board, or None.
        ethernet: the board's host, or None; with neither, the environment decides.
        lock: file that keeps processes of one host from using the board at once; None for one in
            the folder of temporary files.
        lag_steps: steps by which the I/O adapters delay what is read; `first-run` measures it.
        select_tag: tag of the process models to run, or None for Lava's own order.
    """

    python: str | None = None
    generation: str = "N3B3"
    slurm: Slurm | None = None
    ethernet: Ethernet | None = None
    lock: str | None = None
    lag_steps: int = 0
    select_tag: str | None = None

    def as_tree(self) -> dict[str, Any]:
        """Return what the child needs of it."""
        lock = self.lock or str(Path(tempfile.gettempdir(), "snn-fusion-loihi2-chip.lock"))
        made = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("slurm", "ethernet"):
            part = made[name]
            made[name] = part and {one.name: getattr(part, one.name) for one in fields(part)}
        return made | {"lock": lock}


class LoihiChipBackend(Backend):
    """Runs quantised models on a board; its options are `BoardOptions`.

    All programs share one child, so runs of one service take turns on the board; a lock keeps
    other processes of the host away. It runs nowhere without Intel's extension, and says so.

    Raises:
        InvalidTarget: naming the option that is wrong.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        try:
            place = f"{target.name}.yaml.options"
            self.options: BoardOptions = convert(dict(target.options), BoardOptions, place)
        except InvalidModel as error:
            raise InvalidTarget(str(error)) from None
        self._host: ChildHost | None = None

    def available(self) -> None:
        """Return if Lava and the extension are installed.

        Raises:
            TargetUnavailable: saying which is missing.
        """
        python = lava_python(self.target.name, self.options.python)
        if not extension_installed(python):
            raise TargetUnavailable(
                self.target.name,
                "Intel's closed extension of Lava for Loihi is not installed",
                "members of the Intel Neuromorphic Research Community install it into the "
                "environment of options.python; docs/loihi2-chip.md says what a lab must have",
            )

    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target."""
        found = check_loihi(model, contract, self.target.capabilities)
        network = integers_of(model)
        return found if network is None else [*found, *_not_on_the_chip(network)]

    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model's integers as a program that runs on the board."""
        self.available()
        violations = self.check(model, contract)
        network = integers_of(model)
        if violations or network is None:
            raise ModelRejected(self.target.name, violations)
        try:
            engine = ChipEngine(network, self.host(), self.options)
        except RunFailed as error:
            hint = "docs/loihi2-chip.md says how a board is chosen"
            raise TargetUnavailable(self.target.name, str(error), hint) from error
        return LoihiChipProgram(engine, self.target.max_run_s)

    def cores(self, model: FusionModel, contract: ExecutionContract) -> int | None:  # noqa: ARG002
        """Return the cores of one chip that the model's integers take."""
        return cores_of(model, self.target.capabilities)

    def host(self) -> ChildHost:
        """Return the host of the board's child, made once."""
        if self._host is None:
            python = lava_python(self.target.name, self.options.python)
            self._host = lava_host(self.target.name, python, MODULE)
        return self._host

    def first_run(self) -> Iterator[CheckedStep]:
        """Walk through the checklist of a first run on a board."""
        from backends.chip_first_run import FirstRun  # noqa: PLC0415 (it imports this module)

        return FirstRun(self.host, self.options, self.available).steps()

    def close(self) -> None:
        """End the child process; a later run starts a fresh one."""
        if self._host is not None:
            self._host.close()


class LoihiChipProgram(Program):
    """A network of integers on the board.

    Args:
        engine: runs it.
        max_run_s: deadline of a run that names none.
    """

    def __init__(self, engine: "ChipEngine", max_run_s: float) -> None:
        self._engine = engine
        self._max_run_s = max_run_s
        self._closed = False

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,
    ) -> RunResult:
        """Run the network; see `Program.run`. Only spikes are recorded, and no state is kept."""
        if self._closed:
            raise RunFailed("the program is closed")
        if state is not None:
            raise InvalidInput("state", "a chip takes none", "a run that starts anew")
        deadline_s = self._max_run_s if deadline_s is None else deadline_s
        trace, reply, wall_s = self._engine.on_the_board(batch, record, deadline_s)
        steps = next(iter(batch.values())).shape[1]
        joules = reply["joules"]
        energy = None
        if joules.size and np.all(np.isfinite(joules)):
            model = "lava.utils.profiler, Loihi2HWProfiler"
            energy = Energy("measured", joules, model, "the board's own meter", ("host",))
        return RunResult(
            trace.outputs, trace.recorded, {}, steps, trace.counts, wall_s, energy=energy
        )  # fmt: skip

    def close(self) -> None:
        """Free the program in the child."""
        if not self._closed:
            self._closed = True
            self._engine.forget()


class ChipEngine(LavaEngine):
    """Runs a network of integers on a board, in a child that other networks share.

    Args:
        network: the network.
        host: the child's host.
        options: the board.

    Raises:
        RunFailed: if the child cannot open it.
    """

    def __init__(self, network: LoihiNetwork, host: ChildHost, options: BoardOptions) -> None:
        LoihiEngine.__init__(self, network)
        self._host = host
        self._number = host.open({"board": options.as_tree(), **network_parts(network)})

    def on_the_board(
        self, inputs: Mapping[str, Raster], record: Collection[str], deadline_s: float
    ) -> tuple[Trace, Mapping[str, Any], float]:
        """Return the run with the spikes of what is recorded, what was measured, and seconds.

        Raises:
            InvalidInput: naming the input or record that does not fit.
            RunTimeout, RunFailed: as `ChildHost.run`.
        """
        drive, held, kept = self._begin(inputs, None, ())
        recorded = self._recorded(record)
        batch, steps = next(iter(drive.values())).shape[:2]
        reply: dict[str, Any] = {"joules": np.zeros(0)}
        wall_s = 0.0
        spikes = {one.name: np.zeros((batch, steps, one.size)) for one in self.network.populations}
        if batch and steps:
            request = {
                "inputs": {name: values.astype(np.int32) for name, values in drive.items()},
                "record": list(spikes),
            }
            answer = self._host.run(self._number, request, deadline_s)
            reply, wall_s = answer.reply, answer.wall_s
            spikes = reply["spikes"]
        self._keep(kept, drive, spikes, {})
        seen = {
            f"{one.name}.spikes": spikes[one.name]
            .astype(np.int32)
            .reshape(batch, steps, *one.shape)
            for one in recorded
        }
        return replace(kept.trace(held), recorded=seen, state={}), reply, wall_s


@lru_cache
def _has_extension(python: str) -> bool:
    asked = [python, "-P", "-c", _ASK]
    try:
        done = subprocess.run(
            asked, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def extension_installed(python: str) -> bool:
    """Return whether `lava.utils.loihi.is_installed()` says so in an environment."""
    if not _has_extension(python):
        _has_extension.cache_clear()  # it may be installed meanwhile
        return False
    return True


def _not_on_the_chip(network: LoihiNetwork) -> Iterator[Violation]:
    """Find what Lava's models on a CPU do, but those of the chip are not known to do."""
    for population in network.populations:
        for field in ("du", "dv", "vth"):
            values = np.unique(getattr(population, field))
            if values.size > 1:
                used = f"{values.size} different values"
                yield Violation(population.name, field, used, "one for all neurons")
        if population.reset is not None:
            yield Violation(population.name, "periodic reset", str(population.reset), "none")
    for connection in network.connections:
        if isinstance(connection, Conv):
            yield Violation(connection.name, "kind", "Conv", "Dense or Sparse", "Sparse")
    for output in network.outputs:
        if output.reads != "spikes":
            yield Violation(output.name, "reads", f"{output.reads} at every step", "spikes")
