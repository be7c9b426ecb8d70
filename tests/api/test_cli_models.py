"""`snn-fusion models`, and references on the command line."""

import json

import numpy as np
import pytest
from support.api_server import running
from support.stored import files, made, upload
from typer.testing import CliRunner

from api.cli import app
from api.settings import load_settings


@pytest.fixture
def run(monkeypatch, tmp_path, shelf_dir):
    monkeypatch.setenv("SNN_FUSION_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SNN_FUSION_MODELS_DIR", str(shelf_dir))

    def ran(*words, code=0):
        done = CliRunner().invoke(app, [*map(str, words)])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done.output

    return ran


def test_models_are_stored_listed_named_and_removed(run, tmp_path):
    (tmp_path / "one.zip").write_bytes(upload())
    for name, data in files(version="2", seed=1).items():
        (tmp_path / name).write_bytes(data)
    assert run("models", "add", tmp_path / "one.zip") == "small:1 stored\n"
    assert run("models", "add", tmp_path / "one.zip") == "small:1 was stored already\n"
    beside = ("--manifest", tmp_path / "fusion.yaml")
    assert run("models", "add", tmp_path / "graph.nir", *beside) == "small:2 stored\n"
    run("models", "alias", "small", "production", "1")
    listed = json.loads(run("models", "list", "--json"))
    assert [(one["version"], one["aliases"]) for one in listed["versions"]] == [
        ("1", ["production"]), ("2", []),
    ]  # fmt: skip
    assert made().digest[:12] in run("models", "list")
    np.savez(tmp_path / "cam.npz", times_us=[1000, 2000], channels=[0, 1])
    for reference, digest in (
        ("small", made("small", "2", 1).digest), ("small:1", made().digest),
        ("small@production", made().digest), (made().digest[:9], made().digest),
    ):  # fmt: skip
        said = run(
            "run",
            reference,
            "--input",
            f"cam={tmp_path / 'cam.npz'}",
            "--target",
            "numpy",
            "--json",
        )
        assert json.loads(said)["model"]["digest"] == digest
    run("models", "alias", "small", "production")
    run("models", "remove", "small", "1")
    run("models", "remove", "small")
    assert json.loads(run("models", "list", "--json")) == {"versions": [], "problems": []}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("models", "add", "nope.zip"), "nope.zip: cannot be read"),
        (("models", "remove", "nope"), "no model 'nope' was uploaded"),
        (("models", "alias", "nope", "a", "1"), "no model 'nope' was uploaded"),
        (("run", "nope:3", "--input", "x=y"), "'nope:3' is unknown"),
        (("run", "listening:3", "--input", "x=y"), "has no version '3'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run, words, says):
    output = run(*words, code=2)
    assert output.startswith("error: ")
    assert says in output


def test_a_running_service_notices_at_once(run, tmp_path):
    (tmp_path / "one.zip").write_bytes(upload())
    with running(load_settings(targets="numpy", store_poll_s=3600)) as server:
        server.wait_until_ready()
        run("models", "add", tmp_path / "one.zip")
        assert server.client.get("/v1/models/small:1").status_code == 200
        assert "small" in server.client.get("/v1/models").text
        run("models", "remove", "small")
        assert server.client.get("/v1/models/small:1").status_code == 404


def test_a_damaged_store_is_told(run, tmp_path):
    (tmp_path / "one.zip").write_bytes(upload())
    run("models", "add", tmp_path / "one.zip")
    (tmp_path / "store" / "models" / "small" / "versions" / "1.json").write_bytes(b"torn")
    assert "1.json: is damaged" in run("models", "list").replace("\n", "")
    assert json.loads(run("models", "list", "--json"))["problems"]
