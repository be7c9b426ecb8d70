"""The fit report: whether a model fits a target, and what a run would take. Nothing is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from backends.base import Backend, Speed, Violation
from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.draft import NodeSize, measure

ASSUMED_ACTIVITY = 0.05
"""Share of presynaptic lines taken to be active in a step where nothing is known of the input."""

_NUMBER_BYTES = {"float64": 8, "float32": 4, "loihi_fixed": 4}


@dataclass(frozen=True, slots=True)
class PopulationSize:
    """One node that holds neurons: how many, and how many synapses lead to them."""

    node: str
    kind: str
    neurons: int


@dataclass(frozen=True, slots=True)
class FitReport:
    """What is known of a model on a target before it runs.

    Attributes:
        target: the target's name.
        violations: every way in which the model exceeds it; empty if it fits.
        populations: nodes with neurons.
        neurons: neurons in all.
        synapses: weights that are not 0.
        cores: cores of the chip that it takes, where the target has cores.
        memory_bytes: weights and state of one sample, in the contract's number format.
        run_s: estimated seconds of a run over `steps`; None where the target gives no speed.
        run_s_assumes: what the estimate assumes, for people.
    """

    target: str
    violations: tuple[Violation, ...]
    populations: tuple[PopulationSize, ...]
    neurons: int
    synapses: int
    cores: int | None
    memory_bytes: int
    run_s: float | None
    run_s_assumes: str

    @property
    def fits(self) -> bool:
        """Whether the target can run the model."""
        return not self.violations


def fit_report(
    backend: Backend, model: FusionModel, contract: ExecutionContract, steps: int
) -> FitReport:
    """Return how a model fits a target.

    Args:
        backend: the target's backend.
        model: the model.
        contract: how it is to be stepped.
        steps: time steps of the run to estimate.

    Raises:
        InvalidModel: if the graph cannot be run anywhere.
    """
    violations = tuple(backend.check(model, contract))
    nodes = measure(model.graph, contract)
    populations = tuple(
        PopulationSize(node.node, node.kind, node.neurons) for node in nodes if node.neurons
    )
    synapses = sum(node.synapses for node in nodes)
    neurons = sum(node.neurons for node in nodes)
    speed = backend.target.speed
    return FitReport(
        backend.target.name,
        violations,
        populations,
        neurons,
        synapses,
        backend.cores(model, contract),
        _memory_bytes(nodes, contract),
        None if speed is None else _run_s(speed, len(nodes), neurons, synapses, steps),
        f"{steps} steps, one sample, {ASSUMED_ACTIVITY:.0%} of all lines active in a step, on the "
        "machine that the target's figures were measured on",
    )


def _memory_bytes(nodes: Sequence[NodeSize], contract: ExecutionContract) -> int:
    """Weights as compressed rows (an index and a value each), and state and parameters."""
    number = _NUMBER_BYTES[contract.arithmetic]
    return sum(
        node.synapses * (8 + number)
        # Membrane, synaptic current, and up to eight coefficients for every neuron.
        + node.neurons * number * 10
        + node.delay_values * number
        for node in nodes
    )


def _run_s(speed: Speed, nodes: int, neurons: int, synapses: int, steps: int) -> float:
    a_step = (
        speed.us_per_node_step * nodes * 1e-6
        + speed.ns_per_neuron_update * neurons * 1e-9
        + speed.ns_per_synaptic_event * synapses * ASSUMED_ACTIVITY * 1e-9
    )
    return speed.s_per_run + steps * a_step
