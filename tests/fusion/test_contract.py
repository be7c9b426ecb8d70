import dataclasses
from pathlib import Path

import pytest

from fusion.contract import CHOICES, PROFILES, ExecutionContract, make_contract
from fusion.errors import InvalidContract


def test_every_field_but_dt_has_choices():
    names = {field.name for field in dataclasses.fields(ExecutionContract)}
    assert names - set(CHOICES) == {"dt_s", "v_min"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_fixes_everything_but_dt(profile):
    assert set(PROFILES[profile]) == {*CHOICES, "v_min"}
    contract = make_contract(profile, 1e-3)
    assert contract.as_dict() == {"dt_s": 1e-3, **PROFILES[profile]}


def test_overrides_come_before_the_profile():
    contract = make_contract("nir", 1e-3, {"reset": "subtract_threshold", "dt_s": 1e-4})
    assert (contract.reset, contract.dt_s) == ("subtract_threshold", 1e-4)


def test_a_model_without_contract_is_told_every_missing_choice():
    with pytest.raises(InvalidContract) as caught:
        make_contract(None, None, {"reset": "to_v_reset"})
    for name in {*CHOICES, "dt_s", "v_min"} - {"reset"}:
        assert name in caught.value.problem


@pytest.mark.parametrize(
    ("profile", "dt_s", "overrides", "field"),
    [
        ("sinab", 1e-3, {}, "profile"),
        ("nir", 1e-3, {"resett": 1}, "contract.resett"),
        ("nir", 1e-3, {"reset": "zero"}, "contract.reset"),
        ("nir", 1e-3, {"recurrent_delay_steps": True}, "contract.recurrent_delay_steps"),
        ("nir", 1e-3, {"recurrent_delay_steps": 0}, "contract.recurrent_delay_steps"),
        ("nir", 1e-3, {"v_min": float("inf")}, "contract.v_min"),
        ("nir", 1e-3, {"v_min": True}, "contract.v_min"),
        ("nir", 0.0, {}, "contract.dt_s"),
        ("nir", float("nan"), {}, "contract.dt_s"),
        ("nir", None, {}, "contract"),
    ],
)
def test_impossible_contracts_are_refused_by_field(profile, dt_s, overrides, field):
    with pytest.raises(InvalidContract) as caught:
        make_contract(profile, dt_s, overrides)
    assert caught.value.field == field


def test_wrong_types_are_refused_by_field():
    with pytest.raises(InvalidContract, match=r"contract\.dt_s"):
        make_contract("nir", 1e-3, {"dt_s": "fast"})
    with pytest.raises(InvalidContract, match=r"contract\.reset"):
        make_contract("nir", 1e-3, {"reset": ["to_v_reset"]})


@pytest.mark.parametrize(
    ("unit", "expected"), [("seconds", 2e-3), ("milliseconds", 2.0), ("steps", 1.0)]
)
def test_the_step_is_known_in_the_files_unit(unit, expected):
    assert make_contract("nir", 2e-3, {"time_unit": unit}).dt_in_file == expected


def test_the_page_on_the_contract_names_every_value_and_profile():
    page = (Path(__file__).parents[2] / "docs/reference/contract.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    for name, values in CHOICES.items():
        for value in values:
            written = str(value).lower() if isinstance(value, bool) else str(value)
            assert written in rows[name], (name, value)
    for profile in PROFILES:
        assert f"`{profile}`" in page


@pytest.mark.parametrize("field", ["dt_s", "v_min"])
@pytest.mark.parametrize(
    "value", [10**400, -(10**5000), float("inf")], ids=["large", "thousands of digits", "infinite"]
)
def test_numbers_beyond_every_float_are_refused_by_name(field, value):
    with pytest.raises(InvalidContract) as caught:
        make_contract("nir", 1e-3, {field: value})
    assert caught.value.field == f"contract.{field}"
    assert len(str(caught.value)) < 200


def test_a_step_that_microseconds_cannot_count_is_refused():
    with pytest.raises(InvalidContract, match="at most 1e"):
        make_contract("nir", 18446744073710)


def test_whole_numbers_are_told_as_floats():
    contract = make_contract("nir", 1, {"v_min": -(2**70)})
    assert (type(contract.dt_s), type(contract.v_min)) == (float, float)
