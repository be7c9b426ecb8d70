"""A picture of a fused answer: spike rasters, and what each sensor believed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT = "#1f2933", "#2a6f97"


def draw_answer(reply: Mapping[str, Any], path: Path, title: str = "") -> None:
    """Write a PNG of a reply of `POST /v1/fuse`.

    One raster for each population whose spikes the reply holds, and the posteriors of the first
    window.

    Args:
        reply: the reply, as decoded JSON.
        path: file to write.
        title: heading of the picture.
    """
    rasters = dict(reply["spikes"])
    figure = Figure(figsize=(11, 1.2 + 1.7 * max(2, len(rasters))), layout="constrained")
    figure.suptitle(title, color=INK)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2, 1))[0]
    axes = left.subplots(len(rasters), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (node, spikes) in zip(axes, rasters.items(), strict=True):
        _raster(axis, node, spikes, reply["dt_s"])
    axes[-1].set_xlabel("time in the window / s")
    axes[-1].set_xlim(0, reply["steps"] * reply["dt_s"])
    _posteriors(right.subplots(), reply["windows"][0])
    figure.savefig(path, dpi=110)


def _raster(axis: Axes, node: str, spikes: Mapping[str, Any], dt_s: float) -> None:
    times = [step * dt_s for step in spikes["steps"]]
    axis.scatter(times, spikes["neurons"], s=1.5, color=INK, linewidths=0)
    axis.set_title(f"{node}: {len(times)} spikes", fontsize=9, loc="left")
    axis.set_ylabel("neuron", fontsize=8)


def _posteriors(axis: Axes, window: Mapping[str, Any]) -> None:
    rows = {name: part["posterior"] for name, part in window["sensors"].items()}
    rows = {name: posterior for name, posterior in rows.items() if posterior}
    rows["fused"] = window["posterior"]
    labels = list(window["posterior"])
    height = 0.8 / len(rows)
    for index, (name, posterior) in enumerate(rows.items()):
        offsets = [k + index * height for k in range(len(labels))]
        color = ACCENT if name == "fused" else None
        axis.barh(offsets, [posterior[x] for x in labels], height, label=name, color=color)
    axis.set_yticks([k + 0.4 - height / 2 for k in range(len(labels))], labels)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("posterior")
    quality = window["quality"]["score"]
    axis.set_title(f"{window['label']} at {window['confidence']:.0%}, Q {quality:.2f}", fontsize=10)
    axis.legend(fontsize=8, loc="lower right")
