"""Networks that a platform built, exported and ran, compared bin by bin with the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.graph_file import read_graph
from simulators.neurons import Neuron
from simulators.plan import Plan, PlanNode, make_plan
from simulators.reference import ReferenceEngine

ROUNDINGS = 64
"""Roundings to float32 that may pile up in a membrane: the error bound of a margin."""


@dataclass
class Agreement:
    """How far one kind of network of a platform agrees, summed over its networks.

    Attributes:
        bins: bins compared, over all spiking layers.
        spikes: bins in which the platform spiked.
        differing: bins that differ.
        margins: for every network that differs, how far its first differing bin is from the
            threshold, in units of the float32 error bound.
        silent: layers that never spiked.
    """

    bins: int = 0
    spikes: int = 0
    differing: int = 0
    margins: list[float] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.bins:8} bins {self.spikes:7} spikes {self.differing:5} differ {self.margins}"


def networks(folder: Path, cell: str, weights: str) -> list[str]:
    """Return the names of a cell's networks."""
    return sorted(path.stem for path in folder.glob(f"{cell}.{weights}.*.nir"))


def compare(folder: Path, name: str, contract: ExecutionContract, found: Agreement) -> None:
    """Run the network `name` under the contract and add what is found."""
    plan = make_plan(read_graph((folder / f"{name}.nir").read_bytes()), contract)
    with np.load(folder / f"{name}.npz") as arrays:
        (source,) = plan.of_kind("Input")
        inputs = {source.name: arrays["raster"][None]}
        theirs = {k.removeprefix("spikes."): arrays[k] for k in arrays if k.startswith("spikes.")}
    trace = ReferenceEngine(plan).run(inputs, record=theirs)
    wrong = {}
    for node, spikes in theirs.items():
        ours = trace.recorded[f"{node}.spikes"][0]
        assert ours.shape == spikes.shape, f"{name} {node}: {ours.shape} and {spikes.shape}"
        wrong[node] = (ours != spikes).reshape(len(ours), -1)
        found.bins += spikes.size
        found.spikes += int(np.count_nonzero(spikes))
        found.differing += int(np.count_nonzero(wrong[node]))
        found.silent += [] if spikes.any() else [f"{name} {node}"]
    if any(mask.any() for mask in wrong.values()):
        found.margins.append(_margin(plan, inputs, wrong))


def _margin(
    plan: Plan, inputs: Mapping[str, NDArray[np.generic]], wrong: Mapping[str, NDArray[np.bool_]]
) -> float:
    """Return how near to its threshold the first differing bin is, in units of the bound."""
    contract = plan.contract
    if contract.reset_timing == "same_step":
        # The same spikes, but the membrane is recorded as the spike test saw it.
        contract = replace(contract, reset_timing="next_step_before_input")
    trace = ReferenceEngine(Plan(plan.nodes, contract)).run(inputs, record=wrong)
    first = min(int(np.argmax(mask.any(axis=1))) for mask in wrong.values() if mask.any())
    node = next(n for n in plan.nodes if n.name in wrong and wrong[n.name][first].any())
    v = trace.recorded[f"{node.name}.v"][0, first].reshape(-1).astype(float)
    return float(np.max(_distance(node, v, contract)[wrong[node.name][first]]))


def _distance(
    node: PlanNode, v: NDArray[np.float64], contract: ExecutionContract
) -> NDArray[np.float64]:
    assert isinstance(node.operation, Neuron)
    assert node.operation.spiking is not None
    theta = node.operation.spiking.v_threshold
    crossed = np.maximum(1, np.rint(v / theta)) if contract.spikes_per_step == "floor" else 1.0
    scale = np.maximum(1.0, np.maximum(np.abs(v), np.abs(theta)))
    bound: NDArray[np.float64] = ROUNDINGS * np.finfo(np.float32).eps * scale
    return np.abs(v - theta * crossed) / bound
