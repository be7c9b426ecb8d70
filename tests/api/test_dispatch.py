"""The way past FastAPI: which requests take it, and that it tells errors the same way."""

import asyncio
from typing import Any

import orjson
import pytest

from api.dispatch import Dispatch
from api.notes import make_notes
from fusion.errors import InvalidInput


class _App:
    """Answers nothing, remembers that it was asked, and raises what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self._error = error

    async def __call__(self, scope, receive, send) -> None:
        self.asked += 1
        self.parameters = scope.get("path_params")
        if self._error is not None:
            raise self._error


def _ask(dispatch: Dispatch, **scope: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message) -> None:
        sent.append(message)

    async def receive():
        raise AssertionError("nobody reads")

    asked = {"type": "http", "method": "POST", "path": "/hot", "headers": [], **scope}
    make_notes(asked)
    asyncio.run(dispatch(asked, receive, send))
    return sent


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, (1, 0)),
        ({"method": "GET"}, (0, 1)),
        ({"path": "/hot/"}, (0, 1)),
        ({"type": "websocket"}, (0, 1)),
    ],
)
def test_only_a_post_to_a_hot_path_passes_by_the_application(scope, expected):
    hot, app = _App(), _App()
    _ask(Dispatch(app, {"/hot": hot}), **scope)
    assert (hot.asked, app.asked) == expected


def test_a_hot_path_may_be_a_template():
    hot, app = _App(), _App()
    dispatch = Dispatch(app, {"/models/{model}/hot": hot})
    scope = {"path": "/models/a name/hot"}
    _ask(dispatch, **scope)
    for path in ("/models/a/b/hot", "/models/hot", "/models/a/hot/"):
        _ask(dispatch, path=path)
    assert (hot.asked, app.asked) == (1, 3)
    assert hot.parameters == {"model": "a name"}


def test_a_known_error_is_told():
    hot = _App(InvalidInput("sensors", "is empty"))
    start, body = _ask(Dispatch(_App(), {"/hot": hot}))
    assert start["status"] == 422
    assert orjson.loads(body["body"])["field"] == "sensors"


def test_any_other_error_goes_on_to_the_middleware_around():
    with pytest.raises(ZeroDivisionError):
        _ask(Dispatch(_App(), {"/hot": _App(ZeroDivisionError())}))


def test_what_else_is_asked_at_a_hot_path_the_application_answers(server):
    reply = server.client.get("/v1/fuse")
    assert reply.status_code == 405
    assert reply.headers["Allow"] == "POST"
