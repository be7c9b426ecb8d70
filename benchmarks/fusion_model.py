"""The model that the service is measured on: three sensors that meet in a recurrent population.

700 lines of a microphone, 2,048 of an event camera and 24 of motion sensors drive 128 LIF each, 256
recurrent LIF and 10 LIF behind them; int8-valued weights, 100 steps, a few per cent active.
"""

from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
import yaml

NAME, STEPS, DT_S, LABELS = "fusion", 100, 1e-3, 10
LINES = MappingProxyType({"audio": 700, "camera": 2048, "imu": 24})
_THRESHOLDS = {"audio": 9.0, "camera": 7.0, "imu": 2.4, "joint": 6.0, "classes": 5.0}
"""At which about one neuron in twenty spikes in a step of the benchmark's requests."""


def write_model(shelf: Path) -> None:
    """Write the model's folder into a shelf."""
    folder = shelf / NAME
    folder.mkdir()
    nir.write(folder / "graph.nir", _graph())
    (folder / "fusion.yaml").write_text(yaml.safe_dump(_manifest()))


def _graph() -> nir.NIRGraph:
    rng = np.random.default_rng(0)

    def weights(post: int, pre: int) -> nir.Linear:
        return nir.Linear(rng.integers(-127, 128, (post, pre)) / 128)

    nodes: dict[str, Any] = {"joint": _lif(256, "joint"), "recurrent": weights(256, 256)}
    edges = [("joint", "recurrent"), ("recurrent", "joint")]
    for sensor, lines in LINES.items():
        nodes[sensor] = nir.Input(np.array([lines]))
        nodes[f"{sensor}_in"] = weights(128, lines)
        nodes[f"{sensor}_lif"] = _lif(128, sensor)
        nodes[f"{sensor}_out"] = weights(256, 128)
        edges += pairwise([sensor, *(f"{sensor}_{part}" for part in ("in", "lif", "out")), "joint"])
    nodes["read"] = weights(LABELS, 256)
    nodes["classes"] = _lif(LABELS, "classes")
    nodes["output"] = nir.Output(np.array([LABELS]))
    edges += pairwise(["joint", "read", "classes", "output"])
    return nir.NIRGraph(nodes, edges)


def _lif(size: int, population: str) -> nir.LIF:
    one = np.ones(size)
    threshold = one * _THRESHOLDS[population]
    return nir.LIF(tau=one * 0.02, r=one * 20, v_leak=one * 0, v_threshold=threshold)


def _manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1",
        "labels": [f"class {n}" for n in range(LABELS)],
        "profile": "nir",
        "dt_s": DT_S,
        "contract": {"arithmetic": "float32"},
        "window": {"length_s": STEPS * DT_S},
        "sensors": {
            name: {"node": name, "unit": "events", "shape": [lines]}
            for name, lines in LINES.items()
        },
        "heads": {"all": {"sensor": "camera", "node": "output", "readout": "count"}},
    }
