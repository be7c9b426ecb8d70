import json
import re

import nir
import numpy as np
import pytest
from support.cli import cli
from support.models import write_model

from snn_fusion.testing_networks import NETWORKS

TARGET = """
name: {name}
backend: numpy
description: the reference again
capabilities:
  node_types: {types}
  arithmetic: [float64]
  deterministic: true
  stateful: true
  hardware: false
  max_neurons: {neurons}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a fusion model, a bare recurrent graph, inputs, and two more targets."""
    folder = tmp_path_factory.mktemp("compare")
    write_model(folder / "models" / "small")
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 100_000, 300))
    np.savez(folder / "cam.npz", times_us=times, channels=rng.integers(0, 4, 300))
    network = NETWORKS["recurrent"]()
    nir.write(folder / "loop.nir", network.graph)
    np.save(folder / "raster.npy", network.inputs(1, 50)["in"][0])
    (folder / "hw").mkdir()
    types = "[Input, Output, Flatten, Linear, Affine, LIF, LI, CubaLIF]"
    for name, neurons, listed in (("twin", "null", types), ("tiny", 5, "[Input, Output]")):
        text = TARGET.format(name=name, neurons=neurons, types=listed)
        (folder / "hw" / f"{name}.yaml").write_text(text)
    return folder


def call(folder, *arguments):
    return cli(folder, *arguments, SNN_FUSION_HW_CONFIGS=str(folder / "hw"))


def test_two_targets_on_recordings_are_identical_and_agree(here):
    told = call(here, "compare", "small", "--input", "cam=cam.npz", "--targets", "numpy,twin",
               "--json")  # fmt: skip
    assert told.exit_code == 0, told.stderr
    (pair,) = json.loads(told.stdout)["pairs"]
    assert pair["targets"] == ["numpy", "twin"]
    assert (pair["verdict"], pair["decisions_agree"]) == ("identical", True)
    assert pair["populations"][0]["spikes"][0] > 0


def test_a_bare_graph_is_compared_on_a_raster_with_a_page(here):
    told = call(here, "compare", "loop.nir", "--profile", "nir", "--dt", "0.001", "--input",
               "raster.npy", "--targets", "numpy,twin", "--out", "report.html")  # fmt: skip
    assert told.exit_code == 0, told.stderr
    assert "numpy and twin: identical" in told.stdout
    page = (here / "report.html").read_text()
    assert "cuba on twin" not in page  # it is inside the picture
    assert re.search(r"<img alt='[^']+' src='data:image/png;base64,[A-Za-z0-9+/]{1000}", page)
    assert not re.search(r"(src|href)=.https?:", page), "the page must work offline"
    assert "forward_euler" in page


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ("numpy", "two or more"),
        ("numpy,numpy", "two or more"),
        ("numpy,abacus", "'abacus' is unknown"),
        ("numpy,tiny", "target 'tiny' cannot run this model"),
    ],
)
def test_targets_that_cannot_be_compared_are_named(here, targets, says):
    told = call(here, "compare", "small", "--input", "cam=cam.npz", "--targets", targets)
    assert told.exit_code in (2, 3)
    assert says in told.stderr


def test_check_lists_every_violation_and_fails(here):
    told = call(here, "check", "small", "--targets", "numpy,tiny", "--reset", "subtract_threshold",
               "--json")  # fmt: skip
    assert told.exit_code == 1, told.stderr
    reply = json.loads(told.stdout)
    assert reply["contract"]["reset"] == "subtract_threshold"
    numpy, tiny = reply["targets"]
    assert (numpy["fits"], numpy["violations"]) == (True, [])
    assert numpy["run_s"] > 0
    assert tiny["run_s"] is None
    assert {violation["limit"] for violation in tiny["violations"]} == {"node type", "neurons"}
    neurons = next(v for v in tiny["violations"] if v["limit"] == "neurons")
    assert (neurons["used"], neurons["allowed"]) == ("30", "5")


def test_check_prints_a_table_and_succeeds_where_all_fits(here):
    told = call(
        here, "check", "loop.nir", "--profile", "nir", "--dt", "0.001", "--targets", "numpy"
    )
    assert told.exit_code == 0, told.stderr
    assert "neurons" in told.stdout
    assert "16" in told.stdout
