"""Uploading, listing, addressing and deleting models over HTTP."""

import io
import socket
import zipfile
from contextlib import ExitStack, contextmanager

import nir
import pytest
from support.api_server import refused, running, until
from support.model_calls import asked, digest_of, post_model, settled, stored
from support.models import small_graph
from support.stored import files, graph_bytes, made, upload, zipped

from api.models.keeper import RECEIVING_AT_ONCE
from api.models.upload import OVERHEAD_BYTES
from api.settings import load_settings
from fusion.model import parse_model


@pytest.fixture(scope="module")
def place(shelf_dir, tmp_path_factory):
    """A server for refusals, which change nothing, and its store's folder."""
    store = tmp_path_factory.mktemp("refusing") / "store"
    settings = load_settings(models_dir=shelf_dir, store=str(store), targets="numpy")
    with running(settings) as made_server:
        made_server.wait_until_ready()
        yield made_server, store


@pytest.fixture(scope="module")
def holding(shelf_dir, tmp_path_factory):
    """A server that holds one model."""
    store = tmp_path_factory.mktemp("holding") / "store"
    settings = load_settings(models_dir=shelf_dir, store=str(store), targets="numpy")
    with running(settings) as made_server:
        made_server.wait_until_ready()
        stored(made_server)
        yield made_server


def test_an_uploaded_model_is_compiled_answers_and_tells_of_itself(server):
    reply = post_model(server, upload())
    assert reply.status_code == 201
    told = reply.json()
    assert reply.headers["location"] == "/v1/models/small/versions/1"
    assert (told["name"], told["version"], told["source"]) == ("small", "1", "store")
    assert told["digest"] == made().digest
    told = settled(server, "small")
    assert (told["state"], told["problem"], told["loaded"]) == ("ready", None, True)
    assert told["labels"] == ["left", "right", "none"]
    assert told["sensors"]["cam"]["shape"] == [2, 2]
    assert told["contract"]["dt_s"] == 0.001
    assert told["versions"] == ["1"]
    assert digest_of(server, "small") == made().digest
    listed = {one["name"]: one for one in server.client.get("/v1/models").json()["models"]}
    assert listed["small"] == {**told, "owner": None}
    assert listed["listening"]["source"] == "models_dir"
    assert listed["listening"]["default"]
    assert server.client.get(reply.headers["location"]).json() == told


def test_the_same_bytes_again_are_the_same_version(server):
    first = post_model(server, upload()).json()
    again = post_model(server, upload())
    assert again.status_code == 200
    assert again.json()["created"] == first["created"]
    assert server.client.get("/v1/models/small").json()["versions"] == ["1"]


def test_other_bytes_of_a_version_are_refused(server):
    stored(server)
    problem = refused(post_model(server, upload(seed=1)), 409, made().digest[:12])
    assert problem["field"] == "fusion.yaml.version"
    assert digest_of(server, "small:1") == made().digest


def test_versions_are_addressed_in_every_way(server):
    one, two = made(), made(version="2", seed=1)
    stored(server)
    stored(server, "small", "2", 1)
    put = server.client.put("/v1/models/small/aliases/production", json={"version": "1"})
    assert put.json() == {"name": "small", "alias": "production", "version": "1"}
    for reference, model in (
        ("small", two), ("small:1", one), ("small:2", two), ("small@production", one),
        (one.digest, one), (two.digest[:9], two),
    ):  # fmt: skip
        assert digest_of(server, reference) == model.digest
        checked = server.client.post("/v1/check", json={"model": reference, "targets": ["numpy"]})
        assert checked.json()["model"]["digest"] == model.digest
        told = server.client.get(f"/v1/models/{reference}").json()
        assert told["digest"] == model.digest
        about = server.client.get(f"/v2/models/{reference}").json()
        assert about["versions"] == [told["version"]]
        assert server.client.get(f"/v2/models/{reference}/ready").status_code == 200
    for version, model in (("1", one), ("2", two), (one.digest[:8], one)):
        told = server.client.get(f"/v1/models/small/versions/{version}").json()
        assert told["digest"] == model.digest
    config = server.client.get("/v2/models/small/versions/1/config").json()
    assert config["parameters"]["digest"]["string_value"] == one.digest
    versions = server.client.get("/v1/models/small/versions").json()
    assert [one["version"] for one in versions["versions"]] == ["1", "2"]
    assert [one["aliases"] for one in versions["versions"]] == [["production"], []]
    assert versions["aliases"] == {"production": "1"}


