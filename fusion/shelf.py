"""The models in a folder, by name: one model folder or zip each."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from fusion.errors import FusionError, InvalidInput
from fusion.limits import DEFAULT_LIMITS, ModelLimits
from fusion.model import GRAPH, FusionModel, load_model

_READ_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class ShelvedModel:
    """A model with the folder or file it came from, None for a stored one: it has no samples."""

    path: Path | None
    model: FusionModel


class Shelf:
    """Models that a caller may name; read at the first use, and again when they are loaded.

    Args:
        folder: holds model folders (with a `graph.nir`) and zips.
        limits: how large a model may be.
    """

    def __init__(self, folder: Path, limits: ModelLimits = DEFAULT_LIMITS) -> None:
        self.folder = folder
        self._limits = limits
        self._lock = Lock()
        self._loading = Lock()
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
            InvalidModel: if the folder or file of this name cannot be read, saying why.
        """
        models = self._read()
        if name in models:
            return models[name]
        for shelved in models.values():
            if len(name) >= 8 and shelved.model.digest.startswith(name):
                return shelved
        for path, problem in self._problems.items():
            if name in (Path(path).name, Path(path).stem):
                raise problem.with_traceback(None)  # the same one each time, so it would grow
        raise InvalidInput("model", f"{name!r} is unknown", ", ".join(models) or None)

    def load(self, name: str) -> ShelvedModel:
        """Read a model anew from the folder, whether it is known or new there.

        Raises:
            InvalidInput: if the folder holds no model of this name.
            InvalidModel: if it cannot be read; what was read before then stays.
        """
        with self._loading:  # reading takes its time, in which other models are found
            shelved = self._from_folder(name, self._read())
        with self._lock:
            self._known = {**(self._known or {}), name: shelved}
            problems = self._problems.items()
            self._problems = {p: one for p, one in problems if p != str(shelved.path)}
        return shelved

    def _from_folder(self, name: str, known: Mapping[str, ShelvedModel]) -> ShelvedModel:
        """Read the model called `name`: where it was, else any path that holds no other one."""
        own = known[name].path if name in known else None
        others = {one.path for one in known.values()} - {own}
        for path in [own] if own else [path for path in self._paths() if path not in others]:
            _, found = self._load(path)
            if isinstance(found, FusionModel) and found.name == name:
                return ShelvedModel(path, found)
            if isinstance(found, FusionError) and (own or path.stem == name):
                raise found
        rest = ", ".join(other for other in known if other != name)
        raise InvalidInput("model", f"{name!r} is not in the folder", rest or None)

    def _read(self) -> Mapping[str, ShelvedModel]:
        with self._lock:
            if self._known is None:
                known: dict[str, ShelvedModel] = {}
                problems: dict[str, FusionError] = {}
                # A few at once, so that one that takes its time does not hold up all the others.
                with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
                    for path, found in pool.map(self._load, self._paths()):
                        if isinstance(found, FusionModel):
                            known[found.name] = ShelvedModel(path, found)
                        else:
                            problems[str(path)] = found
                self._known, self._problems = known, problems
            return self._known

    def _load(self, path: Path) -> tuple[Path, FusionModel | FusionError]:
        try:
            return path, load_model(path, self._limits)
        except FusionError as error:
            return path, error

    def _paths(self) -> Iterator[Path]:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if (path / GRAPH).is_file() or path.suffix == ".zip":
                yield path
