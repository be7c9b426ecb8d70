"""`fusion.yaml`: what a graph alone does not say about sensors, heads and time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from fusion.errors import FusionError, InvalidModel
from fusion.limits import DEFAULT_LIMITS
from fusion.yaml_file import read_yaml

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One sensor of a model.

    Attributes:
        node: the Input node it drives.
        unit: `events` (an address-event sensor) or `samples` (a regularly sampled one).
        encoder: `kind` and its parameters; None where events drive the node as they are.
        shape: shape of an event sensor's address space, channels counted in C order.
        rate_hz: rate of the sampled sensor that the model was made for.
        description: one line for people.
    """

    node: str
    unit: Literal["events", "samples"]
    encoder: Mapping[str, Any] | None = None
    shape: tuple[int, ...] = ()
    rate_hz: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How one sensor's output population becomes log-posteriors.

    Attributes:
        sensor: the sensor it judges.
        node: the Output node it reads, with one value a label.
        readout: `last` (the value at the read step), `max` or `mean` (up to it), `count` (the sum
            up to it), `first_spike` (minus the step of the first spike).
        read_at_s: seconds from the window's start to the read step; None reads at the end.
        temperature: divides the logits; fitted on validation data.
        reliability: validation accuracy of this sensor alone, its weight in the quality score.
    """

    sensor: str
    node: str
    readout: Literal["last", "max", "mean", "count", "first_spike"] = "last"
    read_at_s: float | None = None
    temperature: float = 1.0
    reliability: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How long one decision looks: `length_s` seconds."""

    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of `fusion.yaml`.

    Attributes:
        name: the model's name, what a request may call it.
        version: the model's version.
        labels: the classes, in the order of the heads' outputs.
        sensors: sensor name → sensor.
        heads: head name → head.
        window: the decision window.
        profile: contract profile; None where `contract` holds every choice.
        dt_s: seconds per step.
        contract: choices that override the profile's.
        description: what the model does, for people.
        provenance: data, licences, training, free text.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    sensors: Mapping[str, Sensor]
    heads: Mapping[str, Head]
    window: Window
    profile: str | None = None
    dt_s: float | None = None
    contract: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def parse_manifest(text: bytes, most_bytes: int = DEFAULT_LIMITS.manifest_bytes) -> Manifest:
    """Return the manifest in a `fusion.yaml`.

    Raises:
        InvalidModel: naming the entry that is missing, unknown, of a wrong type or that refers to
            a sensor that does not exist.
    """
    content = read_yaml(text, "fusion.yaml", most_bytes)
    if isinstance(content, dict):
        # Entry by entry first: the whole would not say which sensor or head is wrong.
        for part, kind in (("sensors", Sensor), ("heads", Head)):
            entries = content.get(part)
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                convert(entry, kind, f"fusion.yaml.{part}.{name}")
    manifest = convert(content, Manifest, "fusion.yaml")
    _check(manifest)
    return manifest


def convert(content: object, kind: type[_T], field: str) -> _T:
    """Return plain YAML or JSON content as a frozen dataclass, refusing unknown entries.

    Raises:
        InvalidModel: naming the entry.
    """
    try:
        made = msgspec.convert(content, kind, strict=True)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        place = field + path.rstrip("`")
        if isinstance(error.__cause__, FusionError):  # a dataclass refused its own values
            cause = error.__cause__
            raise InvalidModel(f"{place}.{cause.field}", cause.problem, cause.nearest) from None
        raise InvalidModel(place, problem) from None
    _refuse_unknown(content, msgspec.to_builtins(made), field)
    return made


def _refuse_unknown(content: object, known: object, field: str) -> None:
    if isinstance(content, list) and isinstance(known, list):
        for index, (item, twin) in enumerate(zip(content, known, strict=False)):
            _refuse_unknown(item, twin, f"{field}[{index}]")
    if not isinstance(content, dict) or not isinstance(known, dict):
        return
    for name, item in content.items():
        if name not in known:
            raise InvalidModel(f"{field}.{name}", "is not an entry", ", ".join(sorted(known)))
        _refuse_unknown(item, known[name], f"{field}.{name}")


def _check(manifest: Manifest) -> None:
    def require(fine: bool, field: str, problem: str, nearest: str | None = None) -> None:
        if not fine:
            raise InvalidModel(f"fusion.yaml.{field}", problem, nearest)

    require(len(manifest.labels) > 1, "labels", "a decision needs at least two labels")
    require(len(set(manifest.labels)) == len(manifest.labels), "labels", "holds a label twice")
    length_s = manifest.window.length_s
    require(0 < length_s < math.inf, "window.length_s", f"is {length_s}", "a positive number")
    require(bool(manifest.heads), "heads", "a fusion model needs at least one head")
    for name, sensor in manifest.sensors.items():
        where = f"sensors.{name}"
        if sensor.unit == "events":
            require(
                bool(sensor.shape) and min(sensor.shape) > 0,
                f"{where}.shape",
                "an event sensor needs the shape of its address space",
                "such as [2, 34, 34]",
            )
        else:
            require(sensor.encoder is not None, f"{where}.encoder", "samples need an encoder")
            fine = 0 < (sensor.rate_hz or 0) < math.inf
            require(fine, f"{where}.rate_hz", f"is {sensor.rate_hz}", "a positive number")
    for name, head in manifest.heads.items():
        known = ", ".join(manifest.sensors)
        require(
            head.sensor in manifest.sensors,
            f"heads.{name}.sensor",
            f"no sensor {head.sensor!r}",
            known,
        )
        fine = 0 < head.temperature < math.inf
        require(fine, f"heads.{name}.temperature", f"is {head.temperature}", "a positive number")
        require(0 < head.reliability <= 1, f"heads.{name}.reliability", "must lie in (0, 1]")
        inside = head.read_at_s is None or 0 < head.read_at_s <= manifest.window.length_s
        require(inside, f"heads.{name}.read_at_s", "lies outside the window")
    judged = [head.sensor for head in manifest.heads.values()]
    require(len(set(judged)) == len(judged), "heads", "two heads judge one sensor")
