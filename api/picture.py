"""Pictures of spike rasters: of a fused answer with its posteriors, and of a comparison."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backends.compare import TargetRun
from backends.comparison import Comparison

INK, DIFFERENT = "#1f2933", "#c1121f"


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
    columns = 1 if len(rasters) <= 4 else 2
    rows = max(2, -(-len(rasters) // columns))
    figure = Figure(figsize=(5 + 5 * columns, 0.6 + 1.5 * rows), layout="constrained")
    figure.suptitle(title, color=INK)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2, 1))[0]
    axes = left.subplots(rows, columns, sharex=True, squeeze=False)
    for axis in axes.flat[len(rasters) :]:
        axis.set_visible(False)
    for axis, (node, spikes) in zip(axes.flat, rasters.items(), strict=False):
        _raster(axis, node, spikes, reply["dt_s"])
    for axis in axes[-1]:
        axis.set_xlabel("time in the window / s")
    axes[0, 0].set_xlim(0, reply["steps"] * reply["dt_s"])
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
        color = INK if name == "fused" else f"C{index}"
        axis.barh(offsets, [posterior[x] for x in labels], height, label=name, color=color)
    axis.set_yticks([k + 0.4 - height / 2 for k in range(len(labels))], labels)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("posterior")
    quality = window["quality"]["score"]
    axis.set_title(f"{window['label']} at {window['confidence']:.0%}, Q {quality:.2f}", fontsize=10)
    axis.legend(fontsize=8, loc="lower right")


def draw_rasters(comparison: Comparison) -> bytes:
    """Return a PNG: a row for every population, a column for every target."""
    nodes = [one.node for one in comparison.pairs[0].populations]
    rows, columns = max(1, len(nodes)), len(comparison.runs)
    figure = Figure(figsize=(5 * columns, 1 + 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for row, node in zip(axes, nodes, strict=False):
        for axis, run in zip(row, comparison.runs, strict=True):
            _draw_run(axis, run, comparison.runs[0], node)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


def _draw_run(axis: Axes, run: TargetRun, first: TargetRun, node: str) -> None:
    raster = run.raster(node)
    steps, neurons = np.nonzero(raster)
    axis.scatter(steps, neurons, s=1.5, color=INK, linewidths=0)
    steps, neurons = np.nonzero(raster != first.raster(node))
    axis.scatter(steps, neurons, s=9, color=DIFFERENT, marker="x", linewidths=0.8)
    axis.set_title(f"{node} on {run.target}: {int(raster.sum())} spikes", fontsize=9, loc="left")
    axis.set_ylabel("neuron", fontsize=8)
