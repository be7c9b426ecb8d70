from dataclasses import replace

from backends.contracts import contract_on, differing, in_integers
from backends.registry import Registry
from fusion.contract import make_contract

OWN = make_contract("nir", 1e-3)


def test_targets_in_floats_run_the_models_own_contract():
    registry = Registry()
    for name in ("numpy", "brian2", "lava-float"):
        assert contract_on(registry.target(name), OWN) == OWN


def test_chips_give_every_weight_a_step_and_keep_the_rest():
    registry = Registry()
    own = replace(OWN, integrator="exponential", reset="subtract_threshold", arithmetic="float32")
    for name in ("loihi-emulator", "loihi-lava"):
        contract = contract_on(registry.target(name), own)
        assert in_integers(registry.target(name))
        assert differing(own, contract) == {
            "arithmetic": ("float32", "loihi_fixed"),
            "arithmetic_form": ("increment", "decay"),
            "feedforward_delay_steps": (0, 1),
        }
        assert contract_on(registry.target(name), contract) == contract


def test_what_differs_between_contracts_is_listed_with_both_values():
    other = replace(OWN, reset="subtract_threshold", feedforward_delay_steps=1)
    assert differing(OWN, other) == {
        "reset": ("to_v_reset", "subtract_threshold"),
        "feedforward_delay_steps": (0, 1),
    }
    assert differing(OWN, OWN) == {}
