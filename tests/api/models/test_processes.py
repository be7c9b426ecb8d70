"""Several workers and several replicas on one store, kills in the middle, and full disks."""

import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from support.api_process import process, wait_until_ready
from support.api_server import until
from support.model_calls import EVENTS
from support.stored import aged, made, upload

from fusion.objects import FolderObjects
from fusion.store import ModelStore


@pytest.fixture
def start(shelf_dir, tmp_path):
    """Start servers on one store, each with a data folder of its own."""

    @contextmanager
    def started(data="data", **settings):
        chosen = {
            "STORE": tmp_path / "store", "DATA_DIR": tmp_path / data, "TARGETS": "numpy",
            "STORE_POLL_S": 3600,
        }  # fmt: skip
        with process(shelf_dir, **chosen | settings) as (running, client):
            wait_until_ready(running, client)
            yield running, client

    return started


def fresh(client):
    """A client that connects anew, so that the kernel chooses a worker again."""
    return httpx.Client(base_url=client.base_url, timeout=60)


def status(client, reference):
    with fresh(client) as another:
        body = {"sensors": EVENTS, "model": reference}
        return another.post("/v1/fuse", json=body).status_code


def everywhere(client, reference, tries=24):
    """The statuses that workers give, asked so often that each is asked with near certainty."""
    return {status(client, reference) for _ in range(tries)}


def test_all_workers_know_of_a_change_before_its_answer_is_sent(start):
    """Nobody looks at the store for an hour, so only what a change tells can make it known."""
    with start(WORKERS=3) as (_, client):
        assert client.post("/v1/models", content=upload()).status_code == 201
        assert everywhere(client, "small") == {200}
        client.put("/v1/models/small/aliases/production", json={"version": "1"})
        assert everywhere(client, "small@production") == {200}
        unload = client.post("/v2/repository/models/small/unload", json={})
        assert unload.status_code == 200
        assert everywhere(client, "small") == {503}
        assert client.post("/v2/repository/models/small/load", json={}).status_code == 200
        assert everywhere(client, "small:1") == {200}
        client.post("/v2/repository/models/listening/unload", json={})
        assert everywhere(client, "listening") == {503}
        client.post("/v2/repository/models/listening/load", json={})
        assert everywhere(client, "listening") == {200}
        client.delete("/v1/models/small/aliases/production")
        assert everywhere(client, "small@production") == {404}
        assert client.delete("/v1/models/small").status_code == 200
        assert everywhere(client, "small") == {404}


def test_replicas_see_uploads_at_once_and_the_rest_when_they_look(start):
    with (
        start("one") as (_, one),
        start("two", STORE_POLL_S=0.1) as (_, two),
    ):
        assert one.post("/v1/models", content=upload()).status_code == 201
        assert status(two, "small:1") == 200, "unknown models are looked for"
        assert two.post("/v1/models", content=upload()).status_code == 200
        assert two.post("/v1/models", content=upload(seed=1)).status_code == 409
        one.put("/v1/models/small/aliases/production", json={"version": "1"})
        assert status(two, "small@production") == 200
        new = upload("small", "2", 1)
        assert one.post("/v1/models", content=new).status_code == 201

        def taken_over():
            body = {"sensors": EVENTS, "model": "small"}
            return two.post("/v1/fuse", json=body).json()["model"]["version"] == "2"

        until(taken_over)
        one.put("/v1/models/small/aliases/production", json={"version": "2"})
        until(lambda: two.get("/v1/models/small@production").json()["version"] == "2")
        one.delete("/v1/models/small/aliases/production")
        one.delete("/v1/models/small")
        until(lambda: status(two, "small:2") == 404)
        one.post("/v2/repository/models/listening/unload", json={})
        until(lambda: status(two, "listening") == 503)


