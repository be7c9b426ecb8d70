"""Small models that tests write and run: two event sensors, one hidden population each."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import yaml

LABELS = ("left", "right", "none")


def small_graph(hidden: int = 12, seed: int = 0, skin: int = 3) -> nir.NIRGraph:
    """Return inputs `cam` (2, 2) and `skin` (3,), a LIF layer each, and LI readouts."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {}
    edges = []
    for name, shape in (("cam", (2, 2)), ("skin", (skin,))):
        size = int(np.prod(shape))
        one = np.ones(hidden)
        nodes[name] = nir.Input({"input": np.array(shape)})
        nodes[f"{name}_flat"] = nir.Flatten({"input": np.array(shape)}, start_dim=0)
        nodes[f"{name}_in"] = nir.Linear(rng.normal(2, 1, (hidden, size)))
        nodes[f"{name}_lif"] = nir.LIF(
            tau=one * 0.02, r=one * 5, v_leak=one * 0, v_threshold=one, v_reset=one * 0
        )
        nodes[f"{name}_w"] = nir.Affine(rng.normal(0, 1, (3, hidden)), rng.normal(0, 1, 3))
        three = np.ones(3)
        nodes[f"{name}_li"] = nir.LI(tau=three * 0.05, r=three, v_leak=three * 0)
        nodes[f"{name}_out"] = nir.Output({"output": np.array([3])})
        chain = [name, *(f"{name}_{part}" for part in ("flat", "in", "lif", "w", "li", "out"))]
        edges += list(pairwise(chain))
    return nir.NIRGraph(nodes, edges)


def small_manifest() -> dict[str, Any]:
    """Return the `fusion.yaml` of `small_graph` as plain values."""
    return {
        "name": "small",
        "version": "1",
        "labels": list(LABELS),
        "profile": "nir",
        "dt_s": 0.001,
        "window": {"length_s": 0.1},
        "sensors": {
            "cam": {"node": "cam", "unit": "events", "shape": [2, 2]},
            "skin": {"node": "skin", "unit": "events", "shape": [3]},
        },
        "heads": {
            "cam": {"sensor": "cam", "node": "cam_out", "temperature": 0.5, "reliability": 0.9},
            "skin": {"sensor": "skin", "node": "skin_out", "reliability": 0.6},
        },
    }


def write_model(
    folder: Path, graph: nir.NIRGraph | None = None, manifest: dict[str, Any] | None = None
) -> Path:
    """Write a model folder and return it; by default the small one."""
    folder.mkdir(parents=True, exist_ok=True)
    nir.write(folder / "graph.nir", graph or small_graph())
    (folder / "fusion.yaml").write_text(yaml.safe_dump(manifest or small_manifest()))
    return folder
