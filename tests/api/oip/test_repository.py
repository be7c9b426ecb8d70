"""Loading and unloading models, by Triton's client and from a folder that changes."""

import shutil

import pytest
import tritonclient.http as triton
import yaml
from support.api_models import body, listening_manifest
from support.api_server import metric, running
from support.oip import cam, refused, write_oip_shelf
from tritonclient.utils import InferenceServerException

from api.settings import load_settings


@pytest.fixture
def place(tmp_path):
    """A server over a folder of its own, and a client."""
    folder = write_oip_shelf(tmp_path)
    with running(load_settings(models_dir=folder, store=str(tmp_path / "store"))) as server:
        server.wait_until_ready()
        address = str(server.client.base_url).rstrip("/").removeprefix("http://")
        with triton.InferenceServerClient(address) as client:
            yield folder, server, client


def states(client):
    return {one["name"]: one["state"] for one in client.get_model_repository_index()}


def test_an_unloaded_model_is_not_ready_and_answers_nothing_until_it_is_loaded(place):
    _, server, client = place
    answer = client.infer("spare", cam()).as_numpy("logits").tolist()
    client.unload_model("spare")
    assert not client.is_model_ready("spare")
    assert states(client)["spare"] == "UNAVAILABLE"
    with pytest.raises(InferenceServerException, match="'spare' is unloaded"):
        client.infer("spare", cam())
    assert server.fuse(body(model="spare")).status_code == 503
    with pytest.raises(InferenceServerException, match="'spare' is unloaded"):
        client.unload_model("spare")
    client.load_model("spare")
    assert client.is_model_ready("spare")
    assert states(client)["spare"] == "READY"
    assert client.infer("spare", cam()).as_numpy("logits").tolist() == answer


def test_the_programs_of_an_unloaded_model_are_dropped(place):
    _, server, client = place
    digest = client.get_model_config("spare")["parameters"]["digest"]["string_value"]
    programs = server.service.programs._programs
    assert digest in {key[0] for key in programs}
    client.unload_model("spare")
    assert digest not in {key[0] for key in programs}


def test_loading_reads_what_has_changed(place):
    folder, _, client = place
    before = client.get_model_config("spare")["parameters"]["digest"]
    changed = listening_manifest() | {"name": "spare", "version": "3"}
    (folder / "spare" / "fusion.yaml").write_text(yaml.safe_dump(changed))
    assert client.get_model_config("spare")["parameters"]["digest"] == before
    client.load_model("spare")
    assert client.get_model_config("spare")["parameters"]["digest"] != before
    assert client.get_model_metadata("spare")["versions"] == ["3"]


def test_a_new_model_is_loaded_by_its_name(place):
    folder, _, client = place
    shutil.copytree(folder / "spare", folder / "anything")
    renamed = yaml.safe_dump(listening_manifest() | {"name": "new"})
    (folder / "anything" / "fusion.yaml").write_text(renamed)
    assert not client.is_model_ready("new")
    client.load_model("new")
    assert client.infer("new", cam()).get_response()["model_name"] == "new"


def test_a_model_that_broke_says_why_and_the_old_one_stays(place):
    folder, _, client = place
    (folder / "spare" / "graph.nir").write_bytes(b"torn")
    with pytest.raises(InferenceServerException, match=r"graph\.nir") as caught:
        client.load_model("spare")
    assert caught.value.status() == "422"
    assert client.infer("spare", cam()).as_numpy("label").shape == (1,)


def test_a_torn_model_is_listed_with_its_problem_and_can_be_mended(place):
    folder, _, client = place
    (torn,) = [one for one in client.get_model_repository_index() if one["name"] == "torn"]
    assert torn["state"] == "UNAVAILABLE"
    assert "graph.nir" in torn["reason"]
    shutil.copytree(folder / "spare", folder / "torn", dirs_exist_ok=True)
    mended = yaml.safe_dump(listening_manifest() | {"name": "torn"})
    (folder / "torn" / "fusion.yaml").write_text(mended)
    client.load_model("torn")
    assert states(client)["torn"] == "READY"
    assert [one["name"] for one in client.get_model_repository_index()].count("torn") == 1


def test_only_ready_models_are_listed_on_request(place):
    _, server, client = place
    client.unload_model("spare")
    listed = server.client.post("/v2/repository/index", json={"ready": True}).json()
    assert {one["state"] for one in listed} == {"READY"}
    assert "spare" not in {one["name"] for one in listed}


def test_an_unknown_model_is_neither_loaded_nor_unloaded(place):
    _, server, client = place
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as caught:
            change("nope")
        assert caught.value.status() == "404"
    counted = metric(
        server.client.get("/metrics").text,
        "snn_fusion_requests_total",
        route="/v2/repository/models/{model}/load",
    )
    assert counted == 1


def test_a_configuration_or_files_are_not_taken(place):
    _, _, client = place
    with pytest.raises(InferenceServerException, match=r"parameters\.config") as caught:
        client.load_model("spare", config="{}")
    assert caught.value.status() == "501"
    with pytest.raises(InferenceServerException, match="as the folder has them"):
        client.load_model("spare", config="{}", files={"file:1/model": b"x"})


def test_a_model_that_the_default_target_cannot_run_is_loaded_but_not_ready(place):
    folder, _, client = place
    wrong = listening_manifest() | {"name": "spare", "dt_s": None}
    (folder / "spare" / "fusion.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(InferenceServerException, match=r"loaded, but not ready: .*dt_s"):
        client.load_model("spare")
    assert not client.is_model_ready("spare")
    assert states(client)["spare"] == "UNAVAILABLE"
    assert client.infer("spare", cam(), parameters={"dt_s": 0.005}).as_numpy("label").shape == (1,)


def test_what_was_unloaded_stays_so_until_it_is_loaded(place):
    _, server, client = place
    client.unload_model("spare")
    with running(server.service.settings) as restarted:
        restarted.wait_until_ready()
        assert restarted.fuse(body(model="spare")).status_code == 503
        assert restarted.fuse(body(model="listening")).status_code == 200
        client.load_model("spare")
        assert restarted.fuse(body(model="spare")).status_code == 200, "told at once"


def test_replicas_without_a_shared_store_would_disagree(tmp_path):
    folder = write_oip_shelf(tmp_path)
    with running(load_settings(models_dir=folder, uploads=False)) as server:
        for change in ("load", "unload"):
            reply = server.client.post(f"/v2/repository/models/spare/{change}", json={})
            refused(reply, 501, "SNN_FUSION_UPLOADS=false")
