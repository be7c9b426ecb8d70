"""Calibration samples named on a command line, or taken from what a model ships."""

from collections.abc import Callable, Sequence

from api.named_inputs import read_inputs
from backends.fuse import encode
from backends.latency import output_latency
from fusion.contract import ExecutionContract
from fusion.errors import InvalidInput
from fusion.samples import Sample, list_samples
from fusion.shelf import ShelvedModel
from simulators.calibration import Rasters
from simulators.rasters import lasting

EVERY, SAMPLE = "samples", "sample:"


def read_samples(
    given: Sequence[str], shelved: ShelvedModel, contract: ExecutionContract
) -> list[Rasters]:
    """Return the samples named on a command line, on the Input nodes.

    Args:
        given: `samples`, all that ship with the model; `sample:NAME`, one of them with all its
            sensors; or as `run --input` takes them, the n-th of each sensor or node together being
            the n-th sample.
        shelved: the model.
        contract: the contract that they are to run under.

    Raises:
        InvalidInput: naming what is unknown, unreadable, or given without what belongs to it.
    """
    groups: list[list[str]] = []
    counts: dict[str, int] = {}
    named: list[list[str]] = []
    for entry in given:
        shipped = _shipped(entry, shelved)
        if shipped is not None:
            groups += [[f"{s}=sample:{one.name}" for s in one.files] for one in shipped]
            continue
        name = entry.partition("=")[0] if "=" in entry else ""
        number = counts[name] = counts.get(name, 0) + 1
        if number > len(named):
            named.append([])
        named[number - 1].append(entry)
    return [_encoded(group, shelved, contract) for group in (*groups, *named)]


def calibration_of(
    shelved: ShelvedModel,
    own_input: Callable[[ExecutionContract], Rasters],
    contract: ExecutionContract,
) -> list[Rasters]:
    """Return what a model is calibrated on for one run.

    Args:
        shelved: the model.
        own_input: gives the run's own input, which serves where no samples ship with the model.
        contract: the contract that they are to run under.
    """
    if list_samples(shelved.path):
        return read_samples([EVERY], shelved, contract)
    return [own_input(contract)]


def _shipped(entry: str, shelved: ShelvedModel) -> list[Sample] | None:
    """Return the shipped samples that an entry means, None if it means no whole sample."""
    if entry != EVERY and not entry.startswith(SAMPLE):
        return None
    known = {one.name: one for one in list_samples(shelved.path)}
    if entry == EVERY and known:
        return list(known.values())
    name = entry.removeprefix(SAMPLE)
    if name not in known:
        listed = ", ".join(known) or "this model ships no samples"
        raise InvalidInput(f"calibrate {entry}", "is no sample that ships", listed)
    return [known[name]]


def _encoded(group: Sequence[str], shelved: ShelvedModel, contract: ExecutionContract) -> Rasters:
    inputs = read_inputs(group, shelved)
    if inputs.recordings:
        return encode(shelved.model, inputs.recordings, contract).rasters()
    missing = [node for node in shelved.model.graph.inputs if node not in inputs.rasters]
    if missing:
        raise InvalidInput(f"calibrate {', '.join(group)}", f"leaves out {', '.join(missing)}")
    extra = max(output_latency(shelved.model, contract).values(), default=0)
    return {node: lasting(one, len(one) + extra) for node, one in inputs.rasters.items()}
