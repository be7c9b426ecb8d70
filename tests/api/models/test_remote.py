"""The same store on every kind of place: a folder, fsspec's memory, and S3 as moto serves it."""

import socket
import subprocess
import sys
import uuid
from contextlib import suppress

import pytest
from support.api_server import until
from support.stored import made

from api.models.remote import InvalidStore, make_objects
from fusion.errors import Conflict, Damaged, InvalidInput, StoreFailed
from fusion.objects import FolderObjects
from fusion.store import ModelStore


@pytest.fixture(scope="module")
def s3():
    """An S3 server in a process of its own, and a bucket in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = subprocess.DEVNULL
    code = f"from moto.server import main; main(['-p', '{port}'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
    try:

        def listening():
            assert process.poll() is None
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True

        until(listening)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["folder", "file", "memory", pytest.param("s3", marks=pytest.mark.full)])
def address(request, tmp_path, monkeypatch):
    name = uuid.uuid4().hex
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(key, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        make_objects(f"s3://{name}")._files.mkdir(name)
        return f"s3://{name}/some/models"
    return {
        "folder": str(tmp_path / name), "file": f"file://{tmp_path}/{name}",
        "memory": f"memory://{name}/models",
    }[request.param]  # fmt: skip


def test_a_store_lies_anywhere(address):
    one, two = (ModelStore(make_objects(address)) for _ in range(2))
    assert two.index().versions == {}
    assert two.sweep() == ()
    first, new = one.add(made())
    assert new
    assert two.add(made()) == (first, False)
    assert two.read(two.index().find("small", "1")).digest == made().digest
    with pytest.raises(Conflict):
        two.add(made(seed=1))
    one.add(made(version="2"))
    assert [v.label for v in two.index().versions["small"]] == ["1", "2"]
    one.set_alias("small", "production", "1")
    assert two.index().aliases == {"small": {"production": "1"}}
    two.set_alias("small", "production", "2")
    assert one.index().aliases == {"small": {"production": "2"}}
    one.switch("small", unloaded=True)
    assert two.index().switches["small"].unloaded
    two.remove("small", "1")
    assert [v.label for v in one.index().versions["small"]] == ["2"]
    assert one.sweep() == ()
    assert one.sweep(older_s=-3600) == (first.file_key,)
    with pytest.raises(InvalidInput, match="deleted"):
        two.read(first)
    assert one.remove_all("small") == ("2",)
    assert two.index().versions == {}


def test_what_is_damaged_there_is_told(address):
    store = ModelStore(make_objects(address))
    version, _ = store.add(made())
    objects = make_objects(address)
    objects.replace(version.file_key, objects.read(version.file_key)[:-1])
    with pytest.raises(Damaged):
        store.read(version)
    objects.replace(version.key, b"torn")
    assert version.key in store.index().problems
    assert store.add(made())[1]
    assert store.read(version).digest == version.digest


def test_an_exclusive_creation_is_one(address):
    objects = make_objects(address)
    assert objects.create("models/x", b"one")
    assert not make_objects(address).create("models/x", b"two")
    assert objects.read("models/x") == b"one"
    objects.remove("models/x")
    objects.remove("models/x")
    with pytest.raises(FileNotFoundError):
        objects.read("models/x")


def test_a_place_that_writes_over_what_exists_is_not_used(monkeypatch):
    objects = make_objects(f"memory://{uuid.uuid4().hex}")
    pipe = objects._files.pipe_file
    monkeypatch.setattr(
        objects._files, "pipe_file", lambda path, data, mode="overwrite": pipe(path, data)
    )
    with pytest.raises(StoreFailed, match="writes over what exists"):
        ModelStore(objects).add(made())
    assert ModelStore(objects).index().versions == {}


def test_a_path_is_a_folder(tmp_path):
    assert isinstance(make_objects(str(tmp_path)), FolderObjects)
    assert make_objects(f"file://{tmp_path}").where == str(tmp_path)


def test_an_unknown_kind_of_url_is_told():
    with pytest.raises(InvalidStore, match="nope"):
        make_objects("nope://somewhere/models")


def test_where_shows_no_secrets():
    assert make_objects("memory://x/models?token=secret").where == "memory://x/models"
