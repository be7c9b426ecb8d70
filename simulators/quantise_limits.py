"""What of a folded plan Loihi cannot do: each finding names the node and the nearest way out."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from simulators.folding import Drive, Folding
from simulators.loihi_connections import DELAY_MAX
from simulators.neurons import Neuron
from simulators.plan import PlanNode
from simulators.quantise_units import threshold_of
from simulators.violation import Violation

Array = NDArray[np.float64]

DECAY_UNITY = 4096
LONGEST_STEPS = DELAY_MAX + 1
"""Steps from a spike to the neuron: the one that every synapse takes, and its delay."""


def violations_of(folding: Folding, contract: ExecutionContract) -> list[Violation]:
    """Return everything in a folded plan that no network of Loihi's integers can do."""
    found = list(folding.violations)
    spiking = {node.name: node.spikes for node in folding.populations}
    spiking |= {node.name: True for node in folding.inputs}
    for node in folding.populations:
        found += _neurons(node, contract)
        found += _synapses(node, folding.drives[node.name], spiking)
    populations = {node.name for node in folding.populations}
    for node in folding.outputs:
        found += _output(node, folding.drives[node.name], populations)
    return found


def _neurons(node: PlanNode, contract: ExecutionContract) -> Iterator[Violation]:
    neuron = node.operation
    assert isinstance(neuron, Neuron)
    threshold = threshold_of(neuron)
    if np.any(threshold <= 0):
        yield Violation(
            node.name, "v_threshold - v_reset", f"{threshold.min():.6g}", "more than 0",
            "v_threshold above v_reset",
        )  # fmt: skip
    rates = {"tau_mem": neuron.leak, "tau_syn": neuron.synapse}
    for name, part in rates.items():
        if part is not None:
            yield from _rate(node, name if neuron.synapse else "tau", part.rate, contract)


def _rate(
    node: PlanNode, name: str, rate: Array, contract: ExecutionContract
) -> Iterator[Violation]:
    dt = contract.dt_in_file
    allowed = f"1/{DECAY_UNITY} to 1"
    if rate.max() > 1:
        yield Violation(
            node.name, f"decay per step, dt / {name}", f"{rate.max():.6g}", allowed,
            f"{name} of at least {dt:.6g}",
        )  # fmt: skip
    if rate.min() * DECAY_UNITY < 0.5:
        yield Violation(
            node.name, f"decay per step, dt / {name}", f"{rate.min():.3g}", allowed,
            f"{name} of at most {DECAY_UNITY * dt:.6g}",
        )  # fmt: skip


def _synapses(node: PlanNode, drive: Drive, spiking: dict[str, bool]) -> Iterator[Violation]:
    for source, delay in sorted(drive.taps):
        if not spiking[source]:
            yield Violation(
                source, "output into synapses", "a membrane potential", "spikes",
                f"a LIF or CubaLIF in place of {source}, or an Output behind it",
            )  # fmt: skip
        if delay < 1:
            yield Violation(
                node.name, f"steps from {source}", str(delay), f"1 to {LONGEST_STEPS}",
                "weights between them, which cost a step",
            )  # fmt: skip
        if delay > LONGEST_STEPS:
            yield Violation(
                node.name, f"steps from {source}", str(delay), f"1 to {LONGEST_STEPS}",
                f"a Delay of {LONGEST_STEPS - 1} steps",
            )  # fmt: skip


def _output(node: PlanNode, drive: Drive, populations: set[str]) -> Iterator[Violation]:
    if read_by(drive, populations) is None:
        parts = [f"{source}, {delay} steps late" for source, delay in sorted(drive.taps)]
        parts += ["a constant"] * any(bias.any() for bias in drive.biases.values())
        yield Violation(
            node.name, "what an Output reads", " and ".join(parts) or "nothing",
            "one population as it is", "an LI, CubaLI or LIF in front of it",
        )  # fmt: skip


def read_by(drive: Drive, populations: Collection[str]) -> tuple[str, float] | None:
    """Return the population that an Output reads and the factor on it; None if it is not one."""
    if len(drive.taps) != 1 or any(bias.any() for bias in drive.biases.values()):
        return None
    (((source, delay), matrix),) = drive.taps.items()
    entries = matrix.tocoo()
    diagonal = entries.row.size == matrix.shape[0] and np.array_equal(entries.row, entries.col)
    if source not in populations or delay or not diagonal or np.ptp(entries.data):
        return None
    return source, float(entries.data[0])
