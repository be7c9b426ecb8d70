"""A deployment's part of a comparison: what it tells the one that puts the parts together.

A part is asked for by the header `SNN-Fusion-Part` of a request that was sent on, and told as
MessagePack, compressed: spikes of every population, and later what was tested where they differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from api.comparison.run import Ready, make_ready, run_here
from api.hop import PART, Part
from api.job import ComparisonJob
from api.notes import Notes
from api.packing import Packing, Unreadable
from api.render import model_name
from api.replies import ModelName
from api.service import Service
from backends.compare import Place, Potential, TargetRun
from backends.errors import RunFailed
from backends.trial import Trial
from fusion.errors import InvalidInput

_T = TypeVar("_T")

MEDIA_TYPE = "application/vnd.msgpack"
SPARE_BYTES = 2**22
"""What a part may take beside its spikes."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What a deployment ran of a comparison.

    Attributes:
        model: the model that was run.
        asked: digest of the model that was asked for: another one if it was quantised on the way.
        given: digest of the input.
        runs: of its targets.
        quantisation: what the model lost, as plain values, if it was to be quantised.
    """

    model: ModelName
    asked: str
    given: str
    runs: tuple[TargetRun, ...]
    quantisation: Any


@dataclass(frozen=True, slots=True)
class Answers:
    """What targets tested: target → as many answers as there were places."""

    tested: Mapping[str, tuple[Potential, ...]]


_runs, _answers = Packing(Runs), Packing(Answers)


def runs_of(service: Service, job: ComparisonJob, ready: Ready, notes: Notes) -> Runs:
    """Run what is to run here; raises as `run_here`."""
    trial = ready.trial
    return Runs(
        model_name(trial.model),
        job.shelved.model.digest,
        trial.input_digest,
        tuple(run_here(service, job, trial, notes)),
        ready.quantisation,
    )


def answer_part(service: Service, job: ComparisonJob, part: Part, notes: Notes) -> bytes:
    """Return what is asked for of a comparison; raises as `run_whole`."""
    ready = make_ready(service, job)
    if part.run:
        packed = _runs.pack(runs_of(service, job, ready, notes))
    else:
        tested = {
            target: tuple(ready.trial.tested(target, places).values())
            for target, places in _places(ready.trial, part).items()
        }
        packed = _answers.pack(Answers(tested))
    assert packed is not None
    return packed


def _places(trial: Trial, part: Part) -> dict[str, list[Place]]:
    return {
        target: [_place(trial, *index) for index in places] for target, places in part.test.items()
    }


def _place(trial: Trial, population: int, step: int, neuron: int) -> Place:
    names, sizes = list(trial.populations), list(trial.populations.values())
    if population < len(names) and step < trial.steps and neuron < sizes[population]:
        return Place(names[population], step, neuron)
    where = f"neuron {neuron} of population {population} in step {step}"
    raise InvalidInput(PART, f"asks for {where}, which the model does not have")


def part_of(runs: Runs, differing: Mapping[str, Sequence[Place]]) -> Part:
    """Return the question what a deployment's targets tested where they differ from others."""
    return Part(
        test={
            run.target: tuple(
                (list(run.recorded).index(place.node), place.step, place.neuron)
                for place in differing[run.target]
            )
            for run in runs.runs
            if run.target in differing
        }
    )


def read_runs(content: bytes, owner: str, targets: Sequence[str], max_values: int) -> Runs:
    """Return the runs in a part that a deployment told.

    Args:
        content: what it told.
        owner: its name, for errors.
        targets: the targets that it was to run.
        max_values: spike counts that each may have recorded.

    Raises:
        RunFailed: if it cannot be read.
    """
    runs = _read(_runs, content, owner, part_bytes(len(targets), max_values))
    if [run.target for run in runs.runs] != list(targets):
        raise _strange(owner, "it tells of other targets")
    return runs


def read_tested(
    content: bytes, owner: str, places: Mapping[str, Sequence[Place]]
) -> dict[str, dict[Place, Potential]]:
    """Return target → what it tested where; raises as `read_runs`."""
    answers = _read(_answers, content, owner, SPARE_BYTES).tested
    if {target: len(told) for target, told in answers.items()} != {
        target: len(asked) for target, asked in places.items()
    }:
        raise _strange(owner, "it tells of other places")
    return {
        target: dict(zip(places[target], told, strict=True)) for target, told in answers.items()
    }


def part_bytes(targets: int, max_values: int) -> int:
    """Return the bytes that a part of so many targets takes at most."""
    return 4 * targets * max_values + SPARE_BYTES


def _read(packing: Packing[_T], content: bytes, owner: str, max_bytes: int) -> _T:
    try:
        return packing.unpack(content, max_bytes)
    except Unreadable as error:
        raise _strange(owner, str(error)) from None


def _strange(owner: str, why: str) -> RunFailed:
    return RunFailed(
        f"the deployment at {owner} answered with what is no part of a comparison ({why}): it may "
        f"be of another version"
    )
