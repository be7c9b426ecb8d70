"""Runs without a server, as `snn-fusion run` and `compare` do them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.calibrating import calibration_of
from api.named_inputs import Inputs
from api.quantising import Runnable, runnable
from api.render import counts_reply, spikes_reply, warnings_of, window_reply
from backends.base import Program, Target
from backends.comparison import Comparison, compare_targets
from backends.contracts import contract_on
from backends.energy import EnergyReport, SampleEnergy, energy_report, measured_energy
from backends.fuse import FusedAnswer, SampleCounts, encode, fuse, sample_counts
from backends.programs import ProgramCache
from backends.quantisation_file import QuantisationFile
from backends.registry import Registry
from backends.trial import check_targets, trial_of_rasters, trial_of_recordings
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.samples import list_samples
from fusion.shelf import ShelvedModel
from fusion.window import manifest_of
from simulators.calibration import Rasters


@dataclass(frozen=True, slots=True)
class OfflineRun:
    """What one run gave.

    Attributes:
        model: the model that was run.
        target: where.
        contract: under which contract.
        answer: the fused answer; None for rasters.
        outputs: Output node → [steps, *shape]; empty for recordings, which the answer sums up.
        recorded: `NODE.spikes`, `NODE.v`, `NODE.i` → [steps, *shape].
        counts: work done.
        steps: time steps run.
        run_s: seconds the run took.
        energy: what it took.
        quantisation: what was lost if the run was to quantise the model, else None.
    """

    model: FusionModel
    target: str
    contract: ExecutionContract
    answer: FusedAnswer | None
    outputs: Mapping[str, NDArray[np.generic]]
    recorded: Mapping[str, NDArray[np.generic]]
    counts: SampleCounts
    steps: int
    run_s: float
    energy: EnergyReport
    quantisation: QuantisationFile | None = None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the records, and `NODE.output` for every Output node, as `--out` stores them."""
        return {**self.recorded, **{f"{key}.output": o for key, o in self.outputs.items()}}


def run_offline(
    shelved: ShelvedModel,
    inputs: Inputs,
    contract: ExecutionContract,
    target: str,
    registry: Registry,
    *,
    record: Collection[str] = (),
    quantise: bool = False,
) -> OfflineRun:
    """Run a model once, without any server.

    Args:
        shelved: the model.
        inputs: what to run it on.
        contract: the model's own contract.
        target: where to run it; one that needs integers has a contract of its own.
        registry: the targets.
        record: nodes to record, or `all`.
        quantise: whether to make the integers that the target needs and the model lacks.

    Raises:
        InvalidInput: if there is nothing to run on, or it does not fit.
        BackendError: if the target cannot be used or refuses the model.
    """
    _require_something(inputs, shelved)
    chosen = registry.target(target)
    ready = _ready(shelved, inputs, contract, [chosen], quantise=quantise)
    contract = contract_on(chosen, contract)
    programs = ProgramCache(registry)
    try:
        program = programs.get(ready.model, target, contract)
        place = (ready.model, chosen, contract)
        if inputs.rasters:
            done = _run_rasters(place, program, inputs.rasters, record)
        else:
            done = _run_recordings(place, program, inputs.recordings, record)
        return replace(done, quantisation=ready.quantisation)
    finally:
        programs.close()


def _ready(
    shelved: ShelvedModel,
    inputs: Inputs,
    own: ExecutionContract,
    targets: Sequence[Target],
    *,
    quantise: bool,
) -> Runnable:
    """Return the model, quantised if that is asked for and needed.

    It is calibrated on the samples that ship with it or, without any, on the run's own input.
    """
    if not quantise:
        return Runnable(shelved.model, None)

    def own_input(contract: ExecutionContract) -> Rasters:
        if inputs.rasters:
            return inputs.rasters
        return encode(shelved.model, inputs.recordings, contract).rasters()

    return runnable(shelved.model, own, targets, partial(calibration_of, shelved, own_input))


