import json

import nir
import numpy as np
import pytest
from support.profiles import FLOAT_PROFILES
from typer.testing import CliRunner

from api.cli import app
from fusion.contract import CHOICES, PROFILES

GIVEN = {
    "reset": "subtract_threshold",
    "reset_timing": "next_step_after_input",
    "recurrent_delay_steps": 1,
    "feedforward_delay_steps": 1,
    "spike_condition": ">=",
    "time_unit": "milliseconds",
    "v_min": -0.5,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("run")
    one = np.ones(1)
    graph = nir.NIRGraph.from_list(
        nir.Linear(one[:, None] * 3), nir.LIF(tau=one * 5, r=one, v_leak=one * 0, v_threshold=one)
    )
    nir.write(here / "one.nir", graph)
    np.save(here / "raster.npy", np.ones((8, 1)))
    return here


def run(folder, *options):
    arguments = [str(folder / "one.nir"), "--input", str(folder / "raster.npy")]
    return CliRunner().invoke(app, ["run", *arguments, "--dt", "0.001", *options])


def contract(folder, *options):
    done = run(folder, *options, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["contract"]


@pytest.mark.parametrize("profile", sorted(FLOAT_PROFILES))
def test_every_profile_runs_and_is_echoed(folder, profile):
    assert contract(folder, "--profile", profile) == {"dt_s": 0.001, **PROFILES[profile]}


def test_every_given_field_overrides_the_profile(folder):
    options = []
    for name, value in GIVEN.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    expected = {"dt_s": 0.001, **PROFILES["nir"], **GIVEN, "exact": False}
    assert contract(folder, "--profile", "nir", *options, "--no-exact") == expected


def test_a_bound_can_be_taken_away(folder):
    assert contract(folder, "--profile", "nir", "--v-min", "none")["v_min"] is None


@pytest.mark.parametrize(
    "options", [("--reset", "zero"), ("--v-min", "low"), ("--recurrent-delay-steps", "2")]
)
def test_impossible_values_name_the_option(folder, options):
    done = run(folder, "--profile", "nir", *options)
    assert done.exit_code == 2
    assert options[0] in done.stderr


def test_the_help_lists_every_field():
    done = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"})
    for name in [*CHOICES, "v_min"]:
        assert f"--{name.replace('_', '-')}" in done.stdout
