"""Brian2 against the reference engine on random graphs: every spike and every bit is the same.

A graph counts only if each of its spiking populations spikes in 1 to 50 % of its bins: a network
that is silent, or spikes all the time, would agree for no good reason. `make fuzz` compares any
number of other graphs.
"""

import gc
from collections.abc import Iterator

import pytest
from support.agreement import EVERYTHING, IN_THE_CODE, Tally
from support.profiles import FLOAT_PROFILES
from support.random_graphs import Case, cases, variants

from simulators.brian2_codegen import Codegen
from simulators.brian2_engine import Brian2Engine
from simulators.reference import ReferenceEngine

# Brian2's equation parser uses names that the parser's package has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

COMPILED = (142, 302, 475, 570, 904, 928, 1171)
"""Seeds of the structures that are compiled; each takes about half a minute the first time."""


@pytest.fixture(autouse=True)
def quick_collections() -> Iterator[None]:
    """Brian2 collects garbage before each run, slowly among all that was imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def agreement(chosen: list[Case], codegen: Codegen = "numpy") -> Tally:
    """Return what was compared on these cases, after asserting that it is the same."""
    tally = Tally()
    for case in chosen:
        engine = Brian2Engine(case.plan, codegen=codegen)
        assert engine.codegen == codegen
        tally.take(case, engine.run(case.inputs, record=["all"]))
    print(tally)
    assert tally.mismatches == []
    return tally


def test_a_spike_or_a_bit_that_differs_is_told() -> None:
    (case,) = cases(1, 0)
    for quantity in ("spikes", "v"):
        trace = ReferenceEngine(case.plan).run(case.inputs, record=["all"])
        key = next(key for key in trace.recorded if key.endswith(f".{quantity}"))
        trace.recorded[key].flat[0] += 1
        tally = Tally()
        tally.take(case, trace)
        assert key in tally.mismatches[0]
        assert tally.differing_bins == (quantity == "spikes")


@pytest.mark.parametrize("profile", FLOAT_PROFILES)
def test_every_profile_gives_the_bits_of_the_reference(profile: str) -> None:
    agreement(cases(5, 100, profile))


def test_random_graphs_give_the_bits_of_the_reference() -> None:
    tally = agreement(cases(40, 1000))
    assert EVERYTHING - set(tally.features) == set()


@pytest.mark.full
@pytest.mark.parametrize("first_seed", range(10_000, 30_000, 1000))
def test_a_thousand_random_graphs_give_the_bits_of_the_reference(first_seed: int) -> None:
    tally = agreement(cases(50, first_seed))
    assert EVERYTHING - set(tally.features) == set()


@pytest.mark.full
@pytest.mark.parametrize("seed", COMPILED)
def test_compiled_code_gives_the_bits_of_the_reference(seed: int) -> None:
    # Structure decides the code: sizes, numbers and inputs vary without compiling anew.
    agreement(variants(6, seed), "cython")


def test_the_compiled_structures_cover_what_decides_the_code() -> None:
    met = set().union(*(case.features for seed in COMPILED for case in variants(1, seed)))
    assert IN_THE_CODE - met == set()
