"""From what a sensor recorded to the lines of an Input node."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from fusion.encoders.mel_onset import MelOnset
from fusion.encoders.pool import Pool
from fusion.errors import InvalidInput, InvalidModel
from fusion.events import EventStream, finite_numbers
from fusion.manifest import Sensor, convert


@dataclass(frozen=True, slots=True)
class Samples:
    """A regularly sampled recording, checked once by `Samples.checked`.

    Attributes:
        values: float64 [n], finite, in any unit: encoders do not depend on the gain.
        rate_hz: samples per second.
    """

    values: NDArray[np.float64]
    rate_hz: int

    @classmethod
    def checked(cls, values: ArrayLike, rate_hz: float, field: str = "samples") -> "Samples":
        """Return the samples after checking them.

        Raises:
            InvalidInput: naming the field and the first sample that is not finite.
        """
        if not (math.isfinite(rate_hz) and rate_hz > 0 and rate_hz == int(rate_hz)):
            problem = f"{rate_hz} is not a positive, whole number of samples per second"
            raise InvalidInput(f"{field}.rate_hz", problem)
        return cls(finite_numbers(values, f"{field}.values"), int(rate_hz))

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.values.size / self.rate_hz


Recording = EventStream | Samples


class Encoded(Struct, frozen=True):
    """A recording on the lines of an Input node.

    Attributes:
        stream: the events, on the window's clock.
        onset_us: when the encoder's trigger found the stimulus, on the recording's clock; None for
            an encoder without a trigger.
        live: whether the sensor had anything to say; False where a trigger found nothing.
    """

    stream: EventStream
    onset_us: int | None = None
    live: bool = True


EVENT_ENCODERS: Mapping[str, type[Any]] = MappingProxyType({"pool": Pool})
SAMPLE_ENCODERS: Mapping[str, type[Any]] = MappingProxyType({"mel_onset": MelOnset})


@dataclass(frozen=True)
class SensorEncoder:
    """The encoder of one sensor: checks the recording's unit and size, then encodes it.

    Attributes:
        sensor: what the manifest says of the sensor.
        encoder: has a `size`, its number of lines, and `encode`: of an event sensor, from a stream
            to a stream; of a sampled one, from samples and rate to something with the `stream` and
            the `onset_us` of the stimulus. None where events drive the node as they are.
    """

    sensor: Sensor
    encoder: Any

    @cached_property
    def channels(self) -> int:
        """Number of channels of an event sensor."""
        return math.prod(self.sensor.shape)

    @property
    def size(self) -> int:
        """Number of lines it drives."""
        return self.channels if self.encoder is None else int(self.encoder.size)

    def encode(self, recording: Recording, field: str) -> Encoded:
        """Return the recording on the Input node's lines.

        Raises:
            InvalidInput: if the recording is of the other unit, or the encoder refuses it.
        """
        given = "samples" if isinstance(recording, Samples) else "events"
        if given != self.sensor.unit:
            raise InvalidInput(field, f"holds {given}", f"this sensor takes {self.sensor.unit}")
        try:
            if isinstance(recording, Samples):
                made = self.encoder.encode(recording.values, recording.rate_hz)
                return Encoded(made.stream, made.onset_us, live=made.onset_us is not None)
            self._check_size(recording)
            return Encoded(self.encoder.encode(recording) if self.encoder else recording)
        except InvalidInput as error:
            raise InvalidInput(f"{field}.{error.field}", error.problem, error.nearest) from None

    def _check_size(self, stream: EventStream) -> None:
        if stream.size != self.channels:
            raise InvalidInput(
                "channels", f"count {stream.size}", f"{self.channels}, shape {self.sensor.shape}"
            )


def make_encoder(sensor: Sensor, field: str) -> SensorEncoder:
    """Return the encoder that a sensor's manifest entry asks for.

    Raises:
        InvalidModel: naming the unknown kind or the parameter that is wrong.
    """
    if sensor.encoder is None:
        return SensorEncoder(sensor, None)
    field = f"{field}.encoder"
    kinds = EVENT_ENCODERS if sensor.unit == "events" else SAMPLE_ENCODERS
    parameters = dict(sensor.encoder)
    kind = parameters.pop("kind", None)
    if kind not in kinds:
        problem = f"{kind!r} is unknown for {sensor.unit}"
        raise InvalidModel(f"{field}.kind", problem, ", ".join(kinds))
    if sensor.unit == "events":
        parameters.setdefault("shape", list(sensor.shape))
    return SensorEncoder(sensor, convert(parameters, kinds[kind], field))
