"""The model that the service's tests post to: an event camera and a microphone, with samples."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import yaml
from support.models import LABELS

from fusion.encoders.mel_onset import MelOnset

MIC = {"bands": 4, "length_s": 0.2}
STEPS, DT_S = 40, 0.005
CAM_EVENTS = {
    "times_us": [1000, 2000, 2000, 30_000, 50_000, 51_000, 90_000],
    "channels": [0, 1, 3, 2, 0, 1, 1],
}


def tone(seconds: float = 0.3, rate_hz: int = 8000) -> list[float]:
    """Return silence, then a tone, as a microphone would give it."""
    return [
        round(math.sin(2 * math.pi * 440 * n / rate_hz), 4) if n > 800 else 0.001 * (n % 2)
        for n in range(round(seconds * rate_hz))
    ]


def listening_graph(seed: int = 3) -> nir.NIRGraph:
    """Return inputs `cam` (2, 2) and `mic`, a spiking layer each, and a readout each."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, shape in (("cam", (2, 2)), ("mic", (MelOnset(**MIC).size,))):
        size = int(np.prod(shape))
        one, three = np.ones(6), np.ones(3)
        nodes[name] = nir.Input({"input": np.array(shape)})
        nodes[f"{name}_flat"] = nir.Flatten({"input": np.array(shape)}, start_dim=0)
        nodes[f"{name}_in"] = nir.Linear(rng.normal(1.5, 1, (6, size)))
        nodes[f"{name}_lif"] = nir.CubaLIF(
            tau_mem=one * 0.02,
            tau_syn=one * 0.01,
            r=one * 5,
            v_leak=one * 0,
            v_threshold=one,
            v_reset=one * 0,
        )
        nodes[f"{name}_w"] = nir.Affine(rng.normal(0, 1, (3, 6)), rng.normal(0, 1, 3))
        nodes[f"{name}_li"] = nir.LI(tau=three * 0.05, r=three, v_leak=three * 0)
        nodes[f"{name}_out"] = nir.Output({"output": np.array([3])})
        chain = [name, *(f"{name}_{part}" for part in ("flat", "in", "lif", "w", "li", "out"))]
        edges += list(pairwise(chain))
    return nir.NIRGraph(nodes, edges)


def listening_manifest() -> dict[str, Any]:
    """Return the `fusion.yaml` of `listening_graph` as plain values."""
    return {
        "name": "listening",
        "version": "2",
        "description": "A camera and a microphone.",
        "labels": list(LABELS),
        "profile": "nir",
        "dt_s": DT_S,
        "window": {"length_s": STEPS * DT_S},
        "sensors": {
            "cam": {"node": "cam", "unit": "events", "shape": [2, 2]},
            "mic": {
                "node": "mic",
                "unit": "samples",
                "rate_hz": 8000,
                "encoder": {"kind": "mel_onset", **MIC},
            },
        },
        "heads": {
            "cam": {"sensor": "cam", "node": "cam_out", "reliability": 0.9},
            "mic": {"sensor": "mic", "node": "mic_out", "reliability": 0.6},
        },
    }


def write_shelf(folder: Path) -> Path:
    """Write a folder with the model, its samples, and a model that cannot be read."""
    model = folder / "listening"
    (model / "samples").mkdir(parents=True)
    nir.write(model / "graph.nir", listening_graph())
    (model / "fusion.yaml").write_text(yaml.safe_dump(listening_manifest()))
    np.savez(model / "samples" / "one.npz", **{k: np.array(v) for k, v in CAM_EVENTS.items()})
    np.save(model / "samples" / "one.npy", np.array(tone()))
    index = {
        "attribution": "made by this test",
        "samples": [
            {"name": "one", "label": "left", "files": {"cam": "one.npz", "mic": "one.npy"}}
        ],
    }
    (model / "samples" / "index.yaml").write_text(yaml.safe_dump(index))
    (folder / "torn").mkdir()
    (folder / "torn" / "graph.nir").write_bytes(b"not a graph")
    return folder


def body(**changes: Any) -> dict[str, Any]:
    """Return a request of both sensors, with changes to its fields."""
    sensors = {
        "cam": {"events": dict(CAM_EVENTS)},
        "mic": {"samples": {"rate_hz": 8000, "values": tone()}},
    }
    return {"sensors": sensors, **changes}
