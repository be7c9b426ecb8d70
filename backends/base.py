"""The types between a service and a chip: capabilities, targets, backends and programs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.trace import Counts, Raster, State
from simulators.violation import Violation

__all__ = [
    "Backend",
    "Capabilities",
    "CheckedStep",
    "Energy",
    "EnergyModel",
    "Program",
    "RunResult",
    "Speed",
    "Taint",
    "Target",
    "Violation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a target can do, as its configuration says; None means no limit.

    Attributes:
        node_types: NIR types it runs.
        arithmetic: number formats it computes in.
        max_neurons: neurons in one model.
        max_synapses: synapses in one model.
        max_values: values that all nodes of one model put out in a step.
        max_delay_values: values that all delays of one model hold back.
        weight_bits: bits of a weight.
        cores: neuromorphic cores.
        neurons_per_core: neurons of one core.
        synapses_per_core: synapses that lead to the neurons of one core.
        fan_in_per_core: different neurons and inputs that send to one core (its input axons), and
            so to one neuron.
        fan_out_per_core: pairs of a neuron of one core and a core that it sends to (output axons).
        deterministic: the same input gives the same bits.
        stateful: takes a state in and gives one out.
        hardware: runs on a chip rather than in a simulator.
    """

    node_types: tuple[str, ...]
    arithmetic: tuple[str, ...]
    max_neurons: int | None = None
    max_synapses: int | None = None
    max_values: int | None = None
    max_delay_values: int | None = None
    weight_bits: int | None = None
    cores: int | None = None
    neurons_per_core: int | None = None
    synapses_per_core: int | None = None
    fan_in_per_core: int | None = None
    fan_out_per_core: int | None = None
    deterministic: bool
    stateful: bool
    hardware: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a run takes on the machine where the figures were measured, for estimates only.

    A run takes s_per_run + steps · (nodes · us_per_node_step + neurons · ns_per_neuron_update +
    active synapses · ns_per_synaptic_event).
    """

    s_per_run: float = 0.0
    us_per_node_step: float = 0.0
    ns_per_neuron_update: float = 0.0
    ns_per_synaptic_event: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyModel:
    """Published energies of single operations, from which a run's energy is estimated.

    Attributes:
        model: name of the model.
        citation: where the figures stand, and how they were found.
        pj_per_synaptic_event: picojoules of a synapse that carries a spike.
        pj_per_neuron_update: picojoules of a neuron that is stepped.
        excludes: what is not in them.
    """

    model: str
    citation: str
    pj_per_synaptic_event: float
    pj_per_neuron_update: float
    excludes: tuple[str, ...]

    @property
    def formula(self) -> str:
        """How an estimate comes about, for people."""
        return _formula(self.pj_per_synaptic_event, self.pj_per_neuron_update)


@cache
def _formula(pj_per_synaptic_event: float, pj_per_neuron_update: float) -> str:
    return (
        f"{pj_per_synaptic_event:g} pJ x synaptic events + "
        f"{pj_per_neuron_update:g} pJ x neuron updates, every update as of an active neuron"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What keeps pods without a target's hardware off the nodes that have it, as in Kubernetes."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place where models run, from one file in `hw_configs`.

    Attributes:
        name: what a request names.
        backend: entry point that drives it.
        description: one line for people.
        capabilities: what it can do.
        options: what only its backend understands.
        max_run_s: seconds after which a run is killed.
        max_batch_size: samples that a service puts into one run; 1 where a run takes a sample only.
        max_queue_delay_us: microseconds that a service lets a sample wait for others while another
            run goes on.
        speed: what a run takes, roughly; None where it was not measured.
        energy: what operations take on the chip; None where nobody has published it.
        energy_unknown: why there is none.
        node_label: label of the cluster's nodes that can run it, `key=value`; empty for any node.
        node_resource: extended resource that these nodes offer for each board; empty for none.
        taint: taint of these nodes, or None.
    """

    name: str
    backend: str
    description: str
    capabilities: Capabilities
    options: Mapping[str, Any] = field(default_factory=dict)
    max_run_s: float = 60.0
    max_batch_size: int = 1
    max_queue_delay_us: int = 0
    speed: Speed | None = None
    energy: EnergyModel | None = None
    energy_unknown: str = "its configuration has no energy of an operation, and it measures none"
    node_label: str = ""
    node_resource: str = ""
    taint: Taint | None = None


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of a run.

    Attributes:
        kind: `estimate` or `measured`.
        joules: float64 [batch], of every sample.
        model: what the estimate goes by, or what measured it.
        formula: how the joules came about, for people.
        excludes: what is not in them.
    """

    kind: Literal["estimate", "measured"]
    joules: NDArray[np.float64]
    model: str
    formula: str
    excludes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a program's run gives back.

    Attributes:
        outputs: Output node → [batch, steps, *shape].
        recorded: `NODE.spikes` (int32), `NODE.v`, `NODE.i` → [batch, steps, *shape].
        state: state to go on from.
        steps: time steps run.
        counts: work done, for every sample.
        wall_s: seconds the run took.
        energy: what the target measured; None if it measures nothing.
        overflows: `NODE.REGISTER` → int64 [batch], how often integers left their range, for
            registers where any did.
    """

    outputs: Mapping[str, NDArray[np.floating]]
    recorded: Mapping[str, NDArray[np.generic]]
    state: State
    steps: int
    counts: Counts
    wall_s: float
    energy: Energy | None = None
    overflows: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """One step of the checklist of a first run.

    Attributes:
        what: what is checked.
        found: what was seen, or what went wrong.
        passed: None if it was not run, because a step before it failed.
        remedy: what to do if it did not pass.
    """

    what: str
    found: str
    passed: bool | None
    remedy: str = ""