def test_an_alias_is_moved_and_deleted(server):
    stored(server)
    stored(server, "small", "2", 1)
    place = "/v1/models/small/aliases/production"
    server.client.put(place, json={"version": "1"})
    assert digest_of(server, "small@production") == made().digest
    server.client.put(place, json={"version": made("small", "2", 1).digest[:10]})
    assert digest_of(server, "small@production") == made("small", "2", 1).digest
    refused(server.client.delete("/v1/models/small/versions/2"), 409, "'production' leads")
    assert server.client.delete(place).json()["version"] == "2"
    refused(asked(server, "small@production"), 404, "has no alias 'production'")
    assert server.client.delete("/v1/models/small/versions/2").status_code == 200
    assert digest_of(server, "small") == made().digest


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/models/nope", None, 404, "'nope' is unknown"),
        ("GET", "/v1/models/small:9", None, 404, "has no version '9' (try: 1)"),
        ("GET", "/v1/models/nope/versions", None, 404, "'nope' is unknown (try: "),
        ("GET", "/v1/models/small/versions/9", None, 404, "has no version '9'"),
        ("GET", "/v1/models/small/versions/9/file", None, 404, "has no version '9'"),
        ("DELETE", "/v1/models/nope", None, 404, "no model 'nope' was uploaded"),
        ("DELETE", "/v1/models/small/versions/9", None, 404, "no version '9'"),
        ("DELETE", "/v1/models/listening", None, 409, "ships with the service"),
        ("DELETE", "/v1/models/listening/versions/2", None, 409, "ships with the service"),
        ("PUT", "/v1/models/small/aliases/a", {"version": "9"}, 404, "no version '9'"),
        ("PUT", "/v1/models/nope/aliases/a", {"version": "1"}, 404, "'nope' is unknown"),
        ("PUT", "/v1/models/small/aliases/a b", {"version": "1"}, 422, "cannot be stored"),
        ("PUT", "/v1/models/small/aliases/a", {"versoin": "1"}, 422, "version"),
        ("PUT", "/v1/models/small/aliases/a", None, 400, ""),
        ("DELETE", "/v1/models/small/aliases/a", None, 404, "no alias 'a'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(holding, method, path, body, status, says):
    refused(holding.client.request(method, path, json=body), status, says)


def test_a_deleted_model_is_gone_with_its_versions_and_aliases(server):
    stored(server)
    stored(server, "small", "2", 1)
    server.client.put("/v1/models/small/aliases/production", json={"version": "1"})
    reply = server.client.delete("/v1/models/small")
    assert reply.json() == {"name": "small", "versions": ["1", "2"]}
    for reference in ("small", "small:1", "small@production", made().digest):
        refused(asked(server, reference), 404, "is unknown")
    assert "small" not in server.client.get("/v1/models").text


def test_a_version_of_a_model_that_ships_takes_over_and_leaves_again(server):
    shipped = digest_of(server, "listening")
    new = stored(server, "listening", "3")
    assert new["versions"] == ["2", "3"]
    assert digest_of(server, "listening") == new["digest"] == digest_of(server, None)
    assert digest_of(server, "listening:2") == shipped
    server.client.put("/v1/models/listening/aliases/production", json={"version": "2"})
    assert digest_of(server, "listening@production") == shipped
    refused(post_model(server, upload("listening", "2")), 409, "ships is version '2'")
    server.client.delete("/v1/models/listening/versions/3")
    assert digest_of(server, "listening") == shipped


def test_a_version_that_the_default_target_cannot_run_never_takes_over(server):
    stored(server)
    told = stored(server, "small", "2", dt_s=None)
    assert told["state"] == "failed"
    assert "dt_s" in told["problem"]
    assert digest_of(server, "small") == made().digest
    assert "small:2" in server.client.get("/healthz/startup").json()["problems"]
    refused(asked(server, "small:2"), 422, "dt_s")
    body = {"model": "small:2", "dt_s": 0.001, "sensors": {}}
    assert server.fuse(body | {"sensors": {"cam": {"events": {"times_us": [1], "channels": [0]}}}})


def test_the_file_of_a_version_is_the_model(server):
    stored(server)
    reply = server.client.get("/v1/models/small/versions/1/file")
    assert reply.headers["content-type"] == "application/zip"
    assert reply.headers["etag"] == f'"{made().digest}"'
    assert "small-1.zip" in reply.headers["content-disposition"]
    assert parse_model(reply.content).digest == made().digest
    shipped = server.client.get("/v1/models/listening/versions/2/file")
    assert zipfile.ZipFile(io.BytesIO(shipped.content)).namelist() == ["fusion.yaml", "graph.nir"]


def test_a_bare_graph_is_stored_under_its_digest(server):
    reply = post_model(server, graph_bytes())
    assert reply.status_code == 201
    told = reply.json()
    assert (told["name"], told["version"]) == (told["digest"][:12], "")
    assert reply.headers["location"].endswith(f"/versions/{told['digest']}")
    assert settled(server, told["name"])["state"] == "ready"
    again = post_model(server, zipped({"graph.nir": graph_bytes()}))
    assert (again.status_code, again.json()["digest"]) == (200, told["digest"])


def form(server, parts):
    return server.client.post("/v1/models", files=parts)


def test_a_form_brings_a_manifest_along(server):
    content = files()
    whole = form(
        server, {"model": ("x.nir", content["graph.nir"]), "manifest": content["fusion.yaml"]}
    )
    assert whole.status_code == 201
    assert whole.json()["digest"] == made().digest
    other = files(version="2")["fusion.yaml"]
    replaced = form(server, {"model": ("x.zip", upload()), "manifest": ("fusion.yaml", other)})
    assert replaced.json()["version"] == "2"
    assert form(server, {"model": upload()}).status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type", "status", "says"),
    [
        (b"", "application/zip", 400, "is empty"),
        (b"junk", "application/zip", 422, "not a readable NIR file"),
        (b"PK\x03\x04 junk", "", 422, "cannot be read"),
        (zipped({"fusion.yaml": b"name: x"}), "", 422, "exactly one"),
        (zipped(files() | {"fusion.yaml": b"name: x\n"}), "", 422, "fusion.yaml"),
        (upload("../up"), "", 422, "fusion.yaml.name"),
        (upload("a/b"), "", 422, "cannot be stored"),
        (upload(version=""), "", 422, "fusion.yaml.version"),
        (b"x", "multipart/form-data", 400, "boundary"),
        (b"x", "multipart/form-data; boundary=y", 400, "multipart"),
        (b"--y\r\n", "multipart/form-data; boundary=y", 400, "ends too early"),
        (b"--y\r\n\r\nz\r\n--y--\r\n", "multipart/form-data; boundary=y", 400, "part too many"),
    ],
)
def test_what_is_no_model_is_refused_and_leaves_nothing(place, content, content_type, status, says):
    server, store = place
    refused(post_model(server, content, content_type=content_type), status, says)
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_forms_with_strange_parts_are_refused(place):
    server, _ = place
    refused(form(server, {"modle": upload()}), 422, "modle: is no part of an upload (try: model")
    refused(form(server, {"manifest": files()["fusion.yaml"]}), 422, "model: is missing")
    twice = [("model", upload()), ("model", upload())]
    refused(server.client.post("/v1/models", files=twice), 400, "part too many: 'model'")


