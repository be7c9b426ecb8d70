"""A whole comparison: one model and one input run on several targets, then compared by pairs."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.compare import TOLERANCE, PairComparison, TargetRun, compare_runs
from backends.energy import energy_report, measured_energy
from backends.errors import RunTimeout
from backends.fuse import refuse_divergence
from backends.latency import output_latency
from backends.programs import ProgramCache
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.window import Encoding, decide_window, encode_window, manifest_of
from simulators.rasters import lasting
from simulators.trace import Raster, State

Batch = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model and one input on several targets.

    Attributes:
        model: the model.
        runs: every target's run, in the order asked for.
        pairs: every two of them compared.
        steps: time steps run.
    """

    model: FusionModel
    runs: tuple[TargetRun, ...]
    pairs: tuple[PairComparison, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Deadline:
    """When all must be done, on the clock of `time.perf_counter`, and the seconds given for it."""

    end: float
    seconds: float


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


def compare_recordings(
    model: FusionModel,
    recordings: Mapping[str, Recording],
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    *,
    tolerance: float = TOLERANCE,
    deadline_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare targets on what sensors recorded, fused answers included.

    Args:
        model: a model with a manifest.
        recordings: sensor → recording.
        contract: the model's own contract; a target that cannot run under it has one of its own.
        targets: two or more different targets.
        programs: where compiled programs come from.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
        deadline_s: seconds that all runs together may take; each has its target's limit besides.
        tell: called with a line of progress before each part.

    Raises:
        InvalidInput: for fewer than two targets, or a recording that does not fit.
        BackendError: if a target cannot be used, refuses the model or breaks off.
    """
    until = None if deadline_s is None else Deadline(time.perf_counter() + deadline_s, deadline_s)
    places = _places(model, contract, targets, programs)
    encoding = encode_window(model, recordings, contract, _latest(places))
    batch = {node: np.asarray(raster) for node, raster in encoding.inputs.items()}
    return _compare(model, batch, encoding, places, programs, tolerance, tell, until)


def compare_rasters(
    model: FusionModel,
    rasters: Batch,
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    *,
    tolerance: float = TOLERANCE,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare targets on rasters, Input node → [steps, *shape]; else as `compare_recordings`."""
    places = _places(model, contract, targets, programs)
    extra = max(_latest(places).values(), default=0)
    batch = {
        node: lasting(np.asarray(values), len(values) + extra)[None]
        for node, values in rasters.items()
    }
    return _compare(model, batch, None, places, programs, tolerance, tell, None)


def check_targets(targets: Sequence[str]) -> None:
    """Return if these targets can be compared.

    Raises:
        InvalidInput: unless they are two or more, each once.
    """
    if len(set(targets)) < 2 or len(set(targets)) < len(targets):
        named = ", ".join(targets[:8]) or "none"
        raise InvalidInput("targets", f"are {named}", "two or more, each once")


@dataclass(frozen=True, slots=True)
class _Place:
    """A target, the contract that it runs the model under, and how late Outputs are then."""

    target: str
    contract: ExecutionContract
    latency_steps: Mapping[str, int]


def _places(
    model: FusionModel, own: ExecutionContract, targets: Sequence[str], programs: ProgramCache
) -> list[_Place]:
    check_targets(targets)
    contracts = [programs.contract(target, own) for target in targets]
    return [
        _Place(target, contract, output_latency(model, contract))
        for target, contract in zip(targets, contracts, strict=True)
    ]


def _latest(places: Sequence[_Place]) -> Mapping[str, int]:
    """Return the latencies of the place whose Outputs are latest: every target runs as long."""
    return max(
        (place.latency_steps for place in places), key=lambda late: max(late.values(), default=0)
    )


def _compare(
    model: FusionModel,
    batch: Batch,
    encoding: Encoding | None,
    places: Sequence[_Place],
    programs: ProgramCache,
    tolerance: float,
    tell: Callable[[str], None],
    until: Deadline | None,
) -> Comparison:
    if not 0 <= tolerance <= 1:
        raise InvalidInput("tolerance", f"is {tolerance}", "a share from 0 to 1")
    runs = []
    for place in places:
        target, contract = place.target, place.contract
        tell(f"{target}: compiling")
        program = programs.get(model, target, contract)
        if until is not None:
            program = _Limited(program, target, until, programs.target(target).max_run_s)
        tell(f"{target}: running")
        result = program.run(batch, record=["all"])
        label = None
        if encoding is not None:
            outputs = {node: values[0] for node, values in result.outputs.items()}
            refuse_divergence(outputs)
            here = replace(encoding, latency_steps=place.latency_steps)
            label = decide_window(manifest_of(model), outputs, here, contract).label
        events, updates = int(result.counts.synaptic_events[0]), result.counts.neuron_updates
        measured = measured_energy(result, 0)
        energy = energy_report(programs.target(target), events, updates, measured)
        runs.append(TargetRun(target, contract, program, result, energy, label))
    tell("comparing")
    pairs = compare_runs(model.graph, runs, batch, tolerance)
    return Comparison(model, tuple(runs), pairs, runs[0].result.steps)
