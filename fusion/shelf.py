"""The models in a folder, by name: one model folder or zip each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from fusion.errors import FusionError, InvalidInput
from fusion.model import GRAPH, FusionModel, load_model


@dataclass(frozen=True, slots=True)
class ShelvedModel:
    """A model with the folder or file it came from."""

    path: Path
    model: FusionModel


class Shelf:
    """Models that a caller may name; read once, at the first use.

    Args:
        folder: holds model folders (with a `graph.nir`) and zips.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._known: Mapping[str, ShelvedModel] | None = None
        self._problems: Mapping[str, FusionError] = {}

    @property
    def models(self) -> Mapping[str, ShelvedModel]:
        """Model name → model, for every model that can be read."""
        return self._read()

    @property
    def problems(self) -> Mapping[str, FusionError]:
        """Path → what is wrong with a model that cannot be read."""
        self._read()
        return self._problems

    def find(self, name: str) -> ShelvedModel:
        """Return the model called `name`, or whose digest starts with `name` (8 digits or more).

        Raises:
            InvalidInput: if there is none.
        """
        models = self._read()
        if name in models:
            return models[name]
        for shelved in models.values():
            if len(name) >= 8 and shelved.model.digest.startswith(name):
                return shelved
        raise InvalidInput("model", f"{name!r} is unknown", ", ".join(models) or None)

    def _read(self) -> Mapping[str, ShelvedModel]:
        with self._lock:
            if self._known is None:
                known: dict[str, ShelvedModel] = {}
                problems: dict[str, FusionError] = {}
                for path in self._paths():
                    try:
                        shelved = ShelvedModel(path, load_model(path))
                        known[shelved.model.name] = shelved
                    except FusionError as error:
                        problems[str(path)] = error
                self._known, self._problems = known, problems
            return self._known

    def _paths(self) -> Iterator[Path]:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if (path / GRAPH).is_file() or path.suffix == ".zip":
                yield path
