"""Files of other people: legacy layouts are read, everything else is refused by node."""

import io

import h5py
import nir
import numpy as np
import pytest

from fusion.contract import make_contract
from fusion.errors import InvalidModel
from fusion.graph_file import read_graph
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine

TWO = np.ones(2)


def written(input_shape=(3,)):
    nodes = {
        "input": nir.Input(np.array(input_shape)),
        "w": nir.Linear(np.full((2, 3), 2.0)),
        "lif": nir.CubaLIF(
            tau_mem=TWO * 0.01, tau_syn=TWO * 0.02, r=TWO, v_leak=TWO * 0, v_threshold=TWO
        ),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "w"), ("w", "lif"), ("lif", "output")]
    file = io.BytesIO()
    nir.write(file, nir.NIRGraph(nodes, edges, type_check=False))
    return file


def changed(change, **options):
    """Return the file's bytes after `change` has worked on its nodes."""
    file = written(**options)
    with h5py.File(file, "r+") as content:
        change(content["node/nodes"])
    return file.getvalue()


def put(path, value):
    def change(nodes):
        if path in nodes:
            del nodes[path]
        nodes[path] = value

    return change


def outputs(data):
    plan = make_plan(read_graph(data), make_contract("nir", 1e-3))
    return ReferenceEngine(plan).run({"input": np.ones((1, 30, 3))}).outputs["output"]


def without(*names):
    def change(nodes):
        for name in names:
            del nodes[f"lif/{name}"]

    return change


def test_parameters_that_older_exporters_leave_out_get_their_defaults():
    whole = outputs(written().getvalue())
    assert whole.any()
    assert np.array_equal(outputs(changed(without("v_reset", "w_in"))), whole)


@pytest.mark.parametrize("value", [0.01, np.array([0.01])])
def test_a_scalar_parameter_holds_for_the_population(value):
    data = changed(put("lif/tau_mem", value))
    assert np.array_equal(outputs(data), outputs(written().getvalue()))


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("lif/tau_mem", np.array([0.01, np.inf]), "inf"),
        ("lif/tau_mem", np.array([1, 2]), "floating-point"),
        ("lif/tau_syn", np.array([0.01, 0.0]), "positive"),
        ("lif/tau_mem", np.ones(3), "shape"),
        ("lif/v_threshold", np.array([1.0, np.nan]), "nan"),
        ("w/weight", np.full((2, 3), np.nan), "nan"),
        ("w/weight", np.ones((2, 4)), "shape"),
    ],
)
def test_wrong_values_name_node_and_parameter(path, value, problem):
    with pytest.raises(InvalidModel, match=problem) as caught:
        outputs(changed(put(path, value)))
    assert caught.value.field == f"nodes.{path.replace('/', '.')}"


def test_a_batch_dimension_is_named():
    with pytest.raises(InvalidModel, match="batch dimension") as caught:
        outputs(written(input_shape=(1, 3)).getvalue())
    assert caught.value.field == "nodes.input.shape"
    assert "[3]" in caught.value.nearest


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("lif/type", "Perceptron", "nodes.lif"),
        ("lif/colour", 3.0, "nodes.lif"),
        ("w/bias", TWO, "nodes.w"),
        ("w/weight", TWO, "nodes.w"),
    ],
)
def test_nodes_that_are_not_nirs_are_named(path, value, field):
    with pytest.raises(InvalidModel) as caught:
        outputs(changed(put(path, value)))
    assert caught.value.field.startswith(field)


def test_a_missing_parameter_is_named_with_its_node():
    with pytest.raises(InvalidModel, match="weight") as caught:
        read_graph(changed(lambda nodes: nodes["w"].__delitem__("weight")))
    assert caught.value.field == "nodes.w"


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/node/nodes/lif/r")]
)
def test_links_are_not_followed(link):
    with pytest.raises(InvalidModel, match="link"):
        read_graph(changed(put("w/weight", link)))


def test_data_in_other_files_is_not_opened(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(48))

    def change(nodes):
        del nodes["w/weight"]
        outside = [(str(tmp_path / "secret"), 0, 48)]
        nodes["w"].create_dataset("weight", (2, 3), "f8", external=outside)

    with pytest.raises(InvalidModel, match="another file"):
        read_graph(changed(change))


def test_a_small_file_cannot_unpack_to_a_huge_one():
    def change(nodes):
        del nodes["w/weight"]
        nodes["w"].create_dataset("weight", (20_000, 20_000), "f8", compression="gzip")

    with pytest.raises(InvalidModel, match="content to 3200000") as caught:
        read_graph(changed(change))
    assert caught.value.field == "nodes.w.weight"


@pytest.mark.parametrize("data", [b"", b"junk", written().getvalue()[:700]])
def test_no_nir_file(data):
    with pytest.raises(InvalidModel, match="not a readable NIR file"):
        read_graph(data)


def test_a_group_that_holds_itself_ends():
    with pytest.raises(InvalidModel):
        read_graph(changed(lambda nodes: nodes.__setitem__("again", nodes)))
