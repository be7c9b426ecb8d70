"""Requests that are ready to run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backends.base import Target
from backends.fuse import FusedAnswer
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.shelf import ShelvedModel


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is ready to be sent: its body, and its headers with the content type."""

    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What every request to run something has.

    Attributes:
        shelved: the model.
        contract: how it is stepped.
        recordings: sensor → recording.
        deadline_s: seconds from the request's arrival.
        started: arrival, on the clock of `time.perf_counter`.
    """

    shelved: ShelvedModel
    contract: ExecutionContract
    recordings: Mapping[str, Recording]
    deadline_s: float
    started: float

    @property
    def end(self) -> float:
        """The deadline, on the clock of `time.perf_counter`."""
        return self.started + self.deadline_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Prepared):
    """A fuse request that is ready to run.

    Attributes:
        target: where it runs.
        record: nodes that the caller wants recorded.
        seed: the caller's, echoed.
        decode_s: seconds that parsing took.
        encode: makes the reply of the job, its answer, the request's id and the seconds it waited:
            what differs between the protocols that it may have come by.
    """

    target: Target
    record: Sequence[str]
    seed: int | None
    decode_s: float
    encode: Callable[["Job", FusedAnswer, str, float], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonJob(Prepared):
    """A comparison that is ready to run.

    Attributes:
        targets: where it runs, two or more.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
    """

    targets: Sequence[str]
    tolerance: float
