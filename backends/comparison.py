"""A whole comparison: one model and one input run on several targets, then compared by pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.compare import PairComparison, TargetRun, compare_runs
from backends.programs import ProgramCache
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.window import Encoding, decide_window, encode_window, manifest_of

Batch = Mapping[str, NDArray[np.generic]]


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


def compare_recordings(
    model: FusionModel,
    recordings: Mapping[str, Recording],
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    *,
    tolerance: float = 0.01,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare targets on what sensors recorded, fused answers included.

    Args:
        model: a model with a manifest.
        recordings: sensor → recording.
        contract: the contract to run under.
        targets: two or more different targets.
        programs: where compiled programs come from.
        tolerance: mismatched bins, as a share of the spikes, that still count as equivalent.
        tell: called with a line of progress before each part.

    Raises:
        InvalidInput: for fewer than two targets, or a recording that does not fit.
        BackendError: if a target cannot be used, refuses the model or breaks off.
    """
    encoding = encode_window(model, recordings, contract)
    batch = {node: values[None] for node, values in encoding.inputs.items()}
    return _compare(model, batch, encoding, contract, targets, programs, tolerance, tell)


def compare_rasters(
    model: FusionModel,
    rasters: Batch,
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    *,
    tolerance: float = 0.01,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare targets on rasters, Input node → [steps, *shape]; else as `compare_recordings`."""
    batch = {node: np.asarray(values)[None] for node, values in rasters.items()}
    return _compare(model, batch, None, contract, targets, programs, tolerance, tell)


def _compare(
    model: FusionModel,
    batch: Batch,
    encoding: Encoding | None,
    contract: ExecutionContract,
    targets: Sequence[str],
    programs: ProgramCache,
    tolerance: float,
    tell: Callable[[str], None],
) -> Comparison:
    if len(set(targets)) < 2 or len(set(targets)) < len(targets):
        raise InvalidInput(
            "targets", f"are {', '.join(targets) or 'none'}", "two or more, each once"
        )
    if not 0 <= tolerance <= 1:
        raise InvalidInput("tolerance", f"is {tolerance}", "a share from 0 to 1")
    runs = []
    for target in targets:
        tell(f"{target}: compiling")
        program = programs.get(model, target, contract)
        tell(f"{target}: running")
        result = program.run(batch, record=["all"])
        label = None
        if encoding is not None:
            outputs = {node: values[0] for node, values in result.outputs.items()}
            label = decide_window(manifest_of(model), outputs, encoding.reports, contract).label
        runs.append(TargetRun(target, contract, program, result, label))
    tell("comparing")
    pairs = compare_runs(model.graph, runs, batch, tolerance)
    return Comparison(model, tuple(runs), pairs, runs[0].result.steps)
