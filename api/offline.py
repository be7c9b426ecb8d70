"""Runs without a server: the model, the contract and the inputs of `snn-fusion run`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.render import counts_reply, spikes_reply, warnings_of, window_reply
from api.settings import Settings
from backends.base import Program, Target
from backends.comparison import Comparison, compare_rasters, compare_recordings
from backends.energy import EnergyReport, SampleEnergy, energy_report, measured_energy
from backends.fuse import FusedAnswer, SampleCounts, fuse, sample_counts
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.files import read_recording
from fusion.model import FusionModel, load_model
from fusion.samples import list_samples, read_sample
from fusion.shelf import Shelf, ShelvedModel
from fusion.window import manifest_of


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to run a model on: rasters for Input nodes, or recordings of sensors, never both.

    Attributes:
        rasters: Input node → [steps, *shape].
        recordings: sensor → recording.
    """

    rasters: Mapping[str, NDArray[np.generic]]
    recordings: Mapping[str, Recording]


def find_model(name: str, settings: Settings) -> ShelvedModel:
    """Return the model in a folder, zip or `.nir` file, or of this name among the known.

    Raises:
        InvalidInput: if there is none.
        InvalidModel: if it cannot be read.
    """
    path = Path(name)
    if path.exists():
        return ShelvedModel(path, load_model(path, settings.model_limits))
    if path.suffix in (".nir", ".zip") or len(path.parts) > 1:
        raise InvalidInput("model", f"{name!r} does not exist")
    return Shelf(settings.models_dir, settings.model_limits).find(name)


def read_inputs(given: Sequence[str], shelved: ShelvedModel) -> Inputs:
    """Return the inputs named on a command line.

    Args:
        given: `SENSOR=FILE`, `SENSOR=sample:NAME`, `NODE=raster.npy`, or `raster.npy` alone for a
            model with one Input node. A `.npy` of two or more dimensions is a raster.
        shelved: the model.

    Raises:
        InvalidInput: naming the input that is unknown, unreadable or given twice.
    """
    rasters: dict[str, NDArray[np.generic]] = {}
    recordings: dict[str, Recording] = {}
    for entry in given:
        name, file = _named(entry, shelved.model)
        if name in rasters or name in recordings:
            raise InvalidInput(f"input {name}", "is given twice")
        if _is_raster(name, file, shelved.model):
            rasters[name] = _read_raster(Path(file))
        else:
            recordings[name] = _read_sensor(name, file, shelved)
    if rasters and recordings:
        raise InvalidInput(
            "input", f"{', '.join(rasters)} is a raster, {', '.join(recordings)} a recording",
            "rasters for every Input node, or recordings of sensors",
        )  # fmt: skip
    return Inputs(rasters, recordings)


def _named(entry: str, model: FusionModel) -> tuple[str, str]:
    """Split NAME=FILE; a FILE alone goes to the only Input node."""
    name, equals, file = entry.partition("=")
    if equals:
        return name, file
    nodes = list(model.graph.inputs)
    if len(nodes) != 1:
        known = ", ".join(f"{node}={entry}" for node in nodes)
        raise InvalidInput(f"input {entry}", f"the model has {len(nodes)} Input nodes", known)
    return nodes[0], entry


def _is_raster(name: str, file: str, model: FusionModel) -> bool:
    if name not in model.encoders:
        known = [*model.encoders, *model.graph.inputs]
        if name not in model.graph.inputs:
            raise InvalidInput(f"input {name}", "is no sensor and no Input node", ", ".join(known))
        return True
    path = Path(file)
    return path.suffix == ".npy" and path.is_file() and _read_raster(path).ndim > 1


def _read_raster(path: Path) -> NDArray[np.generic]:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InvalidInput(str(path), f"cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InvalidInput(str(path), f"is not a .npy file: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InvalidInput(str(path), "holds several arrays", "a .npy file of one raster")
    return array


def _read_sensor(name: str, file: str, shelved: ShelvedModel) -> Recording:
    kind, colon, sample = file.partition(":")
    if colon and kind == "sample":
        return read_sample(shelved.path, shelved.model, sample, name)
    return read_recording(Path(file), shelved.model.encoders[name])


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
) -> OfflineRun:
    """Run a model once, without any server.

    Raises:
        InvalidInput: if there is nothing to run on, or it does not fit.
        BackendError: if the target cannot be used or refuses the model.
    """
    _require_something(inputs, shelved)
    programs = ProgramCache(registry)
    try:
        program = programs.get(shelved.model, target, contract)
        place = (shelved.model, registry.target(target), contract)
        if inputs.rasters:
            return _run_rasters(place, program, inputs.rasters, record)
        (answer,) = fuse(shelved.model, program, contract, [inputs.recordings], record=record)
        return OfflineRun(
            shelved.model, target, contract, answer, {}, answer.recorded, answer.counts,
            answer.steps, answer.run_s, _energy(place[1], answer.counts, answer.measured),
        )  # fmt: skip
    finally:
        programs.close()


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
) -> Comparison:
    """Compare targets on one model and one input, without any server.

    Raises:
        InvalidInput, BackendError: as `run_offline`.
    """
    _require_something(inputs, shelved)
    programs = ProgramCache(registry)
    place = (contract, targets, programs)
    model = shelved.model
    try:
        if inputs.rasters:
            return compare_rasters(model, inputs.rasters, *place, tolerance=tolerance, tell=tell)
        return compare_recordings(model, inputs.recordings, *place, tolerance=tolerance, tell=tell)
    finally:
        programs.close()


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
        "spikes": spikes_reply(run.recorded),
        "counts": counts_reply(run.counts),
        "energy": None if run.energy.energy is None else asdict(run.energy.energy),
        "energy_reason": run.energy.reason,
        "timing": {"run_s": run.run_s},
    }
