"""Targets from `hw_configs`, and the backends that drive them, found through entry points."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from importlib.resources.abc import Traversable
from pathlib import Path
from threading import Lock
from typing import Self

import yaml

from backends.base import Backend, Target
from backends.errors import InvalidTarget, TargetUnavailable, UnknownTarget
from backends.limits import DEFAULT_SIZES, SizeLimits
from fusion.errors import InvalidModel
from fusion.manifest import convert

GROUP = "snn_fusion.backends"
"""Entry-point group through which backends, ours included, are found."""


def read_target(path: Path | Traversable) -> Target:
    """Return the target that a YAML file describes.

    Raises:
        InvalidTarget: naming the entry that is missing, unknown or of a wrong type.
    """
    try:
        target = convert(yaml.safe_load(path.read_bytes()), Target, path.name)
    except yaml.YAMLError as error:
        raise InvalidTarget(f"{path.name}: is not YAML: {error}") from None
    except InvalidModel as error:
        raise InvalidTarget(str(error)) from None
    if path.name != f"{target.name}.yaml":
        raise InvalidTarget(f"{path.name}.name: is {target.name!r}, the file says otherwise")
    return target


class Registry:
    """The targets of an installation.

    Args:
        folders: folders of YAML files; a later one overrides a target of the same name. Without
            any, the `hw_configs` that ship.
        limits: sizes of models that no target takes, however much it could.

    Raises:
        InvalidTarget: if a file is wrong.
    """

    def __init__(self, folders: Iterable[Path] = (), limits: SizeLimits = DEFAULT_SIZES) -> None:
        places: list[Path | Traversable] = [resources.files("hw_configs"), *folders]
        found = {}
        for place in places:
            files = (file for file in place.iterdir() if file.name.endswith(".yaml"))
            for file in sorted(files, key=lambda file: file.name):
                target = read_target(file)
                bounded = limits.of(target.capabilities)
                found[target.name] = replace(target, capabilities=bounded)
        self.targets: Mapping[str, Target] = found
        self.limits = limits
        self._backends: dict[str, Backend] = {}
        self._lock = Lock()

    @cached_property
    def _entry_points(self) -> Mapping[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def target(self, name: str) -> Target:
        """Return the target `name`.

        Raises:
            UnknownTarget: if no such target is configured.
        """
        if name not in self.targets:
            raise UnknownTarget(name, sorted(self.targets))
        return self.targets[name]

    def backend(self, name: str) -> Backend:
        """Return the backend that drives the target `name`, the same one at every call.

        Raises:
            UnknownTarget: if no such target is configured.
            TargetUnavailable: if its backend is not installed.
        """
        target = self.target(name)
        with self._lock:
            if name not in self._backends:
                self._backends[name] = self._load(target)
            return self._backends[name]

    def separate(self) -> Self:
        """Return the same targets with backends, and so child processes, of their own."""
        other = copy(self)
        other._backends = {}
        other._lock = Lock()
        return other

    def close(self) -> None:
        """Close every backend in use."""
        with self._lock:
            backends = list(self._backends.values())
        for backend in backends:
            backend.close()

    def _load(self, target: Target) -> Backend:
        point = self._entry_points.get(target.backend)
        if point is None:
            raise TargetUnavailable(
                target.name,
                f"no backend {target.backend!r} is installed",
                f"install the package that offers it as an entry point of {GROUP}",
            )
        try:
            kind = point.load()
        except ImportError as error:
            raise TargetUnavailable(
                target.name,
                f"backend {target.backend!r} cannot be imported: {error}",
                f"install what {point.value} needs",
            ) from error
        backend = kind(target)
        if not isinstance(backend, Backend):
            raise InvalidTarget(f"{point.value} is no backends.base.Backend")
        return backend
