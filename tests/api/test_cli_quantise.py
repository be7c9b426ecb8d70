"""`snn-fusion quantise`, and runs of what it writes."""

import json

import nir
import numpy as np
import pytest
from support.cli import cli
from support.models import write_model
from support.quantising import NETWORKS, poisson

from fusion.model import load_model

EMULATOR = ("--target", "loihi-emulator")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a fusion model of two samples, a bare graph of two inputs, and rasters."""
    folder = tmp_path_factory.mktemp("quantise")
    model = write_model(folder / "models" / "small")
    rng = np.random.default_rng(0)
    (model / "samples").mkdir()
    for number in range(5):
        place = model / "samples" if number < 2 else folder
        for name, size in (("cam", 4), ("skin", 3)):
            np.savez(
                place / f"{name}{number}.npz",
                times_us=np.sort(rng.integers(0, 100_000, 90)),
                channels=rng.integers(0, size, 90),
            )
    entries = "\n".join(
        f"- {{name: s{n}, label: left, files: {{cam: cam{n}.npz, skin: skin{n}.npz}}}}"
        for n in range(2)
    )
    (model / "samples" / "index.yaml").write_text(f"attribution: mine\nsamples:\n{entries}\n")
    network = NETWORKS["delayed"]()
    nir.write(folder / "two.nir", network)
    for number, sample in enumerate(poisson(network, samples=3)):
        for name, raster in sample.items():
            np.save(folder / f"{name}{number}.npy", raster)
    return folder


def test_a_model_is_quantised_on_its_samples_and_runs(here, tmp_path):
    out = tmp_path / "small-loihi"
    told = cli(here, "quantise", "small", *EMULATOR, "--calibrate", "samples",
               "--measure", "cam=cam2.npz", "--measure", "skin=skin2.npz",
               "--measure", "cam=cam3.npz", "--measure", "skin=skin3.npz",
               "--out", str(out))  # fmt: skip
    assert told.exit_code == 0, told.stderr
    for word in ("cam_lif", "skin_lif", "agreement", "saturated", "on 2 calibration samples",
                 "on 2 others", str(out.name)):  # fmt: skip
        assert word in told.stdout.replace("\n", "")
    report = json.loads((out / "quantisation.json").read_text())
    assert (report["calibration"], report["held_out"]) == (2, 2)
    assert (out / "samples" / "index.yaml").is_file()
    ran = cli(here, "run", str(out), *EMULATOR, "--input", "cam=sample:s1", "--json")
    assert ran.exit_code == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["contract"]["arithmetic"] == "loihi_fixed"
    assert answer["model"]["digest"] == load_model(out).digest
    floats = json.loads(cli(here, "run", "small", "--input", "cam=sample:s1", "--json").stdout)
    assert answer["windows"][0]["label"] == floats["windows"][0]["label"]
    assert cli(here, "run", str(out), "--input", "cam=sample:s1", "--json").exit_code == 0
    fits = cli(here, "check", str(out), "--targets", "loihi-emulator")
    assert fits.exit_code == 0, fits.stdout


def test_samples_are_files_of_each_sensor_in_turn(here, tmp_path):
    given = [f"{name}={name}{number}.npz" for number in (2, 3, 4) for name in ("cam", "skin")]
    calibrate = [part for entry in given for part in ("--calibrate", entry)]
    told = cli(here, "quantise", "small", *EMULATOR, *calibrate, "--calibrate", "sample:s0",
               "--out", str(tmp_path / "out.zip"), "--json")  # fmt: skip
    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["calibration"] == 4
    assert load_model(tmp_path / "out.zip").content.keys() == {
        "fusion.yaml", "graph.nir", "loihi.npz", "quantisation.json"
    }  # fmt: skip


def test_a_bare_graph_is_quantised_on_rasters(here, tmp_path):
    out = tmp_path / "out"
    rasters = [f"{name}={name}{number}.npy" for number in (0, 1) for name in ("ear", "eye")]
    calibrate = [part for entry in rasters for part in ("--calibrate", entry)]
    under = ("--profile", "nir", "--dt", "0.001")
    told = cli(here, "quantise", "two.nir", *EMULATOR, *under, *calibrate, "--out", str(out))
    assert told.exit_code == 0, told.stderr
    given = ("--input", "ear=ear2.npy", "--input", "eye=eye2.npy")
    told = cli(here, "compare", str(out), "--targets", "numpy,loihi-emulator", *under, *given,
               "--tolerance", "0.2", "--json")  # fmt: skip
    assert told.exit_code == 0, told.stderr
    (pair,) = json.loads(told.stdout)["pairs"]
    assert pair["verdict"] == "equivalent"
    assert pair["populations"][0]["lag_steps"] == 1
    assert pair["divergence"]["v"][1] is None
    other = ("--integrator", "exponential")
    told = cli(here, "run", str(out), *EMULATOR, *under, *other, *given)
    assert told.exit_code == 3
    assert "contract.integrator: choice is exponential, allowed forward_euler" in told.stderr


def test_a_run_may_quantise_on_the_way(here):
    rasters = ("--input", "ear=ear2.npy", "--input", "eye=eye2.npy")
    under = ("--profile", "nir", "--dt", "0.001")
    refused = cli(here, "run", "two.nir", *EMULATOR, *under, *rasters)
    assert refused.exit_code == 3
    assert "snn-fusion quantise MODEL --target loihi-emulator --calibrate" in refused.stderr
    told = cli(here, "run", "two.nir", *EMULATOR, *under, *rasters, "--quantise", "--json")
    assert told.exit_code == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["quantisation"]["calibration"] == 1
    assert answer["counts"]["spikes"]["a"] > 0
    told = cli(here, "run", "two.nir", *EMULATOR, *under, *rasters, "--quantise")
    assert "what the populations lost" in told.stdout


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        (("small", "--calibrate", "sample:none"), 2, "is no sample that ships (try: s0, s1)"),
        (("two.nir", "--calibrate", "samples"), 2, "this model ships no samples"),
        (("two.nir", "--calibrate", "ear=ear0.npy"), 2, "leaves out eye"),
        (("small", "--calibrate", "nose=cam2.npz"), 2, "is no sensor and no Input node"),
        (("small", "--calibrate", "samples", "--target", "numpy"), 2, "numpy runs floats"),
        (("small", "--calibrate", "samples", "--target", "none"), 3, "'none' is unknown"),
        (("small", "--calibrate", "samples", "--out", "models"), 2, "models exists"),
        (("small", "--calibrate", "samples", "--spike-condition", ">="), 3,
         "contract.spike_condition: choice is >=, allowed >, nearest feasible >"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_line(here, tmp_path, given, code, named):
    defaults = {"--target": "loihi-emulator", "--out": str(tmp_path / "out")}
    if given[0] == "two.nir":
        defaults |= {"--profile": "nir", "--dt": "0.001"}
    rest = [part for key, value in defaults.items() if key not in given for part in (key, value)]
    told = cli(here, "quantise", *given, *rest)
    assert told.exit_code == code
    assert named in told.stderr
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
