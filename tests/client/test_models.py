"""Both clients upload, address and delete models."""

import asyncio
import inspect
import io
import zipfile

import pytest
from support.api_models import write_shelf
from support.api_server import running
from support.stored import files, graph_bytes, made, upload

from api.settings import load_settings
from snn_fusion.client import (
    AsyncClient,
    Client,
    Conflict,
    DeadlinePassed,
    Events,
    InvalidRequest,
    NotAllowed,
    NotFound,
)


class Awaited:
    """An AsyncClient whose calls are run to their ends."""

    def __init__(self, address, **options):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(address, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()

    def __getattr__(self, name):
        def call(*args, **kwargs):
            return self._loop.run_until_complete(getattr(self._client, name)(*args, **kwargs))

        return call


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    settings = load_settings(
        models_dir=write_shelf(folder / "shelf"), store=str(folder / "store"), targets="numpy"
    )
    with running(settings) as server:
        server.wait_until_ready()
        yield str(server.client.base_url)


@pytest.fixture(params=[Client, Awaited])
def client(request, address):
    with request.param(address) as made_client:
        yield made_client
        for model in made_client.models():
            if model.source == "store":
                made_client.delete_model(model.name)


def test_a_model_is_uploaded_and_asked(client):
    told = client.upload(upload())
    assert (told.name, told.version, told.digest) == ("small", "1", made().digest)
    ready = client.wait_for_model(told.reference)
    assert (ready.state, ready.source, ready.versions) == ("ready", "store", ("1",))
    assert ready.created.utcoffset().total_seconds() == 0
    answer = client.fuse({"cam": Events([1000], [0])}, model=told.reference)
    assert answer.model.digest == told.digest
    assert client.upload(upload()).created == told.created


def test_files_are_uploaded_by_their_paths_with_a_manifest_or_without(client, tmp_path):
    for name, data in files().items():
        (tmp_path / name).write_bytes(data)
    told = client.upload(tmp_path / "graph.nir", str(tmp_path / "fusion.yaml"))
    assert told.digest == made().digest
    assert client.upload(graph_bytes()).version == ""
    with pytest.raises(OSError, match="no such"):
        client.upload(tmp_path / "no such.zip")


def test_versions_aliases_and_files(client):
    client.upload(upload())
    client.upload(upload("small", "2", 1))
    alias = client.set_alias("small", "production", "1")
    assert (alias.name, alias.alias, alias.version) == ("small", "production", "1")
    found = client.versions("small")
    assert [one.label for one in found.versions] == ["1", "2"]
    assert found.versions[0].aliases == ("production",)
    assert found.aliases == {"production": "1"}
    assert client.model("small@production").digest == made().digest
    archive = zipfile.ZipFile(io.BytesIO(client.download("small", "2")))
    assert archive.read("graph.nir") == graph_bytes(1)
    with pytest.raises(Conflict, match="'production' leads"):
        client.delete_model("small", "1")
    assert client.delete_alias("small", "production").version == "1"
    assert client.delete_model("small", "1") == ("1",)
    assert client.delete_model("small") == ("2",)
    with pytest.raises(NotFound):
        client.model("small")


def test_what_cannot_be_stored_is_told(client):
    client.upload(upload())
    with pytest.raises(Conflict, match="exists with other content") as caught:
        client.upload(upload(seed=1))
    assert caught.value.field == "fusion.yaml.version"
    with pytest.raises(InvalidRequest, match="NIR"):
        client.upload(b"junk")


def test_waiting_ends_with_the_time(address, client, monkeypatch):
    client.upload(upload())
    monkeypatch.setattr("snn_fusion.client.clients.UNSETTLED", ("known", "loading", "ready"))
    with type(client)(address, timeout_s=0.3) as hasty:
        hasty.model("small")
        with pytest.raises(DeadlinePassed, match="'small' is still"):
            hasty.wait_for_model("small")


def test_uploads_that_are_off_are_told(tmp_path):
    settings = load_settings(models_dir=write_shelf(tmp_path), uploads=False, targets="numpy")
    with running(settings) as server:
        client = Client(str(server.client.base_url))
        with client, pytest.raises(NotAllowed, match="SNN_FUSION_STORE"):
            client.upload(upload())


def test_both_clients_document_every_call():
    for kind in (Client, AsyncClient):
        for name, one in vars(kind).items():
            assert name.startswith("_") or inspect.getdoc(one)