def _require_something(inputs: Inputs, shelved: ShelvedModel) -> None:
    if inputs.rasters or inputs.recordings:
        return
    names = ", ".join(f"{name}=FILE" for name in shelved.model.encoders or ["NODE"])
    samples = ", ".join(sample.name for sample in list_samples(shelved.path)[:3])
    hint = f"{names}; shipped samples: {samples}" if samples else names
    raise InvalidInput("input", "nothing to run on", hint)


def compare_offline(
    shelved: ShelvedModel,
    inputs: Inputs,
    contract: ExecutionContract,
    targets: Sequence[str],
    registry: Registry,
    *,
    tolerance: float,
    tell: Callable[[str], None],
    quantise: bool = False,
) -> Comparison:
    """Compare targets on one model and one input, without any server.

    Raises:
        InvalidInput, BackendError: as `run_offline`.
    """
    _require_something(inputs, shelved)
    check_targets(targets)
    chosen = [registry.target(name) for name in targets]
    model = _ready(shelved, inputs, contract, chosen, quantise=quantise).model
    programs = ProgramCache(registry)
    place = (contract, targets, programs)
    try:
        if inputs.rasters:
            trial = trial_of_rasters(model, inputs.rasters, *place)
        else:
            trial = trial_of_recordings(model, inputs.recordings, *place)
        return compare_targets(trial, targets, tolerance=tolerance, tell=tell)
    finally:
        programs.close()


def _run_recordings(
    place: tuple[FusionModel, Target, ExecutionContract],
    program: Program,
    recordings: Mapping[str, Recording],
    record: Collection[str],
) -> OfflineRun:
    model, target, contract = place
    (answer,) = fuse(model, program, contract, [recordings], record=record)
    return OfflineRun(
        model, target.name, contract, answer, {}, answer.recorded, answer.counts, answer.steps,
        answer.run_s, _energy(target, answer.counts, answer.measured),
    )  # fmt: skip


def _run_rasters(
    place: tuple[FusionModel, Target, ExecutionContract],
    program: Program,
    rasters: Mapping[str, NDArray[np.generic]],
    record: Collection[str],
) -> OfflineRun:
    for node, raster in rasters.items():
        if raster.ndim < 1:
            raise InvalidInput(f"input {node}", "is a single number", "[steps, ...shape]")
    result = program.run({node: raster[None] for node, raster in rasters.items()}, record=record)
    outputs = {node: values[0] for node, values in result.outputs.items()}
    recorded = {key: values[0] for key, values in result.recorded.items()}
    counts = sample_counts(result, 0)
    model, target, contract = place
    energy = _energy(target, counts, measured_energy(result, 0))
    return OfflineRun(
        model, target.name, contract, None, outputs, recorded, counts, result.steps,
        result.wall_s, energy,
    )  # fmt: skip


def _energy(target: Target, counts: SampleCounts, measured: SampleEnergy | None) -> EnergyReport:
    return energy_report(target, counts.synaptic_events, counts.neuron_updates, measured)


def summary(run: OfflineRun) -> dict[str, Any]:
    """Return a run's result as plain values, named as in the service's reply."""
    model = run.model
    told: dict[str, Any] = {
        "model": {"name": model.name, "digest": model.digest},
        "target": run.target,
        "contract": run.contract.as_dict(),
        "steps": run.steps,
        "dt_s": run.contract.dt_s,
    }
    if run.answer is not None:
        manifest = manifest_of(model)
        told["windows"] = [window_reply(one, manifest.labels) for one in run.answer.windows]
        told["warnings"] = warnings_of(run.answer, manifest)
    return told | {
        "spikes": spikes_reply(run.recorded, run.counts.spikes),
        "counts": counts_reply(run.counts),
        "energy": None if run.energy.energy is None else asdict(run.energy.energy),
        "energy_reason": run.energy.reason,
        "timing": {"run_s": run.run_s},
        "quantisation": None if run.quantisation is None else asdict(run.quantisation),
    }