def test_encoded_bodies_are_not_taken(place):
    refused(post_model(place[0], upload(), content_encoding="gzip"), 415, "gzip")


@contextmanager
def stalled(server):
    """Begin an upload whose body never comes."""
    url = server.client.base_url
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        yield connection


def test_uploads_that_lie_in_memory_are_bounded(place):
    server, _ = place
    keeper = server.service.keeper
    with ExitStack() as stack:
        for _ in range(RECEIVING_AT_ONCE):
            stack.enter_context(stalled(server))
        until(lambda: keeper._receiving == RECEIVING_AT_ONCE)
        reply = post_model(server, b"one too many")
        refused(reply, 503, f"{RECEIVING_AT_ONCE} requests already wait for 'uploads'")
        assert reply.headers["Retry-After"] == "1"
    until(lambda: keeper._receiving == 0)
    refused(post_model(server, b"no model"), 422)


def test_an_upload_that_does_not_come_is_refused(place, monkeypatch):
    server, _ = place
    monkeypatch.setattr("api.routes.models.RECEIVE_S", 0.05)
    with stalled(server) as connection:
        reply = connection.recv(65536)
    assert b" 408 " in reply.splitlines()[0]
    assert b"body-too-slow" in reply
    assert b"took more than 0.05 s to arrive" in reply
    assert server.service.keeper._receiving == 0


