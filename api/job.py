"""Requests that are ready to run."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import Context

from msgspec import Struct

from api.notes import Notes
from backends.base import Target
from backends.fuse import FusedAnswer
from backends.quantisation_file import QuantisationFile
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.shelf import ShelvedModel
from fusion.window import Encoding


class Reply(Struct, frozen=True):
    """A reply that is ready to be sent: its body, and its headers with the content type."""

    content: bytes
    headers: Mapping[str, str]


class Window:
    """What the sensors of a request recorded, read and encoded once, when it is first asked for.

    Args:
        make: reads and encodes.
    """

    def __init__(self, make: Callable[[], Encoding]) -> None:
        self.took_s = 0.0
        self._make = make
        self._encoding: Encoding | None = None

    def encoding(self) -> Encoding:
        """Return it, in a thread; not for two threads at once.

        Raises:
            FusionError: if a recording cannot be used.
        """
        if self._encoding is None:
            begun = time.perf_counter()
            self._encoding = self._make()
            self.took_s = time.perf_counter() - begun
        return self._encoding


class Prepared(Struct, frozen=True, kw_only=True):
    """What every request to run something has.

    Attributes:
        shelved: the model.
        own: the contract that the request asks for, else the model's own.
        quantise: whether to make integers that a target needs and the model lacks.
        deadline_s: seconds from the request's arrival.
        priority: its level in queues.
        started: arrival, on the clock of `time.perf_counter`.
    """

    shelved: ShelvedModel
    own: ExecutionContract
    quantise: bool
    deadline_s: float
    priority: int
    started: float

    @property
    def end(self) -> float:
        """The deadline, on the clock of `time.perf_counter`."""
        return self.started + self.deadline_s


class Placed(Prepared, frozen=True, kw_only=True):
    """What every request to run something on one target has.

    Attributes:
        target: where it runs.
        contract: how the target steps the model.
        record: nodes that the caller wants recorded.
        seed: the caller's, echoed.
        parse_s: seconds that parsing took.
    """

    target: Target
    contract: ExecutionContract
    record: Sequence[str]
    seed: int | None
    parse_s: float

    @property
    def decode_s(self) -> float:
        """Seconds that decoding took."""
        return self.parse_s


class Job(Placed, frozen=True, kw_only=True):
    """A fuse request that is ready to run.

    Attributes:
        size: bytes of what its sensors recorded.
        window: what its sensors recorded, on the Input nodes.
        encode: makes the reply of the job, its answer, the request's id and the seconds it waited:
            what differs between the protocols that it may have come by.
        quantisation: what the model lost if it was to be quantised, once it is known.
    """

    size: int
    window: Window
    encode: Callable[["Job", FusedAnswer, str, float], Reply]
    quantisation: QuantisationFile | None = None

    @property
    def decode_s(self) -> float:
        """Seconds that parsing and encoding took."""
        return self.parse_s + self.window.took_s

    @property
    def key(self) -> Hashable:
        """What jobs for one target must have in common to share a run."""
        alone = id(self) if self.quantise else None
        return self.shelved.model.digest, self.contract, frozenset(self.record), alone

    @property
    def kind(self) -> Hashable:
        """What jobs must have in common to take about the same time."""
        return self.target.name, self.key


class Asked(Struct, frozen=True):
    """A job on its way to the target, with the notes and the context variables of its request."""

    job: Job
    notes: Notes
    context: Context


class ComparisonJob(Prepared, frozen=True, kw_only=True):
    """A comparison, or a deployment's part of one, that is ready to run.

    Attributes:
        recordings: sensor → recording.
        targets: all that are compared, two or more.
        here: those of them that this deployment runs.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
    """

    recordings: Mapping[str, Recording]
    targets: Sequence[str]
    here: Sequence[str]
    tolerance: float
