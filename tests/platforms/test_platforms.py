"""Networks of other platforms, exported by them, give their spikes here, bin for bin."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.platforms import Agreement, compare, networks

from fusion.contract import PROFILES, make_contract

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-platforms/bin/python"
NETWORKS = Path(__file__).parent / "networks"
ZERO = {"reset": "to_v_reset"}

CELLS = {
    "snntorch": {
        "Leaky-zero": ("snntorch-import", 1e-4, {}),
        "Leaky-subtract": ("snntorch", 1e-4, {}),
        "Synaptic-zero": ("snntorch", 1e-4, ZERO),
        "Synaptic-subtract": ("snntorch", 1e-4, {}),
        "RLeaky-zero": ("snntorch", 1e-4, ZERO),
        "RLeaky-subtract": ("snntorch", 1e-4, {}),
        "RSynaptic-zero": ("snntorch", 1e-4, ZERO),
        "RSynaptic-subtract": ("snntorch", 1e-4, {}),
        "conv-zero": ("snntorch-import", 1e-4, {}),
        "conv-subtract": ("snntorch", 1e-4, {}),
        "Leaky-at-once": ("snntorch-import", 1e-4, {}),
        "Synaptic-at-once": ("snntorch-import", 1e-4, {}),
        "RLeaky-at-once": ("snntorch-import", 1e-4, {}),
    },
    "norse": {
        "LIFBox": ("norse", 1e-3, {}),
        "LIFBox-subtract": ("norse", 1e-3, {"reset": "subtract_threshold"}),
        "IAF": ("norse", 1e-3, {}),
        "LIF": ("norse", 1e-3, {}),
        "conv-LIFBox": ("norse", 1e-3, {}),
        "conv-IAF": ("norse", 1e-3, {}),
    },
    "sinabs": {
        "LIF": ("sinabs", 1e-3, {}),
        "LIF-unnormalised": ("sinabs", 1e-3, {"input_gain": "direct"}),
        "LIF-floor": ("sinabs", 1e-3, {"v_min": -0.25}),
        "LIF-single": ("sinabs", 1e-3, {"spikes_per_step": "one", "reset": "to_v_reset"}),
        "IAF": ("sinabs", 1.0, {}),
        "conv-LIF": ("sinabs", 1e-3, {}),
        "conv-IAF": ("sinabs", 1e-3, {}),
    },
    "spikingjelly": {
        "LIF": ("spikingjelly", 1e-4, {}),
        "LIF-whole": ("spikingjelly", 1e-4, {}),
        "PLIF": ("spikingjelly", 1e-4, {}),
        "IF": ("spikingjelly", 1e-4, {}),
        "CUBALIF": ("spikingjelly", 1e-4, {"arithmetic_form": "decay"}),
        "conv-LIF": ("spikingjelly", 1e-4, {}),
        "conv-IF": ("spikingjelly", 1e-4, {}),
    },
    "nirtorch": {"own-cell": ("nir", 1e-3, {"arithmetic": "float32"})},
    "nengo": {
        "LIF": ("nengo", 1e-3, {}),
        "LIF-floor": ("nengo", 1e-3, {"v_min": 0.0}),
        "LIF-loop": ("nengo", 1e-3, {"recurrent_delay_steps": 1}),
        "CubaLIF": ("nengo", 1e-3, {}),
        "CubaLIF-loop": ("nengo", 1e-3, {}),
    },
}
"""Platform → kind of network → profile, dt_s and overrides."""

DECISIVE = [
    ("snntorch", "Leaky-subtract", {"reset_timing": "same_step"}),
    ("snntorch", "Synaptic-zero", {"reset_timing": "same_step"}),
    ("snntorch", "RLeaky-subtract", {"recurrent_delay_at": "after_weights"}),
    ("snntorch", "Leaky-zero", {"arithmetic": "float64"}),
    ("norse", "LIFBox-subtract", {"reset": "to_v_reset"}),
    ("norse", "IAF", {"if_gain": "r_dt"}),
    ("sinabs", "LIF", {"time_unit": "seconds"}),
    ("sinabs", "conv-LIF", {"spikes_per_step": "one"}),
    ("sinabs", "LIF", {"integrator": "forward_euler"}),
    ("sinabs", "LIF-unnormalised", {"input_gain": "file"}),
    ("sinabs", "LIF-floor", {"v_min": None}),
    ("sinabs", "IAF", {"spike_condition": ">"}),
    ("spikingjelly", "LIF", {"initial_v": "zero"}),
    ("spikingjelly", "IF", {"spike_condition": ">"}),
    ("nengo", "CubaLIF", {"membrane_reads": "new_current", "recurrent_delay_steps": 1}),
    ("nengo", "CubaLIF-loop", {"recurrent_delay_steps": 1}),
    ("nengo", "LIF-floor", {"v_min": None}),
    ("nengo", "LIF", {"integrator": "forward_euler"}),
]
"""A choice of a cell's contract that these networks tell from another one."""

pytestmark = pytest.mark.full


def installed() -> Path:
    if not (PYTHON.parents[1] / ".installed").exists():
        pytest.skip("no environment .venv-platforms: `make platforms` makes it and needs a network")
    return PYTHON


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return platform → folder of its networks, each platform built once."""
    folders = {}

    def of(platform):
        if platform not in folders:
            folder = tmp_path_factory.mktemp(platform)
            run([NETWORKS / "build.py", platform, folder])
            folders[platform] = folder
        return folders[platform]

    return of


def run(arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [installed(), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def agreement(folder, cell, weights, contract):
    found = Agreement()
    names = networks(folder, cell, weights)
    assert names
    for name in names:
        compare(folder, name, contract, found)
    return found


@pytest.mark.parametrize("platform", CELLS)
def test_a_platforms_spikes_come_out_bin_for_bin(platform, built):
    """Ties agree in every bin; a float weight may differ where v is within rounding of θ."""
    folder = built(platform)
    assert set(CELLS[platform]) == {path.name.split(".")[0] for path in folder.glob("*.nir")}
    for cell, (profile, dt_s, overrides) in CELLS[platform].items():
        contract = make_contract(profile, dt_s, overrides)
        for weights in ("tie", "gauss"):
            found = agreement(folder, cell, weights, contract)
            print(f"{platform:13}{cell:20}{weights:6}{found}")
            assert found.silent == [], (cell, weights)
            if weights == "tie":
                assert found.differing == 0, cell
            assert all(margin <= 1 for margin in found.margins), (cell, weights, found)


@pytest.mark.parametrize(("platform", "cell", "changed"), DECISIVE)
def test_another_choice_gives_other_spikes(platform, cell, changed, built):
    profile, dt_s, overrides = CELLS[platform][cell]
    contract = make_contract(profile, dt_s, overrides | changed)
    assert agreement(built(platform), cell, "tie", contract).differing > 0


def test_every_profile_has_a_witness():
    from_lava_itself = {"lava-float", "loihi"}
    named = {profile for cells in CELLS.values() for profile, _, _ in cells.values()}
    assert named | from_lava_itself == set(PROFILES)


def test_the_rasters_of_a_network_differ_from_each_other(built):
    folder = built("nirtorch")
    rasters = [np.load(folder / f"own-cell.tie.{seed}.npz")["raster"] for seed in range(2)]
    assert not np.array_equal(*rasters)
