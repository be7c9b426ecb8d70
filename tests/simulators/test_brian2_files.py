"""Brian2 runs what is read from files: every node type, nested, legacy, and other people's."""

from pathlib import Path

import numpy as np
import pytest
from support.equality import differences
from support.hdf5_files import changed, every_primitive, written

from fusion.contract import make_contract
from fusion.graph_file import read_graph
from simulators.brian2_engine import Brian2Engine
from simulators.neurons import PARAMETERS
from simulators.operations import MAKERS
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine

# Brian2's equation parser uses names that the parser's package has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

RECORDINGS = Path(__file__).parents[3] / "shared/data/nir"


def legacy(node):
    """Leave out what older exporters do, and write one number for a population."""
    nodes = node["nodes"]
    for left_out in ("lif/v_reset", "if/v_reset", "cubalif/w_in", "conv1d/input_shape"):
        del nodes[left_out]
    scalars = {"lif/tau": 0.01, "cubali/tau_syn": 0.02, "cubalif/v_threshold": 0.01, "if/r": 300.0}
    for parameter, value in scalars.items():
        del nodes[parameter]
        nodes[parameter] = value


def agree(data):
    """Return the plan and the spikes of a run, which has to give the bits of the reference."""
    plan = make_plan(read_graph(data), make_contract("nir", 1e-3))
    rng = np.random.default_rng(4)
    inputs = {node.name: rng.poisson(3.0, (1, 80, *node.shape)) for node in plan.of_kind("Input")}
    expected = ReferenceEngine(plan).run(inputs, record=["all"])
    engine = Brian2Engine(plan, codegen="numpy")
    assert not differences(engine.run(inputs, record=["all"]), expected)
    return plan, expected.counts.spikes


def test_a_legacy_file_with_every_node_type_and_a_subgraph():
    plan, spikes = agree(changed(legacy, written(every_primitive())))
    assert {node.kind for node in plan.nodes} == {*MAKERS, *PARAMETERS}
    assert {name for name, count in spikes.items() if count.sum()} == {*spikes}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the files are not in {RECORDINGS}")
@pytest.mark.parametrize("name", ["lif_norse", "two_lif_neurons"])
def test_files_of_other_people(name):
    _, spikes = agree((RECORDINGS / f"{name}.nir").read_bytes())
    assert sum(count.sum() for count in spikes.values()) > 0
