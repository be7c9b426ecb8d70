import json
import os
import subprocess
import sys

import nir
import numpy as np
import pytest
from support.cli import cli
from support.models import LABELS, small_graph, write_model


@pytest.fixture
def here(tmp_path):
    """A folder with a model, recordings of its two sensors, and a bare graph with a raster."""
    write_model(tmp_path / "models" / "small")
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 100_000, 300))
    np.savez(tmp_path / "cam.npz", times_us=times, channels=rng.integers(0, 4, 300))
    np.savez(tmp_path / "skin.npz", times_us=times, channels=rng.integers(0, 3, 300))
    three = np.ones(3)
    lif = nir.LIF(tau=three * 0.01, r=three, v_leak=three * 0, v_threshold=three)
    bare = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([2])}),
        nir.Linear(rng.normal(5, 2, (3, 2))),
        lif,
        nir.Output({"output": np.array([3])}),
    )
    nir.write(tmp_path / "bare.nir", bare)
    np.save(tmp_path / "raster.npy", rng.integers(0, 2, (50, 2)))
    return tmp_path


def done(folder, *arguments, **environment):
    result = cli(folder, *arguments, **environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


BOTH = ("--input", "cam=cam.npz", "--input", "skin=skin.npz")


@pytest.mark.parametrize("model", ["models/small", "small"])
def test_a_model_is_run_by_folder_or_name(here, model):
    reply = json.loads(done(here, "run", model, *BOTH, "--json"))
    window = reply["windows"][0]
    assert window["label"] in LABELS
    assert set(window["sensors"]) == {"cam", "skin"}
    assert reply["target"] == "cpu"
    assert reply["contract"]["dt_s"] == 0.001
    assert reply["counts"]["spikes"]["cam_lif"] > 0
    assert reply["energy"] is None
    assert "processor" in reply["energy_reason"]


def test_the_table_names_answer_sensors_and_quality(here):
    told = done(here, "run", "small", *BOTH)
    for word in (*LABELS, "cam", "skin", "fused", "quality", "spikes"):
        assert word in told


def test_the_default_target_is_the_services(here):
    refused = cli(here, "run", "small", *BOTH, SNN_FUSION_TARGET="abacus")
    assert (refused.exit_code, "'abacus' is unknown" in refused.stderr) == (3, True)


def test_records_are_written_for_every_population(here):
    done(here, "run", "bare.nir", "--profile", "nir", "--dt", "0.001", "--input", "raster.npy",
         "--record", "all", "--out", "out.npz")  # fmt: skip
    with np.load(here / "out.npz") as records:
        assert set(records) == {"lif.spikes", "lif.v", "output.output"}
        assert records["lif.spikes"].dtype == np.int32
        assert records["lif.spikes"].shape == (50, 3)
        assert records["lif.spikes"].sum() > 0
        np.testing.assert_array_equal(records["output.output"], records["lif.spikes"])


def test_a_raster_may_drive_a_node_of_a_fusion_model(here):
    np.save(here / "cam.npy", np.ones((20, 2, 2)))
    np.save(here / "skin.npy", np.zeros((20, 3)))
    reply = json.loads(
        done(here, "run", "small", "--input", "cam=cam.npy", "--input", "skin=skin.npy", "--json")
    )
    assert reply["steps"] == 20
    assert "windows" not in reply


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "'nowhere' is unknown"),
        (("nowhere.nir",), "does not exist"),
        (("small",), "nothing to run on"),
        (("bare.nir", "--input", "raster.npy"), "does not say: arithmetic"),
        (("bare.nir", "--input", "raster.npy", "--profile", "nir"), "dt_s"),
        (("bare.nir", "--input", "x=raster.npy"), "contract"),
        (("small", "--input", "nose=cam.npz"), "nose: is no sensor"),
        (("small", "--input", "cam=none.npz"), "cannot be read"),
        (("small", "--input", "cam.npz"), "2 Input nodes"),
        (("small", "--input", "cam=cam.npz", "--input", "cam=cam.npz"), "given twice"),
        (("small", *BOTH, "--profile", "nur"), "'nur' is unknown"),
        (("small", *BOTH, "--record", "cam_w"), "'cam_w' records nothing"),
        (("small", *BOTH, "--out", "out.txt"), "must end in .npz"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(here, arguments, says):
    result = cli(here, "run", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_targets_are_listed_with_what_stands_in_the_way(here):
    (here / "hw").mkdir()
    (here / "hw" / "ghost.yaml").write_text(
        "{name: ghost, backend: ghost, description: none, capabilities: {node_types: [],"
        " arithmetic: [], deterministic: true, stateful: true, hardware: true}}"
    )
    rows = json.loads(done(here, "targets", "--json", SNN_FUSION_HW_CONFIGS=str(here / "hw")))
    assert rows["targets"]["numpy"]["available"]
    assert not rows["targets"]["ghost"]["available"]
    assert "ghost" in rows["targets"]["ghost"]["reason"]
    assert "numpy" in done(here, "targets")


def test_settings_are_printed(here):
    assert "SNN_FUSION_PORT=8123" in done(here, "settings", SNN_FUSION_PORT="8123")


def test_the_exit_code_is_that_of_the_process():
    wrong = subprocess.run(
        [sys.executable, "-m", "api.cli", "settings"],
        env=os.environ | {"SNN_FUSION_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: SNN_FUSION_PORT")
    assert wrong.stderr.count("\n") == 1


def test_the_graph_of_the_fixture_is_the_shipped_one(here):
    assert set(nir.read(here / "models/small/graph.nir").nodes) == set(small_graph().nodes)
