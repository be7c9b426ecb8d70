import json

import pytest
from support.api_models import CAM_EVENTS, body
from support.api_schema import misfits


@pytest.fixture(scope="module")
def document(server):
    return server.client.get("/openapi.json").json()


def schema_of(document, path, method="get", status="200"):
    (content,) = document["paths"][path][method]["responses"][status]["content"].values()
    return content["schema"]


@pytest.mark.parametrize(
    "sent",
    [body(record=["all"], seed=1), {"sensors": {"mic": {"sample": "one"}}}],
    ids=["everything", "one sensor"],
)
def test_replies_of_fuse_are_as_documented(server, document, sent):
    reply = server.fuse(sent).json()
    assert misfits(reply, schema_of(document, "/v1/fuse", "post"), document, "reply") == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (body(model="nope"), "404"),
        (body(dt_s=1e-5), "422"),
        (body(target="tiny"), "422"),
        (body(target="absent"), "503"),
        ({"sensors": {"cam": {"sample": "nope"}}}, "404"),
    ],
)
def test_problems_are_as_documented(server, document, sent, status):
    reply = server.fuse(sent)
    assert str(reply.status_code) == status
    schema = schema_of(document, "/v1/fuse", "post", status)
    assert misfits(reply.json(), schema, document, "problem") == []


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/targets", "/v1/models", "/v1/samples"]
    + [f"/healthz/{probe}" for probe in ("startup", "live", "ready")],
)
def test_every_other_reply_is_as_documented(server, document, path):
    reply = server.client.get(path)
    assert misfits(reply.json(), schema_of(document, path), document, path) == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v2", {}),
        ("/v2/health/live", {}),
        ("/v2/health/ready", {}),
        ("/v2/models/stats", {}),
        ("/v2/models/{model}", {"model": "listening"}),
        ("/v2/models/{model}/ready", {"model": "listening"}),
        ("/v2/models/{model}/config", {"model": "listening"}),
        ("/v2/models/{model}/versions/{version}/stats", {"model": "listening", "version": "2"}),
    ],
)
def test_replies_of_the_open_inference_protocol_are_as_documented(server, document, path, named):
    reply = server.client.get(path.format(**named))
    assert reply.status_code == 200
    assert misfits(reply.json(), schema_of(document, path), document, path) == []


def test_inferences_and_the_repository_are_as_documented(server, document):
    inputs = [
        {"name": f"cam.{part}", "datatype": datatype, "shape": [7], "data": CAM_EVENTS[part]}
        for part, datatype in (("times_us", "INT64"), ("channels", "INT32"))
    ]
    path = "/v2/models/{model}/infer"
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "application/octet-stream"}
    reply = server.client.post(path.format(model="listening"), json={"inputs": inputs, "id": "7"})
    schema = content["application/json"]["schema"]
    assert misfits(reply.json(), schema, document, "reply") == []
    assert misfits(content["application/json"]["example"], schema, document, "example") == []
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert misfits(body["example"], body["schema"], document, "example") == []
    refused = server.client.post(path.format(model="nope"), json={"inputs": inputs})
    schema = schema_of(document, path, "post", "404")
    assert misfits(refused.json(), schema, document, "error") == []
    path = "/v2/repository/index"
    reply = server.client.post(path)
    assert misfits(reply.json(), schema_of(document, path, "post"), document, "index") == []


def test_every_route_is_documented(server, document):
    plain = {getattr(route, "path", None) for route in server.app.routes}  # FastAPI tells of others
    unlisted = {None, "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
    assert plain - unlisted <= set(document["paths"])


def test_the_examples_are_as_documented(server, document):
    operation = document["paths"]["/v1/fuse"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert misfits(example["value"], content["schema"], document, "example") == []
    (answer,) = operation["responses"]["200"]["content"].values()
    assert misfits(answer["example"], answer["schema"], document, "example") == []
    problem = operation["responses"]["422"]["content"]["application/problem+json"]
    assert misfits(problem["example"], problem["schema"], document, "example") == []
    assert "application/octet-stream" in operation["requestBody"]["content"]


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.partition('"')[0] in document["components"]["schemas"]


def test_the_checker_itself_finds_misfits(document):
    schema = {"$ref": "#/components/schemas/QualityReply"}
    fits = {"score": 1, "certainty": 0.5, "conflict": 0.0, "coverage": 1.0}
    assert misfits(fits, schema, document, "q") == []
    assert misfits({**fits, "score": "1"}, schema, document, "q") == ["q.score: '1' is no number"]
    assert misfits({**fits, "x": 1}, schema, document, "q") == ["q.x is not documented"]
    assert "q.score is missing" in misfits({}, schema, document, "q")


def test_the_documentation_page_is_served(server):
    assert server.client.get("/docs").status_code == 200
