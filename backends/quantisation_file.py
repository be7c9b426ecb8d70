"""`quantisation.json`: what a model's integers were made from, and what was lost on the way."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backends.contracts import differing
from fusion.contract import ExecutionContract, make_contract
from fusion.errors import FusionError, InvalidModel
from fusion.manifest import convert
from fusion.model import GRAPH, FusionModel
from simulators.quantise_report import LossReport
from simulators.violation import Violation

REPORT = "quantisation.json"
_SETTLED_LATER = frozenset({"exact", "arithmetic_form"})


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationFile:
    """The whole of `quantisation.json`.

    Attributes:
        contract: the contract that the integers were made for.
        graph_sha256: of `graph.nir`, hexadecimal.
        calibration: samples that the registers were scaled on.
        held_out: samples that the agreement was measured on.
        loss: what was lost.
    """

    contract: Mapping[str, Any]
    graph_sha256: str
    calibration: int
    held_out: int
    loss: LossReport


def graph_sha256(model: FusionModel) -> str:
    """Return the SHA-256 of a model's `graph.nir`, hexadecimal."""
    return hashlib.sha256(model.content.get(GRAPH, b"")).hexdigest()


def dump(file: QuantisationFile) -> bytes:
    """Return the file as JSON."""
    return json.dumps(asdict(file), indent=1).encode() + b"\n"


def quantisation_of(model: FusionModel) -> QuantisationFile | None:
    """Return what is attached to a model about its integers, None if nothing is.

    Raises:
        InvalidModel: if it is damaged, or the integers were made from another graph.
    """
    data = model.content.get(REPORT)
    if data is None:
        return None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidModel(REPORT, f"is not JSON: {error}") from None
    file = convert(content, QuantisationFile, REPORT)
    if file.graph_sha256 != graph_sha256(model):
        problem = "the integers were made from another graph.nir"
        raise InvalidModel(f"{REPORT}.graph_sha256", problem, "quantise the model anew")
    return file


def other_contract(file: QuantisationFile, contract: ExecutionContract) -> list[Violation]:
    """Return the fields in which a contract is not the one that the integers were made for.

    Raises:
        InvalidModel: if the file's contract is none.
    """
    try:
        made_for = make_contract(None, None, file.contract)
    except FusionError as error:
        raise InvalidModel(f"{REPORT}.{error.field}", error.problem, error.nearest) from None
    return [
        Violation(f"contract.{name}", "choice", str(asked), str(made), str(made))
        for name, (asked, made) in differing(contract, made_for).items()
        if name not in _SETTLED_LATER
    ]