def test_models_that_are_too_large_are_refused(start):
    with start(max_model_bytes=20_000, max_neurons=1000) as server:
        server.wait_until_ready()
        refused(post_model(server, bytes(20_001)), 413, "at most 20000")
        refused(post_model(server, bytes(20_001 + OVERHEAD_BYTES)), 413, "too large")
        bomb = zipped({"graph.nir": bytes(50_000)})
        assert len(bomb) < 1000
        refused(post_model(server, bomb), 422, "too large")


def test_what_no_target_can_hold_is_refused_by_node(start, tmp_path):
    nir.write(tmp_path / "graph.nir", small_graph(hidden=50))
    wide = {**files(), "graph.nir": (tmp_path / "graph.nir").read_bytes()}
    with start(max_neurons=40) as server:
        problem = refused(post_model(server, zipped(wide)), 422)
        (violation,) = problem["violations"]
        assert (violation["limit"], violation["allowed"]) == ("neurons", "40")


def test_uploads_that_are_off_are_refused_with_the_reason(start):
    with start(uploads=False) as server:
        server.wait_until_ready()
        for method, path in (
            ("POST", "/v1/models"), ("DELETE", "/v1/models/listening"),
            ("DELETE", "/v1/models/listening/versions/2"),
            ("PUT", "/v1/models/listening/aliases/a"),
            ("DELETE", "/v1/models/listening/aliases/a"),
        ):  # fmt: skip
            problem = refused(server.client.request(method, path), 403, "SNN_FUSION_STORE")
            assert "SNN_FUSION_UPLOADS=true" in problem["nearest"]
        assert server.client.get("/v1/models").status_code == 200


def test_calls_are_counted_by_their_templates(server):
    stored(server)
    server.client.get("/v1/models/small/versions/1")
    for route, method in (
        ("/v1/models", "POST"), ("/v1/models/{model}/versions/{version}", "GET"),
    ):  # fmt: skip
        assert server.metric("snn_fusion_requests_total", route=route, method=method) >= 1
    assert server.metric("snn_fusion_requests_total", route="unmatched") == 0


def test_model_and_version_names_may_be_asked_for_as_a_model_of_v2(server):
    stored(server, "small", "1.0+a")
    inputs = [
        {"name": f"cam.{part}", "datatype": kind, "shape": [1], "data": [1]}
        for part, kind in (("times_us", "INT64"), ("channels", "INT32"))
    ]
    reply = server.client.post("/v2/models/small/versions/1.0+a/infer", json={"inputs": inputs})
    assert reply.json()["model_version"] == "1.0+a"
    index = server.client.post("/v2/repository/index").json()
    assert {"name": "small", "version": "1.0+a", "state": "READY", "reason": ""} in index
