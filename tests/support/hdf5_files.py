"""Small `.nir` files, good ones and such as somebody means harm with."""

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import h5py
import nir
import numpy as np
from support.models import small_graph


def written(graph: nir.NIRGraph) -> bytes:
    """Return a graph as the bytes of a `.nir` file."""
    file = io.BytesIO()
    nir.write(file, graph)
    return file.getvalue()


def changed(change: Callable[[Any], None], data: bytes | None = None) -> bytes:
    """Return a file's bytes after `change` has worked on its group `node`."""
    file = io.BytesIO(data if data is not None else written(small_graph()))
    with h5py.File(file, "r+") as content:
        change(content["node"])
    return file.getvalue()


def bare(change: Callable[[Any], None]) -> bytes:
    """Return a new file's bytes after `change` has worked on its empty group `node`."""
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        change(content.create_group("node"))
    return file.getvalue()


def forking(node: Any) -> None:
    """Fill a graph with groups that each hold the next one twice: 2³⁰ ways to the end."""
    node["type"] = "NIRGraph"
    inner = node.create_group("nodes")
    for number in range(30):
        following = node.file.create_group(f"/{number}")
        inner["a"] = inner["b"] = following
        inner = following


def every_primitive() -> nir.NIRGraph:
    """Return a graph with a node of every NIR type, a subgraph among them; it runs."""
    eight = np.ones(8)
    lif = {"r": eight, "v_leak": eight * 0, "v_threshold": eight, "v_reset": eight * 0}
    inner = nir.NIRGraph(
        {
            "in": nir.Input(np.array([8])),
            "li": nir.LI(tau=eight * 0.01, r=eight, v_leak=eight * 0),
            "cut": nir.Threshold(eight * 0.1),
            "out": nir.Output(np.array([8])),
        },
        [("in", "li"), ("li", "cut"), ("cut", "out")],
        type_check=False,
    )
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([1, 8, 8])),
        "conv": nir.Conv2d((8, 8), np.ones((2, 1, 3, 3)), 1, "same", 1, 1, np.zeros(2)),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "avg": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten(np.array([2, 2, 2]), 0, -1),
        "scale": nir.Scale(eight * 2),
        "late": nir.Delay(eight * 0.002),
        "if": nir.IF(r=eight, v_threshold=eight, v_reset=eight * 0),
        "i": nir.I(r=eight),
        "affine": nir.Affine(np.eye(8), eight),
        "lif": nir.LIF(tau=eight * 0.01, **lif),
        "linear": nir.Linear(np.eye(8)),
        "cubalif": nir.CubaLIF(tau_mem=eight * 0.01, tau_syn=eight * 0.02, w_in=eight, **lif),
        "inner": inner,
        "cubali": nir.CubaLI(
            tau_mem=eight * 0.01, tau_syn=eight * 0.02, r=eight, v_leak=eight * 0, w_in=eight
        ),
        "output": nir.Output(np.array([8])),
        "sound": nir.Input(np.array([1, 6])),
        "conv1d": nir.Conv1d(6, np.ones((2, 1, 3)), 2, 1, 1, 1, np.zeros(2)),
        "heard": nir.Output(np.array([2, 3])),
    }
    chain = [*nodes][:16]
    edges = [*pairwise(chain), ("sound", "conv1d"), ("conv1d", "heard")]
    return nir.NIRGraph(nodes, [*edges, ("linear", "lif")], type_check=False)
