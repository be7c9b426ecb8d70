"""From answers to the tensors of a reply."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import RunResult
from backends.fuse import FusedAnswer
from fusion.manifest import Manifest
from fusion.window import FusedWindow

Tensors = dict[str, NDArray[Any]]


def fused_tensors(
    manifest: Manifest, answers: Sequence[FusedAnswer], records: Collection[str]
) -> Tensors:
    """Return the outputs of fused answers by name, each [batch, ...], and these records.

    A sensor that took no part has the posterior of one that knows nothing, and contributes nothing.
    """
    windows = [answer.windows[0] for answer in answers]
    made = _decisions(windows)
    for sensor in manifest.sensors:
        made |= _sensor(sensor, windows, len(manifest.labels))
    for node in answers[0].counts.spikes:
        counts = [answer.counts.spikes[node] for answer in answers]
        made[f"{node}.spike_count"] = np.array(counts, np.int64)
    events = [answer.counts.synaptic_events for answer in answers]
    made["synaptic_events"] = np.array(events, np.int64)
    for name in records:
        made[name] = np.stack([answer.recorded[name] for answer in answers])
    return made


def run_tensors(result: RunResult, records: Collection[str]) -> Tensors:
    """Return the outputs of a bare graph's run by name, each [batch, ...], and these records."""
    counts = result.counts
    return {
        **result.outputs,
        **{f"{node}.spike_count": spikes for node, spikes in counts.spikes.items()},
        "synaptic_events": counts.synaptic_events,
        **{name: result.recorded[name] for name in records},
    }


def _decisions(windows: Sequence[FusedWindow]) -> Tensors:
    def floats(of: Callable[[FusedWindow], Any]) -> NDArray[np.float64]:
        return np.array([of(window) for window in windows], np.float64)

    return {
        "label": np.array([window.label for window in windows], object),
        "posterior": floats(lambda window: window.decision.posterior),
        "logits": floats(lambda window: window.decision.log_posterior),
        "quality": floats(lambda window: window.quality.score),
        "quality.certainty": floats(lambda window: window.quality.certainty),
        "quality.conflict": floats(lambda window: window.quality.conflict),
        "quality.coverage": floats(lambda window: window.quality.coverage),
    }


def _sensor(name: str, windows: Sequence[FusedWindow], labels: int) -> Tensors:
    unknowing = np.full(labels, 1 / labels)
    decisions = [window.decision for window in windows]
    return {
        f"{name}.posterior": np.array([one.by_sensor.get(name, unknowing) for one in decisions]),
        f"{name}.contribution": np.array([one.contributions.get(name, 0.0) for one in decisions]),
        f"{name}.live": np.array([name in one.by_sensor for one in decisions]),
    }


def classified(values: NDArray[Any], count: int, labels: Sequence[str]) -> NDArray[Any]:
    """Return the largest values [batch, count] as texts `value:index:label`, largest first.

    Args:
        values: numbers [batch, labels].
        count: how many of them.
        labels: their labels.
    """
    order = np.argsort(-values, axis=-1, kind="stable")[:, :count]
    rows = [
        [f"{row[k]:f}:{k}:{labels[k]}" for k in best]
        for row, best in zip(values, order, strict=True)
    ]
    return np.array(rows, object).reshape(order.shape)
