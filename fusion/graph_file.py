"""`.nir` files made into graphs.

Every version of NIR's file layout is read: parameters that older exporters left out get NIR's
defaults, and a scalar parameter holds for its whole population.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np

from fusion.containers import GRAPH
from fusion.errors import InvalidModel, in_words
from fusion.limits import DEFAULT_LIMITS, ModelLimits
from fusion.reader import Tree, read_file

_NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
_SHAPES = {"shape", "input_shape", "input_type"}
_MOST_AXES = 8
_LONGEST = 2**31 - 1
_KINDS = {
    name: kind
    for name in nir.__all__
    if isinstance(kind := getattr(nir, name), type)
    and issubclass(kind, nir.NIRNode)
    and kind not in (nir.NIRNode, nir.NIRGraph)
}


def read_graph(
    data: bytes, limits: ModelLimits = DEFAULT_LIMITS, *, in_child: bool = True
) -> nir.NIRGraph:
    """Return the graph in the bytes of a `.nir` file.

    Args:
        data: the file.
        limits: how much of it is read.
        in_child: as `read_file` takes it.

    Raises:
        InvalidModel: if it is no NIR file or exceeds a limit, naming the node and parameter that
            cannot be read; what the parameters mean is checked by the engines' plan.
    """
    tree = read_file("hdf5", data, limits, in_child=in_child)
    node = tree.get("node")
    if not isinstance(node, dict):
        raise InvalidModel(GRAPH, "is not a readable NIR file: it has no group 'node'")
    if not _is_graph(node):
        raise InvalidModel(GRAPH, f"holds a single {_shown(node.get('type'))}", "a NIRGraph")
    _count(node, limits)
    return _graph(node, "")


def _count(content: Tree, limits: ModelLimits) -> None:
    """Check the numbers of nodes and edges, which cost more than their bytes."""
    nodes = edges = 0
    for graph in _graphs(content):
        found, pairs = graph.get("nodes"), graph.get("edges")
        nodes += len(found) if isinstance(found, dict) else 0
        edges += pairs.size // 2 if isinstance(pairs, np.ndarray) else 0
    for what, used, allowed in (("nodes", nodes, limits.nodes), ("edges", edges, limits.edges)):
        if used > allowed:
            raise InvalidModel(what, f"{used} are too many", f"at most {allowed}")


def _graphs(content: Tree) -> Iterator[Tree]:
    yield content
    nodes = content.get("nodes")
    for node in nodes.values() if isinstance(nodes, dict) else ():
        if _is_graph(node):
            yield from _graphs(node)


def _is_graph(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    kind = content.get("type")
    return isinstance(kind, str) and kind == "NIRGraph"


def _graph(content: Tree, prefix: str) -> nir.NIRGraph:
    inside = f"nodes.{prefix.removesuffix('.')}." if prefix else ""
    found = content.get("nodes")
    if not isinstance(found, dict):
        raise InvalidModel(f"{inside}nodes", "is missing", "a group of nodes")
    nodes: dict[str, Any] = {}
    for name, node in found.items():
        if _is_graph(node):
            nodes[name] = _graph(node, f"{prefix}{name}.")
        else:
            nodes[name] = _node(node, f"nodes.{prefix}{name}")
    edges = _edges(content.get("edges"), f"{inside}edges")
    return nir.NIRGraph(nodes, edges, content.get("metadata", {}), type_check=False)


def _edges(content: Any, field: str) -> list[tuple[str, str]]:
    if isinstance(content, np.ndarray) and content.size == 0:
        return []
    if not isinstance(content, np.ndarray) or content.dtype != object or content.shape[1:] != (2,):
        raise InvalidModel(field, f"is {_shown(content)}", "pairs of names, [edges, 2]")
    return [(source, target) for source, target in content.tolist()]


def _node(content: Any, field: str) -> nir.NIRNode:
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidModel(
            field, f"its type {_shown(kind)} is not known", ", ".join(sorted(_KINDS))
        )
    values = dict(content)
    for name, value in values.items():
        if isinstance(value, dict) and name != "metadata":
            raise InvalidModel(f"{field}.{name}", "is a group", "numbers or a text")
    for name in _SHAPES & values.keys():
        values[name] = _shape(values[name], f"{field}.{name}")
        if name != "input_shape":
            values[name] = np.atleast_1d(values[name])
    if kind in _NEURONS:
        values |= _broadcast(values, field)
    if kind in ("Conv1d", "Conv2d"):
        values.setdefault("input_shape", None)
        if "bias" not in values and isinstance(values.get("weight"), np.ndarray):
            values["bias"] = np.zeros(values["weight"].shape[:1], values["weight"].dtype)
    try:
        with np.errstate(all="ignore"):  # of shapes that the plan refuses by name
            return nir.dict2NIRNode(values)
    except Exception as error:
        raise InvalidModel(field, f"cannot be read: {in_words(error)}") from None


def _shape(value: Any, field: str) -> Any:
    """Return a shape, or one extent, as the whole numbers that some exporters write as others."""
    array = np.asarray(value)
    fine = array.dtype.kind in "iuf" and array.ndim < 2 and 0 < array.size <= _MOST_AXES
    extents = array.astype(np.float64) if fine else array
    if not fine or not np.all(
        (extents >= 1) & (extents <= _LONGEST) & (extents == np.rint(extents))
    ):
        shown = array.tolist() if fine else _shown(value)
        raise InvalidModel(field, f"is {shown}", f"1 to {_MOST_AXES} positive whole numbers")
    return array.astype(np.int64)[()]


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


def _shown(value: Any) -> str:
    """Return a value of a file for an error, however large it is."""
    if isinstance(value, np.ndarray):
        kind = "text" if value.dtype == object else value.dtype.name
        return f"{kind} of shape {list(value.shape)}"
    return "a group" if isinstance(value, dict) else ascii(value)[:80]
