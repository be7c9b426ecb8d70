"""A whole comparison: one model and one input run on several targets, then compared by pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends.compare import (
    TOLERANCE,
    PairComparison,
    TargetRun,
    compare_runs,
    first_differences,
    places_to_test,
)
from backends.trial import Trial
from fusion.errors import InvalidInput
from fusion.model import FusionModel


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model and one input on several targets.

    Attributes:
        model: the model.
        runs: every target's run, in the order asked for.
        pairs: every two of them compared.
        steps: time steps run.
    """

    model: FusionModel
    runs: tuple[TargetRun, ...]
    pairs: tuple[PairComparison, ...]
    steps: int


def compare_targets(
    trial: Trial,
    targets: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Run a trial on its targets and compare them.

    Args:
        trial: the model and the input.
        targets: all targets of the trial.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
        tell: called with a line of progress before each part.

    Raises:
        InvalidInput: for a tolerance that is no share.
        BackendError: if a target cannot be used, refuses the model or breaks off.
    """
    if not 0 <= tolerance <= 1:
        raise InvalidInput("tolerance", f"is {tolerance}", "a share from 0 to 1")
    runs = []
    for target in targets:
        tell(f"{target}: compiling")
        program = trial.compile(target)
        tell(f"{target}: running")
        runs.append(trial.run(target, program))
    tell("comparing")
    return compared(trial, runs, tolerance)


def compared(trial: Trial, runs: Sequence[TargetRun], tolerance: float) -> Comparison:
    """Compare the runs of a trial, all of which were made in this process; else as above."""
    differences = first_differences(runs)
    places = places_to_test(differences)
    tested = {target: trial.tested(target, found) for target, found in places.items()}
    pairs = compare_runs(runs, differences, tested, tolerance)
    return Comparison(trial.model, tuple(runs), pairs, runs[0].steps)
