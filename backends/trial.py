"""One model and one input, ready to run on each of several targets for as many steps."""

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.compare import Place, Potential, TargetRun
from backends.energy import energy_report, measured_energy
from backends.errors import RunTimeout
from backends.fuse import refuse_divergence
from backends.latency import output_latency
from backends.potentials import Batch, potential_at
from backends.programs import ProgramCache
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.window import Encoding, decide_window, encode_window, manifest_of
from simulators.plan import make_plan
from simulators.rasters import lasting
from simulators.trace import Raster, State


@dataclass(frozen=True, slots=True)
class Deadline:
    """When all must be done, on the clock of `time.perf_counter`, and the seconds given for it."""

    end: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stand:
    """A target, the contract that it runs the model under, and how late Outputs are then."""

    target: str
    contract: ExecutionContract
    latency_steps: Mapping[str, int]


class _Limited(Program):
    """A program whose runs end by a deadline, and by the target's own limit."""

    def __init__(self, inner: Program, target: str, until: Deadline, max_run_s: float) -> None:
        self._inner = inner
        self._target = target
        self._until = until
        self._max_run_s = max_run_s

    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,
    ) -> RunResult:
        """Run the network; see `Program.run`."""
        left_s = self._until.end - time.perf_counter()
        if left_s <= 0:
            raise RunTimeout(self._target, self._until.seconds)
        limits = [left_s, self._max_run_s, *([] if deadline_s is None else [deadline_s])]
        return self._inner.run(batch, state, record, min(limits))


class Trial:
    """One model and one input, ready to run on targets.

    All run as long as the one whose Outputs are latest, those that run in another process included.

    Args:
        model: the model.
        stands: all targets, wherever they are run.
        batch: Input node → [1, steps, *shape].
        encoding: what it was encoded from; None where nothing is to be fused.
        programs: where compiled programs come from.
        until: when all runs must be done; each has its target's limit besides.
    """

    def __init__(
        self,
        model: FusionModel,
        stands: Iterable[Stand],
        batch: Batch,
        encoding: Encoding | None,
        programs: ProgramCache,
        until: Deadline | None = None,
    ) -> None:
        self.model = model
        self._stands = {stand.target: stand for stand in stands}
        self._batch = batch
        self._encoding = encoding
        self._programs = programs
        self._until = until

    @cached_property
    def input_digest(self) -> str:
        """A digest of the input: the same in every process that prepared the same trial."""
        digest = hashlib.blake2b(digest_size=16)
        for node, values in sorted(self._batch.items()):
            digest.update(f"{node} {values.dtype.str} {values.shape} ".encode())
            digest.update(values.tobytes())
        return digest.hexdigest()

    @cached_property
    def populations(self) -> Mapping[str, int]:
        """Spiking population → neurons, in the order of the model's plan under any contract."""
        stand = next(iter(self._stands.values()))
        plan = make_plan(self.model.graph, stand.contract)
        return {node.name: node.size for node in plan.nodes if node.spikes}

    @property
    def steps(self) -> int:
        """Time steps that every target runs."""
        steps: int = next(iter(self._batch.values())).shape[1]
        return steps

    def compile(self, target: str) -> Program:
        """Return the model compiled for a target, its runs limited.

        Raises:
            BackendError: if the target cannot be used or refuses the model.
        """
        program = self._programs.get(self.model, target, self._stands[target].contract)
        if self._until is None:
            return program
        return _Limited(program, target, self._until, self._programs.target(target).max_run_s)

    def run(self, target: str, program: Program) -> TargetRun:
        """Run a target's program and decide by its outputs.

        Raises:
            RunFailed: if it breaks off.
        """
        stand = self._stands[target]
        result = program.run(self._batch, record=["all"])
        events, updates = int(result.counts.synaptic_events[0]), result.counts.neuron_updates
        measured = measured_energy(result, 0)
        return TargetRun(
            target=target,
            contract=stand.contract,
            label=self._label(stand, result),
            recorded={node: result.recorded[f"{node}.spikes"][0] for node in self.populations},
            spikes={node: int(count[0]) for node, count in result.counts.spikes.items()},
            synaptic_events=events,
            steps=result.steps,
            run_s=result.wall_s,
            energy=energy_report(self._programs.target(target), events, updates, measured),
        )

    def tested(self, target: str, places: Iterable[Place]) -> dict[Place, Potential]:
        """Return what a target tested at places; runs it again as far as each.

        Raises:
            BackendError: as `compile` and `run`.
        """
        program, contract = self.compile(target), self._stands[target].contract
        plan = make_plan(self.model.graph, contract)
        return {
            place: potential_at(place, program, plan, contract, self._batch) for place in places
        }

    def _label(self, stand: Stand, result: RunResult) -> str | None:
        if self._encoding is None:
            return None
        outputs = {node: values[0] for node, values in result.outputs.items()}
        refuse_divergence(outputs)
        here = replace(self._encoding, latency_steps=stand.latency_steps)
        return decide_window(manifest_of(self.model), outputs, here, stand.contract).label


def trial_of_recordings(
    model: FusionModel,
    recordings: Mapping[str, Recording],
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    deadline_s: float | None = None,
) -> Trial:
    """Return a trial on what sensors recorded, fused answers included.

    Args:
        model: a model with a manifest.
        recordings: sensor → recording.
        contract: the model's own contract; a target that cannot run under it has one of its own.
        targets: two or more different targets, wherever they are run.
        programs: where compiled programs come from.
        deadline_s: seconds that all runs together may take.

    Raises:
        InvalidInput: for fewer than two targets, or a recording that does not fit.
        UnknownTarget: if one is not configured.
    """
    until = None if deadline_s is None else Deadline(time.perf_counter() + deadline_s, deadline_s)
    stands = _stands(model, contract, targets, programs)
    encoding = encode_window(model, recordings, contract, _latest(stands))
    batch = {node: np.asarray(raster) for node, raster in encoding.inputs.items()}
    return Trial(model, stands, batch, encoding, programs, until)


def trial_of_rasters(
    model: FusionModel,
    rasters: Mapping[str, NDArray[np.generic]],
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
) -> Trial:
    """Return a trial on rasters, Input node → [steps, *shape]; else as `trial_of_recordings`."""
    stands = _stands(model, contract, targets, programs)
    extra = max(_latest(stands).values(), default=0)
    batch = {
        node: lasting(np.asarray(values), len(values) + extra)[None]
        for node, values in rasters.items()
    }
    return Trial(model, stands, batch, None, programs)


def check_targets(targets: Sequence[str]) -> None:
    """Return if these targets can be compared.

    Raises:
        InvalidInput: unless they are two or more, each once.
    """
    if len(set(targets)) < 2 or len(set(targets)) < len(targets):
        named = ", ".join(targets[:8]) or "none"
        raise InvalidInput("targets", f"are {named}", "two or more, each once")


def _stands(
    model: FusionModel, own: ExecutionContract, targets: Sequence[str], programs: ProgramCache
) -> list[Stand]:
    check_targets(targets)
    contracts = [programs.contract(target, own) for target in targets]
    return [
        Stand(target, contract, output_latency(model, contract))
        for target, contract in zip(targets, contracts, strict=True)
    ]


def _latest(stands: Sequence[Stand]) -> Mapping[str, int]:
    """Return the latencies of the target whose Outputs are latest: every target runs as long."""
    return max(
        (stand.latency_steps for stand in stands), key=lambda late: max(late.values(), default=0)
    )