class Program(ABC):
    """A model compiled for a target, ready to run many times; safe to call from several threads.

    Attributes:
        in_process: whether a run is nothing but computing in the caller's thread, so that it waits
            for nothing and cannot hang.
    """

    in_process: bool = False

    @abstractmethod
    def run(
        self,
        batch: Mapping[str, Raster],
        state: State | None = None,
        record: Collection[str] = (),
        deadline_s: float | None = None,
    ) -> RunResult:
        """Run the network over a batch of independent samples.

        Args:
            batch: Input node → [batch, steps, *shape], finite activity per step, dense or
                as a `SparseRaster`, which `numpy.asarray` makes dense.
            state: state to go on from, or None to start anew.
            record: nodes to record, or `all`.
            deadline_s: seconds it may take; None means the target's own limit.

        Raises:
            InvalidInput: if the input, state or record does not fit the model.
            RunFailed: if the run broke off, `RunTimeout` if it passed the deadline.
        """

    def close(self) -> None:
        """Free what the program holds; calling it twice does nothing."""
        return


class Backend(ABC):
    """Drives one kind of target.

    Args:
        target: the target it drives.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    def available(self) -> None:
        """Return if the target can be used here and now.

        Raises:
            TargetUnavailable: saying why it cannot, and what to do.
        """
        return

    def warm_up(self) -> None:
        """Do once what would make the first request slow, loading machine code for one.

        Raises:
            TargetUnavailable: if the target cannot be used.
        """
        return

    @abstractmethod
    def check(self, model: FusionModel, contract: ExecutionContract) -> list[Violation]:
        """Return every way in which the model exceeds the target, without running anything.

        Raises:
            InvalidModel: if the graph cannot be run anywhere.
        """

    @abstractmethod
    def compile(self, model: FusionModel, contract: ExecutionContract) -> Program:
        """Return the model as a program.

        Raises:
            InvalidModel: if the graph cannot be run anywhere.
            ModelRejected: if it exceeds the target.
            TargetUnavailable: if the target cannot be used.
        """

    def cores(self, model: FusionModel, contract: ExecutionContract) -> int | None:  # noqa: ARG002
        """Return the cores that a model takes; None, as by default, where that is not known."""
        return None

    def first_run(self) -> Iterator[CheckedStep]:
        """Walk through what to check before a target's hardware is trusted; nothing by default."""
        return iter(())

    def close(self) -> None:
        """Free what the backend holds, a child process for one; a later run starts afresh."""
        return
