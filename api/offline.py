"""Runs without a server: the model, the contract and the inputs of `snn-fusion run`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.settings import Settings
from backends.base import Program, RunResult
from backends.fuse import FusedAnswer, fuse
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.files import read_recording
from fusion.model import FusionModel, load_model
from fusion.samples import list_samples, read_sample
from fusion.shelf import Shelf, ShelvedModel


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
        return ShelvedModel(path, load_model(path))
    if path.suffix in (".nir", ".zip") or len(path.parts) > 1:
        raise InvalidInput("model", f"{name!r} does not exist")
    return Shelf(settings.models_dir).find(name)


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


def run_rasters(
    program: Program, rasters: Mapping[str, NDArray[np.generic]], record: Collection[str]
) -> RunResult:
    """Run a program on one sample of rasters [steps, *shape] and return the batch of one."""
    batch = {}
    for node, raster in rasters.items():
        if raster.ndim < 1:
            raise InvalidInput(f"input {node}", "is a single number", "[steps, ...shape]")
        batch[node] = raster[None]
    return program.run(batch, record=record)


@dataclass(frozen=True, slots=True)
class OfflineRun:
    """What a run gave: a fused answer for recordings, a bare result for rasters."""

    model: FusionModel
    target: str
    contract: ExecutionContract
    answer: FusedAnswer | None
    result: RunResult | None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what was recorded, `NODE.spikes` and so on, each [steps, *shape]."""
        if self.answer is not None:
            return dict(self.answer.recorded)
        assert self.result is not None
        recorded = {key: values[0] for key, values in self.result.recorded.items()}
        outputs = {f"{key}.output": values[0] for key, values in self.result.outputs.items()}
        return recorded | outputs


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
    if not inputs.rasters and not inputs.recordings:
        names = ", ".join(f"{name}=FILE" for name in shelved.model.encoders or ["NODE"])
        samples = ", ".join(sample.name for sample in list_samples(shelved.path)[:3])
        hint = f"{names}; shipped samples: {samples}" if samples else names
        raise InvalidInput("input", "nothing to run on", hint)
    cache = ProgramCache(registry)
    try:
        program = cache.get(shelved.model, target, contract)
        if inputs.rasters:
            result = run_rasters(program, inputs.rasters, record)
            return OfflineRun(shelved.model, target, contract, None, result)
        (answer,) = fuse(shelved.model, program, contract, [inputs.recordings], record=record)
        return OfflineRun(shelved.model, target, contract, answer, None)
    finally:
        cache.close()


def summary(run: OfflineRun) -> dict[str, Any]:
    """Return a raster run's result as plain values."""
    assert run.result is not None
    counts = run.result.counts
    return {
        "model": {"name": run.model.name, "digest": run.model.digest},
        "target": run.target,
        "contract": run.contract.as_dict(),
        "steps": run.result.steps,
        "counts": {
            "synaptic_events": int(counts.synaptic_events[0]),
            "neuron_updates": counts.neuron_updates,
            "spikes": {node: int(spikes[0]) for node, spikes in counts.spikes.items()},
        },
        "timing": {"run_s": run.result.wall_s},
        "energy": None,
    }
