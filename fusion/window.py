"""One decision window: recordings in, activity for the Input nodes out; output activity in, the
fused answer out. What lies between, the network, is an engine's business."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.decision import Decision, decide, read_logits
from fusion.encoding import Recording
from fusion.errors import InvalidInput, InvalidModel
from fusion.lists import list_events, list_nothing
from fusion.manifest import Manifest
from fusion.model import FusionModel
from fusion.quality import Quality, coverage
from fusion.sparse_raster import SparseRaster


class SensorReport(Struct, frozen=True):
    """What became of one sensor's recording.

    Attributes:
        events: events that drove the network.
        outside: events that fell behind the end of the window and were not used.
        onset_us: when the encoder's trigger found the stimulus; None without a trigger.
        live: whether the sensor took part; a trigger that found nothing leaves it out.
    """

    events: int
    outside: int
    onset_us: int | None
    live: bool


class Encoding(Struct, frozen=True):
    """A window ready to run.

    Attributes:
        inputs: Input node → its activity as one sample; nothing for a sensor that was not given,
            and behind the window's end for as long as the latest Output is late.
        reports: sensor → what became of its recording, for the sensors given.
        latency_steps: Output node → steps that it is late by; those not named are not late.
    """

    inputs: Mapping[str, SparseRaster]
    reports: Mapping[str, SensorReport]
    latency_steps: Mapping[str, int] = field(default_factory=dict)

    def rasters(self) -> dict[str, NDArray[np.generic]]:
        """Return Input node → its activity [steps, *shape], dense."""
        return {node: np.asarray(raster)[0] for node, raster in self.inputs.items()}


class FusedWindow(Struct, frozen=True):
    """The fused answer of one window.

    Attributes:
        start_us: start of the window on the sensors' clock.
        end_us: its end.
        label: the most probable label.
        decision: posteriors and contributions.
        quality: the quality score's parts.
        reports: sensor → what became of its recording.
    """

    start_us: int
    end_us: int
    label: str
    decision: Decision
    quality: Quality
    reports: Mapping[str, SensorReport]


def manifest_of(model: FusionModel) -> Manifest:
    """Return the model's manifest.

    Raises:
        InvalidModel: for a bare graph, which says nothing of sensors and labels.
    """
    if model.manifest is None:
        raise InvalidModel("fusion.yaml", "a bare graph has no sensors to fuse", "a model folder")
    return model.manifest


def window_steps(manifest: Manifest, dt_s: float) -> int:
    """Return the number of time steps that cover the model's window, at least one."""
    return max(1, math.ceil(manifest.window.length_s / dt_s - 1e-9))


def encode_window(
    model: FusionModel,
    recordings: Mapping[str, Recording],
    contract: ExecutionContract,
    latency_steps: Mapping[str, int] = MappingProxyType({}),
) -> Encoding:
    """Encode and bin what the sensors recorded.

    Args:
        model: a model with a manifest.
        recordings: sensor → recording, for any non-empty subset of the model's sensors.
        contract: says dt_s and how events are binned.
        latency_steps: Output node → steps by which the contract makes it late.

    Raises:
        InvalidInput: naming the sensor and what is wrong with its recording.
        InvalidModel: if the model has no manifest.
    """
    manifest = manifest_of(model)
    if not recordings:
        raise InvalidInput("sensors", "is empty", f"one or more of {', '.join(manifest.sensors)}")
    for name in recordings:
        if name not in manifest.sensors:
            raise InvalidInput(
                f"sensors.{name}", "this model has no such sensor", ", ".join(manifest.sensors)
            )
    steps = window_steps(manifest, contract.dt_s)
    extra = max(latency_steps.values(), default=0)
    inputs, reports = {}, {}
    for name, sensor in manifest.sensors.items():
        shape = model.input_shapes[sensor.node]
        if name not in recordings:
            inputs[sensor.node] = list_nothing(steps + extra, shape)
            continue
        encoded = model.encoders[name].encode(recordings[name], f"sensors.{name}")
        inputs[sensor.node], outside = list_events(
            encoded.stream, contract.dt_s, steps, shape, contract.binning, extra
        )
        reports[name] = SensorReport(
            len(encoded.stream) - outside, outside, encoded.onset_us, encoded.live
        )
    return Encoding(MappingProxyType(inputs), MappingProxyType(reports), latency_steps)


def decide_window(
    manifest: Manifest,
    outputs: Mapping[str, NDArray[np.floating]],
    encoding: Encoding,
    contract: ExecutionContract,
) -> FusedWindow:
    """Fuse the output activity of one window.

    Args:
        manifest: the model's manifest.
        outputs: Output node → [steps, labels].
        encoding: the window as it was run; an Output that is late is read as much later.
        contract: says dt_s.
    """
    reports = encoding.reports
    steps = window_steps(manifest, contract.dt_s)
    scores = {}
    for head in manifest.heads.values():
        if head.sensor in reports and reports[head.sensor].live:
            late = encoding.latency_steps.get(head.node, 0)
            seen = outputs[head.node][None, late : late + steps]
            logits = read_logits(seen, head, contract.dt_s)[0]
            scores[head.sensor] = logits / head.temperature
    decision = decide(scores, len(manifest.labels))
    reliability = {head.sensor: head.reliability for head in manifest.heads.values()}
    covered = coverage(reliability, dict.fromkeys(scores, 1.0))
    quality = Quality(decision.certainty, decision.conflict, covered)
    end_us = round(steps * contract.dt_s * 1e6)
    return FusedWindow(0, end_us, manifest.labels[decision.best], decision, quality, reports)
