"""From the bytes of a body to checked recordings: fields, limits, sample files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct, structs

from api.errors import LimitExceeded, UnknownName
from api.framing import Body, framed
from api.hop import Hop
from api.requests import (
    CheckRequest,
    EventsInput,
    FuseRequest,
    SamplesInput,
    SensorInput,
    TensorInput,
    UnreadSensor,
    decode,
)
from api.settings import Settings
from api.tensors import BINARY_SIZE, Tensor, read_tensors
from fusion.encoding import Recording, Samples, SensorEncoder
from fusion.errors import InvalidInput
from fusion.events import EventStream
from fusion.lists import read_integers
from fusion.samples import list_samples, read_sample
from fusion.shelf import ShelvedModel
from fusion.window import manifest_of

_Request = TypeVar("_Request", bound=FuseRequest)


class Parsed(Struct, Generic[_Request], frozen=True):
    """A request's fields, its tensors by name, and how it was forwarded, if it was."""

    request: _Request
    tensors: Mapping[str, Tensor]
    hop: Hop | None = None

    @property
    def size(self) -> int:
        """Bytes of what sensors recorded, as text or raw."""
        texts = sum(len(memoryview(text)) for text in self.request.sensors.values())
        return texts + sum(tensor.nbytes for tensor in self.tensors.values())


def parse(body: Body, max_bytes: int, kind: type[_Request]) -> Parsed[_Request]:
    """Return the fields and tensors of a body that holds a request of this kind.

    Raises:
        WrongContentType, BodyTooLarge, MalformedBody: if it cannot be read at all.
        InvalidInput: naming the field that is missing, unknown or of a wrong type.
    """
    header, tail = framed(body, max_bytes)
    request = decode(header, kind)
    return Parsed(with_defaults(request, body.hop), read_tensors(request.inputs, tail), body.hop)


def with_defaults(request: _Request, hop: Hop | None) -> _Request:
    """Return a request that was forwarded with the defaults of the deployment that did it."""
    if hop is None:
        return request
    target, model = request.target or hop.target, request.model or hop.model
    return structs.replace(request, target=target, model=model)


def parse_check(body: Body, max_bytes: int) -> CheckRequest:
    """Return the fields of a body without tensors; raises as `parse`."""
    header, tail = framed(body, max_bytes)
    read_tensors((), tail)
    return decode(header, CheckRequest)


def read_recordings(
    parsed: Parsed[_Request], shelved: ShelvedModel, settings: Settings
) -> dict[str, Recording]:
    """Return sensor → checked recording.

    Raises:
        InvalidInput: naming the sensor and the field; `LimitExceeded` if it is too large.
        InvalidModel: if the model is a bare graph, without sensors.
    """
    manifest_of(shelved.model)
    reader = _Reader(shelved, settings)
    found = {name: reader.from_json(name, raw) for name, raw in parsed.request.sensors.items()}
    for name, parts in _by_sensor(parsed).items():
        if name in found:
            raise InvalidInput(f"sensors.{name}", "is given both in sensors and in inputs")
        found[name] = reader.from_tensors(name, parts)
    if not found:
        known = ", ".join(shelved.model.encoders)
        raise InvalidInput("sensors", "is empty", f"one or more of {known}")
    for name, recording in found.items():
        _check_duration(name, recording, settings.max_duration_s)
    return found


class _Part(Struct, frozen=True):
    """One tensor of a sensor: its place among the inputs, its parameters and numbers."""

    place: int
    spec: TensorInput
    values: Tensor


def _by_sensor(parsed: Parsed[_Request]) -> dict[str, dict[str, _Part]]:
    """Return sensor → part (`times_us` and so on) → tensor."""
    sensors: dict[str, dict[str, _Part]] = {}
    for index, spec in enumerate(parsed.request.inputs):
        sensor, _, part = spec.name.rpartition(".")
        values = parsed.tensors[spec.name]
        if (
            spec.name == part  # there is no dot
            or spec.datatype not in DATATYPES.get(part, ())
            or not spec.parameters.keys() <= PARAMETERS[part]
            or values.ndim != 1
        ):
            _refuse(f"inputs[{index}]", spec, part)
        sensors.setdefault(sensor, {})[part] = _Part(index, spec, values)
    return sensors


DATATYPES: Mapping[str, tuple[str, ...]] = {
    "times_us": ("INT64",),
    "channels": ("INT32",),
    "values": ("FP32",),
    "samples": ("FP32", "FP64", "INT16"),
}
"""Part of a sensor → the datatypes that its tensor may have."""

PARAMETERS: Mapping[str, frozenset[str]] = {
    part: frozenset({BINARY_SIZE, "rate_hz"} if part == "samples" else {BINARY_SIZE})
    for part in DATATYPES
}
"""Part of a sensor → the parameters that its tensor may have."""


def _refuse(field: str, spec: TensorInput, part: str) -> NoReturn:
    """Say why a tensor cannot be a part of a sensor.

    Raises:
        InvalidInput: always.
    """
    if spec.name == part or part not in DATATYPES:
        known = ", ".join(f"SENSOR.{name}" for name in DATATYPES)
        raise InvalidInput(f"{field}.name", f"{spec.name!r} is no part of a sensor", known)
    if spec.datatype not in DATATYPES[part]:
        allowed = " or ".join(DATATYPES[part])
        raise InvalidInput(f"{field}.datatype", f"{spec.name} is {spec.datatype}", allowed)
    for name in spec.parameters:
        if name not in PARAMETERS[part]:
            known = ", ".join(sorted(PARAMETERS[part]))
            raise InvalidInput(f"{field}.parameters.{name}", "is unknown here", known)
    problem = f"{spec.name} must have one dimension, got {spec.shape}"
    raise InvalidInput(f"{field}.shape", problem)


