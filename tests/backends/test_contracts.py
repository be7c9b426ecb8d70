from dataclasses import replace

from backends.contracts import contract_on, differing
from backends.registry import Registry
from fusion.contract import make_contract

OWN = make_contract("nir", 1e-3)


def test_targets_in_floats_run_the_models_own_contract():
    registry = Registry()
    for name in ("numpy", "brian2"):
        assert contract_on(registry.target(name), OWN) == OWN


def test_what_differs_between_contracts_is_listed_with_both_values():
    other = replace(OWN, reset="subtract_threshold", feedforward_delay_steps=1)
    assert differing(OWN, other) == {
        "reset": ("to_v_reset", "subtract_threshold"),
        "feedforward_delay_steps": (0, 1),
    }
    assert differing(OWN, OWN) == {}
