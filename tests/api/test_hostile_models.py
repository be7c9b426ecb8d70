"""Files that mean harm in the models folder: the service lives, and tells what is wrong."""

import json

import nir
import numpy as np
import pytest
from support.api_server import running
from support.hdf5_files import bare, changed, forking
from support.models import small_graph, small_manifest, write_model
from typer.testing import CliRunner

from api.cli import app
from api.settings import load_settings

EVENTS = {"times_us": [1000, 2000], "channels": [0, 1]}


def named(name):
    return small_manifest() | {"name": name}


def slow_model(folder):
    """A delay of a second, which is as many steps as the request likes."""
    graph = small_graph()
    graph.nodes["cam_lif"] = nir.Delay(np.full(1, 1.0))
    return write_model(folder, graph, named("slow"))


def wide_model(folder):
    graph = small_graph()
    graph.nodes["wide"] = nir.Input(np.array([30_000, 30_000]))
    graph.nodes["more"] = nir.Scale(np.full(1, 2.0))
    graph.nodes["end"] = nir.Output(np.array([30_000, 30_000]))
    graph.edges += [("wide", "more"), ("more", "end")]
    manifest = named("wide")
    manifest["sensors"]["wide"] = {"node": "wide", "unit": "events", "shape": [30_000, 30_000]}
    return write_model(folder, graph, manifest)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_model(folder / "good")
    for name, data in {
        "bomb": changed(lambda node: bomb(node["nodes/cam_in"])),
        "endless": bare(forking),
        "junk": b"\x89HDF\r\n\x1a\n" + bytes(500),
    }.items():
        (write_model(folder / name, manifest=named(name)) / "graph.nir").write_bytes(data)
    (write_model(folder / "laughs") / "fusion.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    (folder / "cut.zip").write_bytes(b"PK\x03\x04 no more")
    slow_model(folder / "slow")
    wide_model(folder / "wide")
    return folder


def bomb(node):
    del node["weight"]
    node.create_dataset("weight", (40_000, 40_000), "f8", compression="gzip")


@pytest.fixture(scope="module")
def server(shelf):
    with running(load_settings(models_dir=shelf)) as made:
        made.wait_until_ready()
        yield made


def asked(server, model):
    body = {"model": model, "sensors": {"cam": {"events": EVENTS}}}
    return server.send(json.dumps(body).encode())


def test_the_good_model_beside_them_answers(server):
    assert asked(server, "small").status_code == 200


@pytest.mark.parametrize(
    ("model", "field", "says"),
    [
        ("bomb", "nodes.cam_in.weight", "12800000"),
        ("endless", "graph.nir", "more than 50000 groups"),
        ("junk", "graph.nir", "not a readable NIR file"),
        ("laughs", "fusion.yaml", "alias"),
        ("cut", "the zip", "cannot be read"),
    ],
)
def test_a_request_that_names_one_is_told_what_is_wrong(server, model, field, says):
    reply = asked(server, model)
    told = reply.json()
    assert reply.status_code == 422
    assert told["type"].endswith("invalid-model")
    assert told["field"].startswith(field)
    assert says in told["detail"]


def test_the_catalogue_lists_them(server):
    told = server.client.get("/v1/models").json()
    broken = {one["path"].rsplit("/", 1)[1] for one in told["problems"]}
    assert broken == {"bomb", "endless", "junk", "laughs", "cut.zip"}
    assert {one["name"] for one in told["models"]} == {"small", "slow", "wide"}


def test_a_model_too_large_to_run_is_refused_by_node(server):
    reply = asked(server, "wide")
    assert reply.status_code == 422
    told = reply.json()
    assert told["violations"][0]["limit"] == "input values"
    checked = server.client.post("/v1/check", json={"model": "wide", "targets": ["numpy"]}).json()
    (target,) = checked["targets"]
    assert not target["fits"]
    violation = next(one for one in target["violations"] if one["limit"] == "values")
    assert violation["allowed"] == "10000000"
    assert violation["node"] in ("wide", "more", "end")


def test_a_delay_of_too_many_steps_is_refused_by_node(server):
    checked = server.client.post(
        "/v1/check", json={"model": "slow", "targets": ["numpy"], "dt_s": 1e-6}
    ).json()
    (violation,) = checked["targets"][0]["violations"]
    assert (violation["node"], violation["limit"]) == ("cam_lif", "delay values")
    assert violation["used"] == str(12 * 10**6)


@pytest.mark.parametrize("name", ["bomb", "endless", "junk", "laughs", "cut.zip"])
def test_the_command_line_says_it_in_one_line(shelf, name):
    done = CliRunner().invoke(app, ["run", str(shelf / name), "--input", "cam=x.npz"])
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert "Traceback" not in done.output


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path):
    one = np.ones(1)
    nodes = {
        "in": nir.Input(np.array([1])),
        "[red]": nir.IF(r=one, v_threshold=one * 0.5, v_reset=one * 0),
        "out": nir.Output(np.array([1])),
    }
    edges = [("in", "[red]"), ("[red]", "out")]
    nir.write(tmp_path / "m.nir", nir.NIRGraph(nodes, edges, type_check=False))
    np.save(tmp_path / "x.npy", np.ones((5, 1)))
    model = str(tmp_path / "m.nir")
    choices = ["--profile", "nir", "--dt", "1"]
    done = CliRunner().invoke(app, ["run", model, "--input", str(tmp_path / "x.npy"), *choices])
    assert "[red]: 5 spikes" in done.output
    done = CliRunner().invoke(app, ["check", model, "--targets", "numpy", *choices])
    assert done.exit_code == 0, done.output
