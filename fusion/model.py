"""A model: a NIR graph with its manifest, from a folder, a zip or a bare `.nir` file."""

import hashlib
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nir
import numpy as np

from fusion.containers import GRAPH, MANIFEST, allowed_bytes, belongs
from fusion.contract import ExecutionContract, make_contract
from fusion.encoding import SensorEncoder, make_encoder
from fusion.errors import InvalidModel, listed
from fusion.graph_file import read_graph
from fusion.limits import DEFAULT_LIMITS, ModelLimits
from fusion.manifest import Manifest, parse_manifest
from fusion.reader import read_file

__all__ = [
    "GRAPH",
    "MANIFEST",
    "FusionModel",
    "bare_model",
    "contract_of",
    "encoders_of",
    "load_model",
    "model_from",
    "parse_model",
    "read_graph",
    "values_per_step",
]

_ZIP_STARTS = b"PK"


@dataclass(frozen=True)
class FusionModel:
    """A model as it is run.

    Attributes:
        graph: the network.
        manifest: sensors, heads and time; None for a bare graph.
        encoders: sensor → its encoder.
        digest: SHA-256 over the model's files, hexadecimal; names exactly this model.
        content: file name → bytes: graph, manifest and attachments; what the digest covers.
    """

    graph: nir.NIRGraph
    manifest: Manifest | None
    encoders: Mapping[str, SensorEncoder]
    digest: str
    content: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """The manifest's name, else the start of the digest."""
        return self.manifest.name if self.manifest else self.digest[:12]

    @cached_property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Input node → its shape."""
        return {
            name: tuple(np.asarray(node.input_type["input"]).ravel().tolist())
            for name, node in self.graph.nodes.items()
            if isinstance(node, nir.Input)
        }

    def contract(
        self,
        profile: str | None = None,
        dt_s: float | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> ExecutionContract:
        """Return the contract to run under: the caller's choices, else the manifest's.

        Args:
            profile: a profile to take instead of the manifest's profile and overrides.
            dt_s: seconds per step.
            overrides: contract fields to set.

        Raises:
            InvalidContract: if a choice is impossible or still missing.
        """
        return contract_of(self.manifest, profile, dt_s, overrides)


def contract_of(
    manifest: Manifest | None,
    profile: str | None = None,
    dt_s: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ExecutionContract:
    """Return the contract of the model with this manifest; see `FusionModel.contract`."""
    if manifest is None:
        return make_contract(profile, dt_s, overrides)
    base = dict(manifest.contract) if profile is None else {}
    if dt_s is not None:
        base.pop("dt_s", None)
    return make_contract(
        manifest.profile if profile is None else profile,
        manifest.dt_s if dt_s is None else dt_s,
        base | dict(overrides or {}),
    )


def encoders_of(manifest: Manifest | None) -> dict[str, SensorEncoder]:
    """Return sensor → encoder of the model with this manifest.

    Raises:
        InvalidModel: naming the sensor whose encoder is wrong.
    """
    sensors = {} if manifest is None else manifest.sensors
    return {
        name: make_encoder(sensor, f"{MANIFEST}.sensors.{name}") for name, sensor in sensors.items()
    }


def bare_model(graph: nir.NIRGraph) -> FusionModel:
    """Return a graph in memory as a model without a manifest, unlike any other by its digest."""
    return FusionModel(graph, None, {}, uuid.uuid4().hex, {})


def with_files(model: FusionModel, files: Mapping[str, bytes]) -> FusionModel:
    """Return a model with files attached, or replaced, beside its graph; its digest covers them."""
    content = {**model.content, **files}
    # A graph in memory has no file; its digest stands for it.
    named = content if GRAPH in content else {**content, GRAPH: model.digest.encode()}
    return replace(model, content=content, digest=_digest(named))


def load_model(path: Path, limits: ModelLimits = DEFAULT_LIMITS) -> FusionModel:
    """Read a model from a folder, a zip of one, or a bare `.nir` file.

    Raises:
        InvalidModel: if a part is missing, unreadable or too large, naming the file, node or entry.
    """
    if path.is_dir():
        return model_from(_from_folder(path, limits), limits)
    if not path.is_file():
        raise InvalidModel(str(path), "does not exist", "a model folder, a zip or a .nir file")
    return parse_model(_bounded(path, limits.file_bytes), limits)


def parse_model(
    data: bytes, limits: ModelLimits = DEFAULT_LIMITS, manifest: bytes | None = None
) -> FusionModel:
    """Return the model in the bytes of a zip or of a bare `.nir` file, from wherever they come.

    Args:
        data: the file.
        limits: how large it may be.
        manifest: a `fusion.yaml` that takes the place of the file's own, if it has one.

    Raises:
        InvalidModel: as `load_model`.
    """
    is_zip = data.startswith(_ZIP_STARTS)
    content: Mapping[str, bytes] = read_file("zip", data, limits) if is_zip else {GRAPH: data}
    if manifest is not None:
        content = {**content, MANIFEST: manifest}
    return model_from(content, limits)


def model_from(content: Mapping[str, bytes], limits: ModelLimits = DEFAULT_LIMITS) -> FusionModel:
    """Return the model in `graph.nir` and, if there is one, `fusion.yaml`.

    Raises:
        InvalidModel: as `load_model`.
    """
    manifest = None
    if MANIFEST in content:
        manifest = parse_manifest(content[MANIFEST], limits.manifest_bytes)
    encoders = encoders_of(manifest)
    graph = read_graph(content[GRAPH], limits)
    model = FusionModel(graph, manifest, encoders, _digest(content), dict(content))
    if manifest is not None:
        _check_nodes(model, manifest)
    return model


def _from_folder(path: Path, limits: ModelLimits) -> dict[str, bytes]:
    if not (path / GRAPH).is_file():
        raise InvalidModel(str(path / GRAPH), "does not exist", f"a folder that holds {GRAPH}")
    return {
        file.name: _bounded(file, allowed_bytes(file.name, limits))
        for file in sorted(path.iterdir())
        if belongs(file.name) and file.is_file()
    }


def _bounded(path: Path, allowed: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(allowed + 1)
    except OSError as error:
        raise InvalidModel(str(path), f"cannot be read: {error.strerror or error}") from None
    if len(data) > allowed:
        raise InvalidModel(str(path), "is too large", f"at most {allowed} bytes")
    return data


def _digest(content: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(content):
        part = hashlib.sha256(content[name]).hexdigest()
        whole.update(f"{name} {part}\n".encode())
    return whole.hexdigest()


def _check_nodes(model: FusionModel, manifest: Manifest) -> None:
    """Check that sensors and heads name nodes of the graph and fit their sizes."""
    graph = model.graph
    for name, sensor in manifest.sensors.items():
        field = f"{MANIFEST}.sensors.{name}.node"
        size = _size(graph, sensor.node, nir.Input, field)
        if model.encoders[name].size != size:
            raise InvalidModel(
                field,
                f"{sensor.node} takes {size} lines, but the encoder gives "
                f"{model.encoders[name].size}",
            )
    driven = {sensor.node for sensor in manifest.sensors.values()}
    for node in graph.inputs:
        if node not in driven:
            raise InvalidModel(f"{MANIFEST}.sensors", f"no sensor drives the Input node {node!r}")
    for name, head in manifest.heads.items():
        field = f"{MANIFEST}.heads.{name}.node"
        size = _size(graph, head.node, nir.Output, field)
        if size != len(manifest.labels):
            raise InvalidModel(
                field, f"{head.node} has {size} values for {len(manifest.labels)} labels"
            )


def _size(graph: nir.NIRGraph, node: str, kind: type, field: str) -> int:
    if not isinstance(graph.nodes.get(node), kind):
        known = [name for name, found in graph.nodes.items() if isinstance(found, kind)]
        raise InvalidModel(field, f"{node!r} is no {kind.__name__} node", listed(known))
    return _values(graph.nodes[node])


def values_per_step(model: FusionModel) -> int:
    """Return how many values a run takes and gives in a step: those of Input and Output nodes."""
    nodes = model.graph.nodes.values()
    return sum(_values(node) for node in nodes if isinstance(node, nir.Input | nir.Output))


def _values(node: nir.Input | nir.Output) -> int:
    return math.prod(int(extent) for extent in np.atleast_1d(node.input_type["input"]))
