"""What a command line names: models, and the files, samples and rasters to run them on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.models.opening import make_offline_catalogue
from api.settings import Settings
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.files import read_recording
from fusion.model import FusionModel, load_model
from fusion.samples import read_sample
from fusion.shelf import ShelvedModel


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
    """Return the model in a folder, zip or `.nir` file, or that this reference means.

    Raises:
        InvalidInput: if there is none.
        InvalidModel: if it cannot be read.
    """
    path = Path(name)
    if path.exists():
        return ShelvedModel(path, load_model(path, settings.model_limits))
    if path.suffix in (".nir", ".zip") or len(path.parts) > 1:
        raise InvalidInput("model", f"{name!r} does not exist")
    return make_offline_catalogue(settings).bring(name)


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
