"""The network `fusion` as a model on a shelf, for what is measured through the service."""

from pathlib import Path
from typing import Any

import nir
import yaml

from benchmarks.networks import FUSION_LINES, fusion

NAME, STEPS, DT_S, LABELS = "fusion", 100, 1e-3, 10


def write_model(shelf: Path) -> None:
    """Write the model's folder into a shelf."""
    folder = shelf / NAME
    folder.mkdir()
    nir.write(folder / "graph.nir", fusion().graph)
    (folder / "fusion.yaml").write_text(yaml.safe_dump(_manifest()))


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
            for name, lines in FUSION_LINES.items()
        },
        "heads": {"all": {"sensor": "camera", "node": "output", "readout": "count"}},
    }
