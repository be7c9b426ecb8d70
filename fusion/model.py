"""A model: a NIR graph with its manifest, from a folder, a zip or a bare `.nir` file."""

import hashlib
import math
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

from fusion.contract import ExecutionContract, make_contract
from fusion.encoding import SensorEncoder, make_encoder
from fusion.errors import InvalidModel
from fusion.graph_file import GRAPH, read_graph
from fusion.manifest import Manifest, parse_manifest

__all__ = [
    "GRAPH",
    "MANIFEST",
    "FusionModel",
    "bare_model",
    "load_model",
    "model_from",
    "read_graph",
]

MANIFEST = "fusion.yaml"
ATTACHED = (".npz", ".json")
"""Suffixes of files beside the graph that belong to the model: what a kind of target needs beyond
the graph, a chip's integers for one."""
MAX_MEMBER_BYTES = 256 * 2**20
"""Largest file of a model that is read."""


@dataclass(frozen=True, slots=True)
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
        if self.manifest is None:
            return make_contract(profile, dt_s, overrides)
        own = self.manifest
        base = dict(own.contract) if profile is None else {}
        if dt_s is not None:
            base.pop("dt_s", None)
        return make_contract(
            own.profile if profile is None else profile,
            own.dt_s if dt_s is None else dt_s,
            base | dict(overrides or {}),
        )


def bare_model(graph: nir.NIRGraph) -> FusionModel:
    """Return a graph in memory as a model without a manifest, unlike any other by its digest."""
    return FusionModel(graph, None, {}, uuid.uuid4().hex, {})


def load_model(path: Path) -> FusionModel:
    """Read a model from a folder, a zip of one, or a bare `.nir` file.

    Raises:
        InvalidModel: if a part is missing or unreadable, naming the file, node or entry.
    """
    if path.is_dir():
        content = _from_folder(path)
    elif not path.is_file():
        raise InvalidModel(str(path), "does not exist", "a model folder, a zip or a .nir file")
    elif zipfile.is_zipfile(path):
        content = _from_zip(path)
    else:
        content = {GRAPH: _bounded(path)}
    return model_from(content)


def model_from(content: Mapping[str, bytes]) -> FusionModel:
    """Return the model in `graph.nir` and, if there is one, `fusion.yaml`.

    Raises:
        InvalidModel: as `load_model`.
    """
    manifest = parse_manifest(content[MANIFEST]) if MANIFEST in content else None
    encoders = (
        {}
        if manifest is None
        else {
            name: make_encoder(sensor, f"{MANIFEST}.sensors.{name}")
            for name, sensor in manifest.sensors.items()
        }
    )
    graph = read_graph(content[GRAPH])
    model = FusionModel(graph, manifest, encoders, _digest(content), dict(content))
    if manifest is not None:
        _check_nodes(model, manifest)
    return model


def _from_folder(path: Path) -> dict[str, bytes]:
    if not (path / GRAPH).is_file():
        raise InvalidModel(str(path / GRAPH), "does not exist", f"a folder that holds {GRAPH}")
    return {
        file.name: _bounded(file)
        for file in sorted(path.iterdir())
        if _belongs(file.name) and file.is_file()
    }


def _belongs(name: str) -> bool:
    return name in (GRAPH, MANIFEST) or name.endswith(ATTACHED)


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MAX_MEMBER_BYTES:
        raise InvalidModel(str(path), f"is larger than {MAX_MEMBER_BYTES} bytes")
    return path.read_bytes()


def _from_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _members(archive, path)
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError) as error:
        raise InvalidModel(str(path), f"is not a readable zip: {error}") from None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Read the model's files from the archive's root or from its only folder."""
    graphs = [info for info in archive.infolist() if Path(info.filename).name == GRAPH]
    if len(graphs) != 1:
        raise InvalidModel(str(path), f"holds {len(graphs)} files {GRAPH}", "exactly one")
    folder = graphs[0].filename.removesuffix(GRAPH)
    content = {}
    for place in archive.namelist():
        name = place.removeprefix(folder)
        if folder + name != place or "/" in name or not _belongs(name):
            continue
        with archive.open(place) as member:
            data = member.read(MAX_MEMBER_BYTES + 1)
        if len(data) > MAX_MEMBER_BYTES:
            raise InvalidModel(name, f"is larger than {MAX_MEMBER_BYTES} bytes")
        content[name] = data
    return content


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
        raise InvalidModel(field, f"{node!r} is no {kind.__name__} node", ", ".join(known))
    return math.prod(int(n) for n in np.atleast_1d(graph.nodes[node].input_type["input"]))
