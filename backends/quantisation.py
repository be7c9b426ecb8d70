"""From a model to the same model with Loihi's integers attached."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends.base import Target
from backends.contracts import contract_on, in_integers
from backends.errors import ModelRejected
from backends.loihi import check_before_integers, check_loihi
from backends.quantisation_file import REPORT, QuantisationFile, dump, graph_sha256
from fusion.contract import ExecutionContract
from fusion.errors import InvalidInput
from fusion.model import FusionModel, with_files
from simulators.calibration import Rasters, activities, agreement
from simulators.folding import fold
from simulators.loihi_fields import INTEGERS
from simulators.loihi_file import save
from simulators.plan import make_plan
from simulators.quantise import quantise
from simulators.quantise_report import loss_report
from simulators.violation import Unrepresentable


@dataclass(frozen=True, slots=True)
class QuantisedModel:
    """A model with its integers and `quantisation.json` attached, and the latter's content."""

    model: FusionModel
    file: QuantisationFile


def is_quantised(model: FusionModel) -> bool:
    """Return whether a model carries Loihi's integers."""
    return INTEGERS in model.content


def quantise_model(
    model: FusionModel,
    own: ExecutionContract,
    target: Target,
    calibration: Sequence[Rasters],
    held_out: Sequence[Rasters] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> QuantisedModel:
    """Return a model with integers for a target.

    Args:
        model: the model; integers that it has already are replaced.
        own: its own contract.
        target: a target that runs it in integers.
        calibration: Input node → [steps, *shape] for every sample; the registers are scaled so that
            they hold twice what these samples bring about.
        held_out: other samples, on which the agreement with floats is measured.
        tell: called with a line of progress before each part.

    Raises:
        InvalidInput: if the target takes none, there is no sample, or one does not fit the model.
        InvalidModel: if the graph cannot be run anywhere.
        ModelRejected: listing everything that the target cannot do.
    """
    if not in_integers(target):
        raise InvalidInput("target", f"{target.name} runs floats", "a target with loihi_fixed")
    if not calibration:
        raise InvalidInput("calibrate", "is empty", "one sample at least")
    contract = contract_on(target, own)
    violations = check_before_integers(model, contract, target.capabilities)
    if violations:
        raise ModelRejected(target.name, violations)
    plan = make_plan(model.graph, contract)
    folding = fold(plan)
    tell("running the floats")
    known, others = activities(plan, calibration), activities(plan, held_out)
    tell("choosing integers")
    try:
        made = quantise(plan, folding, known)
    except Unrepresentable as error:
        raise ModelRejected(target.name, error.violations) from None
    tell("comparing spikes")
    loss = loss_report(
        made, plan, folding, agreement(made.network, known), agreement(made.network, others)
    )
    file = QuantisationFile(
        contract=contract.as_dict(),
        graph_sha256=graph_sha256(model),
        calibration=len(calibration),
        held_out=len(held_out),
        loss=loss,
    )
    attached = with_files(model, {INTEGERS: save(made.network), REPORT: dump(file)})
    violations = check_loihi(attached, contract, target.capabilities)
    if violations:
        raise ModelRejected(target.name, violations)
    return QuantisedModel(attached, file)
