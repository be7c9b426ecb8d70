"""The folder that a service loads: `graph.nir` and `fusion.yaml`; needs no PyTorch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nir
import yaml

from av_digits.data import LABELS
from av_digits.features import DT_S, POOL, VISION_STEPS
from fusion.encoders.mel_onset import MelOnset

PROVENANCE: Mapping[str, Any] = {
    "audio": {
        "data": "Free Spoken Digit Dataset, speakers george, jackson, lucas and nicolas",
        "source": "https://github.com/Jakobovski/free-spoken-digit-dataset",
        "licence": "CC BY-SA 4.0",
        "held_out": "takes 0 to 4 of every speaker and digit",
    },
    "vision": {
        "data": "N-MNIST (Orchard et al. 2015), recordings 1 to 700 of a small public extract",
        "source": "https://doi.org/10.3389/fnins.2015.00437",
        "licence": "published under a Creative Commons licence, believed to be CC BY-SA 4.0",
        "held_out": "recordings 701 to 800, which calibrated the temperature",
    },
    "caveat": (
        "The two sensors were recorded apart and paired by label, which flatters late fusion."
    ),
}


@dataclass(frozen=True, slots=True)
class HeadFit:
    """What validation found about a head: its temperature and its accuracy on clean data."""

    temperature: float
    reliability: float


def write_package(
    folder: Path,
    graph: nir.NIRGraph,
    encoder: MelOnset,
    heads: Mapping[str, HeadFit],
    training: Mapping[str, Any],
) -> None:
    """Write the model.

    Args:
        folder: made if it does not exist.
        graph: Input nodes `audio` and `vision`, Output nodes `audio_out` and `vision_out`.
        encoder: of the audio sensor.
        heads: `audio` and `vision` → what validation found.
        training: how the model came about, for the provenance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nir.write(folder / "graph.nir", graph)
    text = yaml.safe_dump(
        manifest(encoder, heads, training), sort_keys=False, allow_unicode=True, width=100
    )
    (folder / "fusion.yaml").write_text(text, encoding="utf-8")


def manifest(
    encoder: MelOnset, heads: Mapping[str, HeadFit], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of `fusion.yaml`."""
    read_at_s = {"audio": encoder.length_s, "vision": VISION_STEPS * DT_S}
    return {
        "name": "av_digits",
        "version": "1",
        "description": "A spoken digit and the same digit before an event camera.",
        "labels": list(LABELS),
        "profile": "nir",
        "dt_s": DT_S,
        "window": {"length_s": encoder.length_s},
        "sensors": {
            "audio": {
                "node": "audio",
                "unit": "samples",
                "rate_hz": encoder.rate_hz,
                "encoder": {"kind": "mel_onset", **asdict(encoder)},
                "description": "one spoken digit, any gain",
            },
            "vision": {
                "node": "vision",
                "unit": "events",
                "shape": list(POOL.shape),
                "encoder": {"kind": "pool", "factor": POOL.factor},
                "description": "polarity, y, x of an event camera that moves before a digit",
            },
        },
        "heads": {
            name: {
                "sensor": name,
                "node": f"{name}_out",
                "readout": "last",
                "read_at_s": round(read_at_s[name], 6),
                "temperature": round(fit.temperature, 4),
                "reliability": round(fit.reliability, 4),
            }
            for name, fit in heads.items()
        },
        "provenance": {**PROVENANCE, "training": dict(training)},
    }
