"""How far an engine agrees with the reference on random graphs, and what these graphs held."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from support.equality import differences
from support.random_graphs import NUMBERS, RATES, Case, spike_rates

from simulators.neurons import PARAMETERS
from simulators.operations import MAKERS
from simulators.reference import SUPPORTED, ReferenceEngine
from simulators.trace import Trace

_STRUCTURES = frozenset(
    {
        "batch", "dense weights", "input counts", "input graded", "input spikes", "loop",
        "loop without delay", "nested graph", "one postsynaptic neuron", "parameter left out",
        "scalar parameter", "several Input nodes", "several Output nodes", "several sources",
        "several spikes in a step", "sparse weights", "v_min reached",
    }
)  # fmt: skip
_CHOICES = {f"{name}={value}" for name, allowed in SUPPORTED.items() for value in allowed}
EVERYTHING = frozenset({*MAKERS, *PARAMETERS, *_CHOICES, *_STRUCTURES})
"""Every node type, every value of every field of the contract, and what else a graph can hold."""

IN_THE_CODE = frozenset(
    {*MAKERS, *PARAMETERS, "loop", "loop without delay", "several sources", "v_min"}
    | {choice for choice in _CHOICES if choice.split("=")[0] not in NUMBERS} - {"input_gain=unit"}
)
"""What of it makes an engine that generates code generate other code."""


@dataclass
class Tally:
    """What was compared: spiking bins and how many differ, features, and where a bit differs."""

    graphs: int = 0
    bins: int = 0
    spikes: int = 0
    differing_bins: int = 0
    features: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)

    def take(self, case: Case, trace: Trace) -> None:
        """Compare an engine's trace, with every node recorded, with the reference's."""
        expected = ReferenceEngine(case.plan).run(case.inputs, record=["all"])
        rates = spike_rates(case, expected)
        assert rates, case.seed
        assert all(RATES[0] <= rate <= RATES[1] for rate in rates.values()), (case.seed, rates)
        self.graphs += 1
        for name in rates:
            ours, theirs = trace.recorded[f"{name}.spikes"], expected.recorded[f"{name}.spikes"]
            self.bins += theirs.size
            self.spikes += int(theirs.sum())
            self.differing_bins += int(np.count_nonzero(ours != theirs))
        self.features.update(case.features | _met(case, expected))
        if found := differences(trace, expected):
            self.mismatches.append(f"seed {case.seed}.{case.variant}: {found} {case.contract}")

    def add(self, other: "Tally") -> None:
        """Take over what another tally counted."""
        self.graphs += other.graphs
        self.bins += other.bins
        self.spikes += other.spikes
        self.differing_bins += other.differing_bins
        self.features += other.features
        self.mismatches += other.mismatches

    def __str__(self) -> str:
        met = "\n".join(f"{count:7} {name}" for name, count in sorted(self.features.items()))
        lacking = ", ".join(sorted(EVERYTHING - set(self.features))) or "nothing"
        return "\n".join(
            [
                *(met, f"missing: {lacking}", *self.mismatches),
                f"{self.graphs} graphs, {self.bins} bins, {self.spikes} spikes, "
                f"{self.differing_bins} bins differ, {len(self.mismatches)} graphs differ in a bit",
            ]
        )


def _met(case: Case, trace: Trace) -> set[str]:
    """Return what only a run shows: choices that came to bear."""
    met = set()
    if any(raster.max() > 1 for key, raster in trace.recorded.items() if key.endswith(".spikes")):
        met.add("several spikes in a step")
    v_min = case.contract.v_min
    if v_min is not None and any(
        (v == v.dtype.type(v_min)).any() for key, v in trace.recorded.items() if key.endswith(".v")
    ):
        met.add("v_min reached")
    return met