class _Reader:
    """Makes the recordings of one model's sensors."""

    def __init__(self, shelved: ShelvedModel, settings: Settings) -> None:
        self._shelved = shelved
        self._settings = settings

    def from_json(self, name: str, text: Raw) -> Recording:
        field = f"sensors.{name}"
        sensor = self._sensor(name)
        scanned = _scanned(text)
        if scanned is not None:
            _check_unit(field, "events", sensor)
            return self._events(field, scanned, sensor)
        given = decode(text, SensorInput, field)
        chosen = [one for one in given.__struct_fields__ if getattr(given, one) is not None]
        if len(chosen) != 1:
            problem = f"holds {' and '.join(chosen)}" if chosen else "is empty"
            raise InvalidInput(field, problem, "exactly one of events, samples, sample")
        if given.sample is not None:
            return self._sample(name, given.sample)
        _check_unit(field, chosen[0], sensor)
        if given.samples is not None:
            return self._samples(field, given.samples)
        assert given.events is not None
        return self._events(field, given.events, sensor)

    def from_tensors(self, name: str, parts: Mapping[str, _Part]) -> Recording:
        field = f"sensors.{name}"
        sensor = self._sensor(name)
        if "samples" in parts:
            if len(parts) > 1:
                raise InvalidInput(field, f"holds {' and '.join(parts)}", "samples or events")
            _check_unit(field, "samples", sensor)
            part = parts["samples"]
            rate = part.spec.parameters.get("rate_hz")
            if isinstance(rate, bool) or not isinstance(rate, int | float):
                where = f"inputs[{part.place}].parameters.rate_hz"
                raise InvalidInput(
                    where, f"of {part.spec.name} is not a number", "samples a second"
                )
            return self._samples(field, _Sampled(rate, part.values))
        _check_unit(field, "events", sensor)
        for needed in ("times_us", "channels"):
            if needed not in parts:
                raise InvalidInput(f"{field}.events.{needed}", "is missing among the inputs")
        values = parts["values"].values if "values" in parts else None
        events = _Events(parts["times_us"].values, parts["channels"].values, values)
        return self._events(field, events, sensor)

    def _sensor(self, name: str) -> SensorEncoder:
        encoders = self._shelved.model.encoders
        if name not in encoders:
            problem = "this model has no such sensor"
            raise InvalidInput(f"sensors.{name}", problem, ", ".join(encoders))
        return encoders[name]

    def _sample(self, sensor: str, sample: str) -> Recording:
        folder = self._shelved.path
        try:
            return read_sample(folder, self._shelved.model, sample, sensor)
        except InvalidInput as error:
            if any(one.name == sample for one in list_samples(folder)):
                raise
            raise UnknownName(error.field, error.problem, error.nearest) from None

    def _events(
        self, field: str, given: "EventsInput | _Events", sensor: SensorEncoder
    ) -> Recording:
        field = f"{field}.events"
        _check_number(f"{field}.times_us", "events", len(given.times_us), self._settings.max_events)
        return EventStream.checked(
            given.times_us, given.channels, given.values, size=sensor.channels, field=field
        )

    def _samples(self, field: str, given: "SamplesInput | _Sampled") -> Recording:
        field = f"{field}.samples"
        _check_number(f"{field}.values", "samples", len(given.values), self._settings.max_samples)
        return Samples.checked(given.values, given.rate_hz, field)


class _Events(Struct, frozen=True):
    """Events that came as tensors."""

    times_us: Tensor
    channels: Tensor
    values: Tensor | None


@dataclass(frozen=True, slots=True)
class _Sampled:
    """Samples that came as a tensor."""

    rate_hz: float
    values: Any


def _scanned(text: Raw) -> "_Events | None":
    """Return events without a Python object for every number, None where that is not possible.

    What is wrong with such a text, if anything is, the decoder of `SensorInput` says.
    """
    try:
        events = _UNREAD.decode(text).events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    times = read_integers(memoryview(events.times_us))
    channels = read_integers(memoryview(events.channels))
    if times is None or channels is None:
        return None
    values = None if events.values is None else np.array(events.values, np.float64)
    return _Events(times, channels, values)


_UNREAD = msgspec.json.Decoder(UnreadSensor)


def _check_unit(field: str, given: str, sensor: SensorEncoder) -> None:
    if given != sensor.sensor.unit:
        raise InvalidInput(field, f"holds {given}", f"this sensor takes {sensor.sensor.unit}")


def _check_number(field: str, limit: str, used: int, allowed: int) -> None:
    if used > allowed:
        raise LimitExceeded(field, limit, used, allowed)


def _check_duration(name: str, recording: Recording, allowed_s: float) -> None:
    if isinstance(recording, Samples):
        field, used_s = f"sensors.{name}.samples", recording.duration_s
    else:
        last_us = int(recording.t_us[-1]) if len(recording) else 0
        field, used_s = f"sensors.{name}.events.times_us", last_us / 1e6
    if used_s > allowed_s:
        raise LimitExceeded(field, "duration_s", used_s, allowed_s)
