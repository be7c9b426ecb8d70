"""Brian2 against the reference engine on random graphs: every spike and every bit is the same.

A graph counts only if each of its spiking populations spikes in 1 to 50 % of its bins: a network
that is silent, or spikes all the time, would agree for no good reason.
"""

import gc
from collections.abc import Iterator

import pytest
from support.equality import differences
from support.random_graphs import RATES, Case, cases, coverage, spike_rates, variants

from simulators.brian2_choices import SUPPORTED
from simulators.brian2_codegen import Codegen
from simulators.brian2_engine import Brian2Engine
from simulators.neurons import PARAMETERS
from simulators.operations import MAKERS
from simulators.reference import ReferenceEngine

# Brian2's equation parser uses names that the parser's package has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

CHOICES = {f"{name}={value}" for name, allowed in SUPPORTED.items() if len(allowed) > 1
           for value in allowed}  # fmt: skip
STRUCTURES = {
    "batch", "dense weights", "input counts", "input graded", "input spikes", "loop",
    "one postsynaptic neuron", "scalar parameter", "several Input nodes", "several Output nodes",
    "several sources", "sparse weights",
}  # fmt: skip
EVERYTHING = {*MAKERS, *PARAMETERS, *CHOICES, *STRUCTURES}

COMPILED = (31, 157, 175, 182, 240, 273)
"""Seeds of the structures that are compiled; each takes most of a minute the first time."""


@pytest.fixture(autouse=True)
def quick_collections() -> Iterator[None]:
    """Brian2 collects garbage before each run, slowly among all that was imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def agree(chosen: list[Case], codegen: Codegen) -> int:
    """Return how many cases count, after comparing every one."""
    counted = 0
    for case in chosen:
        expected = ReferenceEngine(case.plan).run(case.inputs, record=["all"])
        engine = Brian2Engine(case.plan, codegen=codegen)
        found = differences(engine.run(case.inputs, record=["all"]), expected)
        assert not found, f"seed {case.seed}, variant {case.variant}: {found}\n{case.contract}"
        assert engine.codegen == codegen
        rates = spike_rates(case, expected)
        counted += bool(rates) and all(RATES[0] <= r <= RATES[1] for r in rates.values())
    print(counted, codegen, dict(sorted(coverage(chosen).items())))
    return counted


@pytest.mark.parametrize("first_seed", [1000, 2000])
def test_random_graphs_give_the_bits_of_the_reference(first_seed: int) -> None:
    chosen = cases(30, first_seed)
    assert agree(chosen, "numpy") == 30
    assert EVERYTHING - set(coverage(chosen)) == set()


@pytest.mark.full
@pytest.mark.parametrize("first_seed", [3000, 4000, 5000, 6000])
def test_more_random_graphs_give_the_bits_of_the_reference(first_seed: int) -> None:
    chosen = cases(36, first_seed)
    assert agree(chosen, "numpy") == 36
    assert EVERYTHING - set(coverage(chosen)) == set()


@pytest.mark.full
@pytest.mark.parametrize("seed", COMPILED)
def test_compiled_code_gives_the_bits_of_the_reference(seed: int) -> None:
    # Structure decides the code: sizes, numbers and inputs vary without compiling anew.
    assert agree(variants(8, seed), "cython") == 8


@pytest.mark.full
def test_the_compiled_structures_cover_what_decides_the_code() -> None:
    met = coverage([case for seed in COMPILED for case in variants(1, seed)])
    print(dict(sorted(met.items())))
    numbers = ("time_unit", "input_gain", "if_gain", "integrator", "initial_v", "binning",
               "delay_rounding", "input ")  # fmt: skip
    in_the_code = {name for name in EVERYTHING if not name.startswith(numbers)}
    assert in_the_code - {"batch", "one postsynaptic neuron"} - set(met) == set()
