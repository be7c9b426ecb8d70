"""A request that is ready to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.base import Target
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.shelf import ShelvedModel


@dataclass(frozen=True, slots=True)
class Job:
    """A request that is ready to run.

    Attributes:
        shelved: the model.
        target: where it runs.
        contract: how it is stepped.
        recordings: sensor → recording.
        record: nodes that the caller wants recorded.
        seed: the caller's, echoed.
        deadline_s: seconds from the request's arrival.
        started: arrival, on the clock of `time.perf_counter`.
        decode_s: seconds that parsing took.
    """

    shelved: ShelvedModel
    target: Target
    contract: ExecutionContract
    recordings: Mapping[str, Recording]
    record: Sequence[str]
    seed: int | None
    deadline_s: float
    started: float
    decode_s: float

    @property
    def end(self) -> float:
        """The deadline, on the clock of `time.perf_counter`."""
        return self.started + self.deadline_s