@pytest.mark.full
def test_replicas_that_are_sent_the_same_version_at_once_agree(start, tmp_path):
    with start("one", WORKERS=2) as (_, one), start("two") as (_, two):
        files = [upload(seed=seed) for seed in range(4)] * 3

        def post(number):
            client = (one, two)[number % 2]
            with fresh(client) as another:
                reply = another.post("/v1/models", content=files[number])
                return reply.status_code, reply.json().get("digest")

        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(post, range(len(files))))
        digests = {digest for code, digest in told if code in (200, 201)}
        assert len(digests) == 1
        assert [code for code, _ in told].count(201) == 1
        assert {code for code, _ in told} <= {200, 201, 409, 503}
        for client in (one, two):
            reply = client.post("/v1/fuse", json={"sensors": EVENTS, "model": "small:1"})
            assert {reply.json()["model"]["digest"]} == digests
        assert len(list((tmp_path / "store").glob("models/*/versions/*"))) == 1


@pytest.mark.full
def test_a_service_killed_while_it_receives_an_upload_keeps_nothing_of_it(start, tmp_path):
    content = upload()
    head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with (
        start() as (running, client),
        socket.create_connection(("127.0.0.1", client.base_url.port)) as connection,
    ):
        connection.sendall(head.encode() + content[: len(content) // 2])
        assert client.get("/healthz/live").status_code == 200
        os.killpg(running.pid, signal.SIGKILL)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    with start() as (_, client):
        assert status(client, "small") == 404
        assert client.post("/v1/models", content=content).status_code == 201
        assert status(client, "small") == 200


@pytest.mark.full
def test_a_service_killed_at_some_moment_of_storing_starts_again_with_whole_models(start, tmp_path):
    """Whatever it was told is stored is there afterwards, whole; what is there can be read."""
    told = []
    with start() as (running, client), ThreadPoolExecutor(2) as pool:

        def post(number):
            with suppress(httpx.TransportError), fresh(client) as another:
                content = upload("many", str(number), number % 3)
                if another.post("/v1/models", content=content).status_code == 201:
                    told.append(str(number))

        posts = [pool.submit(post, number) for number in range(40)]
        until(lambda: len(told) >= 3)
        os.killpg(running.pid, signal.SIGKILL)
        for one in posts:
            one.cancel()
    store = ModelStore(FolderObjects(tmp_path / "store"))
    index = store.index()
    assert not index.problems
    assert set(told) <= {one.label for one in index.versions["many"]}
    for version in index.versions["many"]:
        assert (
            store.read(version).digest == made("many", version.label, int(version.label) % 3).digest
        )
    aged(tmp_path / "store")
    store.sweep()
    assert len(store.objects.listing("files")) == len(index.versions["many"])
    assert not store.objects.listing(".parts")
    with start() as (_, client):
        assert status(client, f"many:{told[0]}") == 200


@pytest.mark.full
def test_a_full_disk_is_told_and_the_service_goes_on(start, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with start(STORE=disk) as (_, client):
            replies = [
                client.post("/v1/models", content=upload("m", str(number))) for number in range(30)
            ]
            codes = [reply.status_code for reply in replies]
            kept = codes.index(507)
            assert set(codes[:kept]) == {201}
            problem = replies[kept].json()
            assert problem["type"] == "urn:snn-fusion:problem:store-full"
            assert "No space left" in problem["detail"]
            assert not list(disk.glob(".parts/*"))
            assert status(client, "m:0") == 200
            listed = client.get("/v1/models/m/versions").json()["versions"]
            assert len(listed) == codes.count(201)
            assert client.get("/v1/models").json()["problems"][1:] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.full
def test_what_is_damaged_on_the_disk_is_told_by_every_replica_and_never_served(start, tmp_path):
    with start("one") as (_, one):
        one.post("/v1/models", content=upload())
        one.post("/v1/models", content=upload("other"))
    store = tmp_path / "store"
    version = ModelStore(FolderObjects(store)).index().find("small", "1")
    path = store / version.file_key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with start("two") as (_, two):
        reply = two.post("/v1/fuse", json={"sensors": EVENTS, "model": "small"})
        assert reply.status_code == 503
        assert json.loads(reply.content)["type"] == "urn:snn-fusion:problem:model-damaged"
        assert two.get("/v1/models/small").json()["state"] == "damaged"
        assert two.get("/v1/models/small/versions/1/file").status_code == 503
        assert "small:1" in two.get("/healthz/startup").json()["problems"]
        assert status(two, "other") == 200
        assert two.post("/v1/models", content=upload()).status_code == 200
        assert status(two, "small") == 200
        until(lambda: two.get("/v1/models/small").json()["state"] == "ready")
