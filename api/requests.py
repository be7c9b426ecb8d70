"""The bodies of requests, and their JSON decoded with errors that name the field."""

import difflib
import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from api.batching import HIGHEST, LOWEST, NORMAL
from api.errors import MalformedBody
from backends.compare import TOLERANCE
from fusion.errors import InvalidInput

_T = TypeVar("_T")

Positive = Annotated[float, Meta(gt=0)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object without unknown fields."""


class EventsInput(_Part, frozen=True):
    """Events of one sensor, sorted by time: one entry per event in every list."""

    times_us: Annotated[list[int], Meta(description="Microseconds since the recording's start.")]
    channels: Annotated[list[int], Meta(description="Index into the sensor's shape, C order.")]
    values: Annotated[
        list[float] | None, Meta(description="Weight of each event; absent, each counts as 1.")
    ] = None


class SamplesInput(_Part, frozen=True):
    """A regularly sampled recording of one sensor."""

    rate_hz: Annotated[float, Meta(gt=0, description="Samples per second, a whole number.")]
    values: Annotated[list[float], Meta(description="Samples at any gain.")]


class UnreadEvents(_Part, frozen=True):
    """Events as `EventsInput` takes them, with their numbers still as text."""

    times_us: Raw
    channels: Raw
    values: list[float] | None = None


class UnreadSensor(_Part, frozen=True):
    """What an event sensor recorded, with its numbers still as text."""

    events: UnreadEvents


class SensorInput(_Part, frozen=True):
    """What one sensor recorded: exactly one of `events`, `samples` and `sample`."""

    events: EventsInput | None = None
    samples: SamplesInput | None = None
    sample: Annotated[
        str | None, Meta(description="Name of a recording that ships with the model.")
    ] = None


ABSENT = Raw()
"""The `data` of a tensor without any."""


class TensorInput(_Part, frozen=True):
    """One tensor of the Open Inference Protocol.

    Its numbers are either in `data`, flat or nested, or, little-endian, behind the JSON header;
    row-major in both.
    """

    name: Annotated[
        str,
        Meta(description="SENSOR.times_us, SENSOR.channels, SENSOR.values or SENSOR.samples."),
    ]
    datatype: Annotated[str, Meta(description="INT64, INT32, INT16, FP32 or FP64, among others.")]
    shape: list[Annotated[int, Meta(ge=0, le=2**48)]]
    parameters: Annotated[
        dict[str, bool | Int64 | float | str],
        Meta(description="`binary_data_size` in bytes; `rate_hz` of samples."),
    ] = field(default_factory=dict)
    data: Raw = field(default_factory=lambda: ABSENT)


class _Contracted(_Part, frozen=True):
    """A model and the choices of its contract."""

    model: Annotated[str | None, Meta(description="Model name, or the start of its digest.")] = None
    profile: Annotated[str | None, Meta(description="Contract profile.")] = None
    dt_s: Annotated[Positive | None, Meta(description="Seconds per time step.")] = None
    contract: Annotated[
        dict[str, bool | Int64 | float | str | None],
        Meta(description="Contract fields that override the profile's."),
    ] = field(default_factory=dict)


class CheckRequest(_Contracted, frozen=True):
    """A request to say whether a model fits targets; nothing is run."""

    targets: Annotated[
        Annotated[list[str], Meta(min_length=1)] | None,
        Meta(description="Targets to check; all that are served here if absent."),
    ] = None
    duration_s: Annotated[
        Positive | None,
        Meta(description="Length of the run to estimate; the model's window if absent."),
    ] = None


class FuseRequest(_Contracted, frozen=True):
    """A request to fuse what some of a model's sensors recorded.

    Whatever is absent is the deployment's, the model's or the target's default.
    """

    target: Annotated[str | None, Meta(description="Where to run.")] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None, Meta(description="Echoed in the reply.")
    ] = None
    record: Annotated[
        list[str], Meta(description='Nodes to record, or "all"; output populations always are.')
    ] = field(default_factory=list)
    quantise: Annotated[
        bool,
        Meta(
            description="Make the integers that the target needs, if the model lacks them: "
            "calibrated on the samples that ship with it, else on this request. The reply says "
            "what that lost."
        ),
    ] = False
    deadline_s: Annotated[
        Positive | None, Meta(description="Seconds until the answer is of no use any more.")
    ] = None
    priority: Annotated[
        Annotated[int, Meta(ge=HIGHEST, le=LOWEST)],
        Meta(description="1 before 2 before 3, as far as requests wait for the target."),
    ] = NORMAL
    sensors: Annotated[
        dict[str, Raw], Meta(description="Sensor name to what it recorded; any subset.")
    ] = field(default_factory=dict)
    inputs: Annotated[
        list[TensorInput], Meta(description="Tensors, beside or instead of `sensors`.")
    ] = field(default_factory=list)


class CompareRequest(FuseRequest, frozen=True, kw_only=True):
    """A fuse request that runs on several targets, which are then compared.

    `target`, `seed` and `record` are taken, so that a fuse request can be sent on, and not used.
    """

    targets: Annotated[list[str], Meta(description="Two or more targets, each once.")]
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, le=1)],
        Meta(description="Mismatched bins, as a share of the spikes, that count as equivalent."),
    ] = TOLERANCE


PARTS = (SensorInput, EventsInput, SamplesInput, TensorInput)
"""What stands inside a request."""


class AliasRequest(_Part, frozen=True):
    """Where an alias is to lead."""

    version: Annotated[str, Meta(description="A version of the model, or the start of its digest.")]


def decode(content: bytes | memoryview | Raw, kind: type[_T], where: str = "") -> _T:
    """Return JSON content as a typed value.

    Args:
        content: the JSON text.
        kind: what it must be.
        where: path of the content in the whole body, for errors; the body itself if empty.

    Raises:
        MalformedBody: if it is no JSON.
        InvalidInput: naming the field that is missing, unknown or of a wrong type.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), where, kind) from None
    except UnicodeDecodeError:
        raise MalformedBody(where or "body", "is not UTF-8 text") from None
    except RecursionError:
        raise MalformedBody(where or "body", "is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise MalformedBody(where or "body", f"is not JSON: {error}") from None


def _invalid(message: str, where: str, kind: type) -> InvalidInput:
    problem, _, path = message.partition(" - at `$")
    path = f"{where}{path.rstrip('`').replace('[...]', '')}".lstrip(".")
    named = re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", problem)
    if named is None:
        problem = problem[:1].lower() + problem[1:].replace("`", "")
        whole = path.endswith("]") and "expected int, got float" in problem
        return InvalidInput(path or "body", problem, "send whole numbers" if whole else None)
    path = f"{path}.{named[2]}".lstrip(".")
    if named[1] == "missing required":
        return InvalidInput(path, "is missing")
    known = {name for part in (kind, *PARTS) for name in getattr(part, "__struct_fields__", ())}
    close = difflib.get_close_matches(named[2][:64], sorted(known - {named[2]}), 1)
    return InvalidInput(path, "is not a field of the request", close[0] if close else None)
