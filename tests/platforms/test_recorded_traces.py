"""One LIF neuron as four platforms recorded it (the traces of the NIR paper, first task).

The time step of the recordings is 1e-4 s. Columns: input, membrane, output spikes.
"""

from pathlib import Path

import numpy as np
import pytest

from fusion.contract import make_contract
from fusion.graph_file import read_graph
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine

RECORDINGS = Path(__file__).parents[3] / "shared/data/nir"
DT_S = 1e-4

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"the recorded traces are not in {RECORDINGS}"
)


def recorded(platform):
    return np.loadtxt(RECORDINGS / f"lif_{platform}.csv", delimiter=",").T


def ours(profile, raster, **overrides):
    graph = read_graph((RECORDINGS / "lif_norse.nir").read_bytes())
    plan = make_plan(graph, make_contract(profile, DT_S, overrides))
    trace = ReferenceEngine(plan).run({"input": raster[None, :, None]}, record=["1"])
    return (trace.recorded[f"1.{what}"][0, :, 0] for what in ("spikes", "v"))


@pytest.mark.parametrize(
    ("platform", "profile"),
    [
        ("norse", "norse"),
        ("norse", "nir"),
        ("exact", "nengo"),
        ("nengo", "nengo"),
        ("lava_cpu_fixed", "lava-float"),
    ],
)
def test_the_spikes_of_the_recording_come_out(platform, profile):
    raster, _, spikes = recorded(platform)
    found, _ = ours(profile, raster)
    assert spikes.sum() == 4
    assert np.array_equal(found, spikes)


def test_norses_membrane_is_that_of_forward_euler_in_float32():
    raster, membrane, spikes = recorded("norse")
    # The recording holds the membrane before its reset.
    _, v = ours("norse", raster)
    silent = spikes == 0
    assert np.max(np.abs(v - membrane)[silent]) < 4e-8


def test_nengos_membrane_is_that_of_the_exponential_integrator():
    raster, membrane, spikes = recorded("nengo")
    _, v = ours("nengo", raster)
    threshold = np.float64(np.float32(0.1))
    silent = spikes == 0
    assert np.max(np.abs(v / threshold - membrane)[silent]) < 1e-6
