"""What a model takes and gives, as tensors of the protocol.

An event sensor takes two tensors, `SENSOR.times_us` and `SENSOR.channels`, and may take
`SENSOR.values`; a sampled one takes `SENSOR.samples`; a request of recordings is one sample.
Instead, a request may give rasters, called like their Input nodes, [batch, steps, *shape]. Every
output leads with the batch, which is 1 for recordings.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from api.intake import DATATYPES
from fusion.contract import ExecutionContract, make_contract
from fusion.encoding import SensorEncoder
from fusion.errors import InvalidContract
from fusion.manifest import Manifest
from fusion.model import FusionModel
from simulators.plan import Plan, make_plan
from simulators.trace import recordable

ANY = -1
"""A dimension of any size."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One tensor: its name, its datatype and its shape; `optional` if it may be left out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """The tensors of one model.

    Attributes:
        inputs: what it takes: recordings, or of a bare graph rasters.
        rasters: Input node → shape.
        outputs: what every reply holds.
        records: what a reply holds on request: rasters and traces, as `NODE.QUANTITY`.
        sizes: node → values a step, of every node that can be recorded.
        output_values: values a step of all Output nodes.
        neurons: neurons of all populations.
    """

    inputs: tuple[Spec, ...]
    rasters: Mapping[str, tuple[int, ...]]
    outputs: tuple[Spec, ...]
    records: tuple[Spec, ...]
    sizes: Mapping[str, int]
    output_values: int
    neurons: int

    @property
    def names(self) -> list[str]:
        """Names of all outputs and records."""
        return [spec.name for spec in (*self.outputs, *self.records)]


def describe(model: FusionModel) -> Description:
    """Return the tensors that a model takes and gives.

    Raises:
        InvalidModel: if the graph cannot be run anywhere.
    """
    contract = _contract(model)
    floats = "FP64" if contract.arithmetic == "float64" else "FP32"
    plan = make_plan(model.graph, contract)
    shapes = {node.name: node.shape for node in plan.nodes}
    quantities = recordable(plan)
    records = [
        Spec(f"{node}.{what}", "INT32" if what == "spikes" else floats, (ANY, ANY, *shapes[node]))
        for node, names in quantities.items()
        for what in names
    ]
    rasters = {node.name: node.shape for node in plan.of_kind("Input")}
    sizes = {node: math.prod(shapes[node]) * len(what) for node, what in quantities.items()}
    return Description(
        inputs=tuple(_inputs(model, rasters)),
        rasters=rasters,
        outputs=tuple(_outputs(model, plan, floats)),
        records=tuple(records),
        sizes=sizes,
        output_values=sum(node.size for node in plan.of_kind("Output")),
        neurons=sum(math.prod(shapes[node]) for node in quantities),
    )


def _contract(model: FusionModel) -> ExecutionContract:
    """Return the model's own contract, else any: only its number format is looked at."""
    try:
        return model.contract()
    except InvalidContract:
        return make_contract("nir", 1e-3)


def _inputs(model: FusionModel, rasters: Mapping[str, tuple[int, ...]]) -> Iterator[Spec]:
    if model.manifest is None:
        for node, shape in rasters.items():
            yield Spec(node, "FP32", (ANY, ANY, *shape))
    for name, encoder in model.encoders.items():
        for part in _parts(encoder):
            yield Spec(f"{name}.{part}", DATATYPES[part][0], (ANY,), optional=True)


def _parts(encoder: SensorEncoder) -> tuple[str, ...]:
    return ("times_us", "channels") if encoder.sensor.unit == "events" else ("samples",)


def _outputs(model: FusionModel, plan: Plan, floats: str) -> Iterator[Spec]:
    if model.manifest is None:
        for node in plan.of_kind("Output"):
            yield Spec(node.name, floats, (ANY, ANY, *node.shape))
    else:
        yield from _decisions(model.manifest)
    for node in plan.nodes:
        if node.spikes:
            yield Spec(f"{node.name}.spike_count", "INT64", (ANY,))
    yield Spec("synaptic_events", "INT64", (ANY,))


def _decisions(manifest: Manifest) -> Iterator[Spec]:
    labels = len(manifest.labels)
    yield Spec("label", "BYTES", (ANY,))
    yield Spec("posterior", "FP64", (ANY, labels))
    yield Spec("logits", "FP64", (ANY, labels))
    yield Spec("quality", "FP64", (ANY,))
    for part in ("certainty", "conflict", "coverage"):
        yield Spec(f"quality.{part}", "FP64", (ANY,))
    for sensor in manifest.sensors:
        yield Spec(f"{sensor}.posterior", "FP64", (ANY, labels))
        yield Spec(f"{sensor}.contribution", "FP64", (ANY,))
        yield Spec(f"{sensor}.live", "BOOL", (ANY,))
