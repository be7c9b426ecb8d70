"""Reading `.nir` files, which come from anywhere: nothing outside the file is opened.

Every version of NIR's file layout is read: parameters that older exporters left out get NIR's
defaults, and a scalar parameter holds for its whole population.
"""

import io
from collections.abc import Mapping
from typing import Any

import h5py
import nir
import numpy as np

from fusion.errors import InvalidModel

GRAPH = "graph.nir"
MAX_GRAPH_BYTES = 2**30
"""Largest graph that is read, uncompressed: a small file can unpack to a huge one."""

_NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
_KINDS = {
    name: kind
    for name in nir.__all__
    if isinstance(kind := getattr(nir, name), type) and issubclass(kind, nir.NIRNode)
}


def read_graph(data: bytes) -> nir.NIRGraph:
    """Return the graph in the bytes of a `.nir` file.

    Raises:
        InvalidModel: if it is no NIR file, naming the node and parameter that cannot be read; what
            the parameters hold is checked by the engines' plan.
    """
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            content = _Contents().of(file["node"], "node")
        if content.get("type") != "NIRGraph":
            raise InvalidModel(GRAPH, f"holds a single {content.get('type')}", "a NIRGraph")
        return _graph(content, "")
    except InvalidModel:
        raise
    except RecursionError:
        raise InvalidModel(GRAPH, "is nested too deeply") from None
    except Exception as error:
        raise InvalidModel(GRAPH, f"is not a readable NIR file: {_told(error)}") from None


class _Contents:
    """Reads groups of an HDF5 file as dictionaries and keeps count of their size."""

    def __init__(self) -> None:
        self._bytes = 0

    def of(self, group: Any, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in group:
            place = f"{path}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise InvalidModel(GRAPH, f"{place} is a link out of its place", "the data itself")
            item = group[key]
            found[key] = self.of(item, place) if isinstance(item, h5py.Group) else self._value(item)
        return found

    def _value(self, item: Any) -> Any:
        if item.external or item.is_virtual:
            raise InvalidModel(GRAPH, f"{item.name} keeps its data in another file", "no such data")
        self._bytes += item.nbytes
        if self._bytes > MAX_GRAPH_BYTES:
            raise InvalidModel(GRAPH, f"holds more than {MAX_GRAPH_BYTES} bytes")
        value = item[()]
        return value.decode() if isinstance(value, bytes) else value


def _graph(content: Mapping[str, Any], prefix: str) -> nir.NIRGraph:
    nodes = {}
    for name, node in content["nodes"].items():
        is_graph = isinstance(node, Mapping) and node.get("type") == "NIRGraph"
        nodes[name] = (
            _graph(node, f"{prefix}{name}.") if is_graph else _node(node, f"nodes.{prefix}{name}")
        )
    edges = [(_text(source), _text(target)) for source, target in content["edges"]]
    return nir.NIRGraph(nodes, edges, content.get("metadata", {}), type_check=False)


def _node(content: Any, field: str) -> nir.NIRNode:
    kind = content.get("type") if isinstance(content, Mapping) else None
    if kind not in _KINDS:
        raise InvalidModel(field, f"its type {kind!r} is not known", ", ".join(sorted(_KINDS)))
    values = dict(content)
    if kind in _NEURONS:
        values |= _broadcast(values, field)
    if kind in ("Conv1d", "Conv2d"):
        values.setdefault("input_shape", None)
        if "bias" not in values and isinstance(values.get("weight"), np.ndarray):
            values["bias"] = np.zeros(values["weight"].shape[:1], values["weight"].dtype)
    try:
        return nir.dict2NIRNode(values)
    except Exception as error:
        raise InvalidModel(field, f"cannot be read: {_told(error)}") from None


def _broadcast(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return the parameters of a population in its shape, which scalars do not have."""
    parameters = {
        name: np.asarray(value)
        for name, value in values.items()
        if name not in ("type", "metadata")
    }
    shapes = {array.shape: name for name, array in parameters.items() if array.size != 1}
    if not shapes:
        shapes = {array.shape: name for name, array in parameters.items() if array.ndim} or {(): ""}
    shape = max(shapes, key=len)
    full = {}
    for name, array in parameters.items():
        if array.size != 1 and array.shape != shape:
            raise InvalidModel(
                f"{field}.{name}",
                f"has shape {list(array.shape)}, but {shapes[shape]} has {list(shape)}",
                f"a scalar or shape {list(shape)}",
            )
        same = array.shape == shape
        full[name] = array if same else np.broadcast_to(array.reshape(()), shape).copy()
    return full


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
