import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute

from api.access.caller import ANYONE, NOBODY, Caller, target_patterns
from api.access.refusals import Forbidden
from api.access.scopes import (
    GRANTED,
    WEBSOCKET,
    RouteScopes,
    Scope,
    Undeclared,
    needs,
    open_to_all,
)
from api.app import DOCUMENTATION, create_app
from api.settings import load_settings

NAMES = st.text("abc-*.01", max_size=6)


@pytest.fixture(scope="module")
def app(shelf_dir):
    return create_app(load_settings(models_dir=shelf_dir), metrics_registry=CollectorRegistry())


OPEN = {"/", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready"} | {
    f"/healthz/{probe}" for probe in ("startup", "ready", "live")
}


def test_every_documented_route_needs_a_scope_unless_it_is_known_to_be_open(app):
    scopes = RouteScopes(app.routes, DOCUMENTATION)
    found = {}
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            found[method, path] = scopes.find(method.upper(), re.sub(r"{\w+}", "x", path))
    assert len(found) > 25
    assert None not in found.values()
    assert {path for (_, path), scope in found.items() if scope is Scope.NONE} == OPEN
    assert found["post", "/v1/fuse"] is found["post", "/v2/models/{model}/infer"] is Scope.FUSE
    assert found["post", "/v2/repository/models/{model}/load"] is Scope.REPOSITORY
    assert found["get", "/metrics"] is Scope.METRICS


def test_the_document_tells_every_operation_s_scope_and_refusals(app):
    document = app.openapi()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in OPEN:
                assert operation["security"] == []
                continue
            (scope,) = {scope for way in operation["security"] for (scope,) in way.values()}
            assert scope in GRANTED
            assert {"401", "403", "429"} <= set(operation["responses"])


@needs(Scope.CHECK)
async def checked(request): ...


@open_to_all
async def anybody(request): ...


async def undeclared(request): ...


def test_a_route_that_says_nothing_stops_the_start():
    with pytest.raises(Undeclared, match=r"/forgotten .*needs.*open_to_all"):
        RouteScopes([Route("/forgotten", undeclared)], frozenset())
    RouteScopes([Route("/forgotten", undeclared)], frozenset({"/forgotten"}))


def test_routes_are_matched_as_the_application_matches_them():
    files = needs(Scope.METRICS)(Starlette())
    routes = RouteScopes(
        [
            Route("/a/special", anybody, methods=["POST"]),
            Route("/a/{name}", checked, methods=["GET", "DELETE"]),
            WebSocketRoute("/a/{name}", checked),
            Mount("/files", files),
        ],
        frozenset(),
    )
    assert routes.find("POST", "/a/special") is Scope.NONE
    assert routes.find("GET", "/a/special") is Scope.CHECK
    assert routes.find("HEAD", "/a/x") is Scope.CHECK
    assert routes.find(WEBSOCKET, "/a/x") is Scope.CHECK
    assert routes.find("GET", "/files/deep/down.js") is Scope.METRICS
    assert routes.find("PUT", "/a/x") is None
    assert routes.find("GET", "/a/x/y") is None
    assert routes.methods("/a/x") == ["DELETE", "GET", "HEAD", WEBSOCKET]
    assert routes.methods("/nothing") == []


def test_what_is_remembered_of_paths_is_bounded():
    routes = RouteScopes([Route("/a/{name}", checked)], frozenset())
    for number in range(20_000):
        assert routes.find("GET", f"/a/{number}") is Scope.CHECK
    assert len(routes._known) < 5000


def matches(pattern, name):
    """Return whether `*` of a pattern can be replaced so that it is the name, tried one by one."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(matches(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and name[0] == pattern[0] and matches(pattern[1:], name[1:])


@given(st.lists(NAMES, max_size=4), st.text("abc-.01", max_size=6))
def test_a_star_stands_for_any_text_and_all_else_for_itself(patterns, name):
    found = target_patterns(patterns).matches.fullmatch(name) is not None
    assert found == any(matches(pattern, name) for pattern in patterns)


@pytest.fixture(scope="module")
def targets(boards):
    registry = create_app(load_settings(hw_configs=boards)).state.service.registry
    return registry.targets


def caller(*scopes, patterns=("*",)):
    return Caller(
        key_id="1",
        name="lab",
        scopes=frozenset(scopes),
        targets=target_patterns(patterns),
        meter=ANYONE.meter,
    )


@given(st.frozensets(st.sampled_from(GRANTED)), st.sampled_from(GRANTED))
def test_a_scope_is_had_or_the_refusal_names_it(scopes, wanted):
    who = caller(*scopes)
    if wanted in scopes:
        who.check_scope(wanted)
        return
    with pytest.raises(Forbidden) as caught:
        who.check_scope(wanted)
    assert f"lacks the scope {wanted}" in str(caught.value)
    assert f'scope="{wanted}"' in caught.value.headers["WWW-Authenticate"]


def test_boards_want_a_scope_besides_a_matching_pattern(targets):
    board, cpu = targets["lab-board"], targets["cpu"]
    caller(Scope.FUSE).check_targets([cpu])
    with pytest.raises(Forbidden, match=r"'lab-board' is a board.*lacks the scope hardware"):
        caller(Scope.FUSE).check_targets([cpu, board])
    with pytest.raises(Forbidden, match="not for the target 'lab-board'") as caught:
        caller(Scope.HARDWARE, patterns=["cpu", "loihi-*"]).check_targets([board])
    assert caught.value.nearest == "a target of cpu, loihi-*"
    caller(Scope.HARDWARE, patterns=["lab-*"]).check_targets([board])
    ANYONE.check_targets([board, cpu])
    with pytest.raises(Forbidden):
        NOBODY.check_targets([cpu])
