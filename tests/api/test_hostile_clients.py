"""Clients that dawdle, flood or never read: each costs its own connection, nobody else's answer."""

import gzip
import json
import socket
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
from support.api_models import body
from support.api_server import answer_of, running, until

from api.settings import load_settings

MOST = 20


@pytest.fixture(scope="module")
def server(shelf_dir):
    settings = load_settings(
        models_dir=shelf_dir,
        head_s=1.0,
        transfer_s=1.0,
        max_body_bytes=200_000,
        max_connections=MOST,
    )
    with running(settings) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(server):
    """A client that came before, and one that comes while or after, get the same right answer."""
    before = answer_of(server.fuse(body()))
    yield
    assert answer_of(server.fuse(body())) == before
    with httpx.Client(base_url=server.client.base_url, timeout=60) as another:
        assert answer_of(another.post("/v1/fuse", json=body())) == before


@pytest.fixture
def cut(server):
    """Give a function that waits until a connection more was cut for a reason."""
    name = "snn_fusion_cut_connections_total"
    before = {why: server.metric(name, why=why) for why in ("head", "body", "reply", "connections")}

    def cut(why):
        until(lambda: server.metric(name, why=why) > before[why])

    return cut


@contextmanager
def line(server):
    url = server.client.base_url
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        yield connection


def head(length=None, *more):
    lines = ["POST /v1/fuse HTTP/1.1", "Host: x", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def received(connection):
    """Return everything that comes until the connection ends."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def status_of(reply):
    return int(reply.split(b" ", 2)[1])


def content_of(reply):
    return json.loads(reply.partition(b"\r\n\r\n")[2])


def test_who_says_nothing_is_hung_up_on(server):
    with line(server) as silent:
        assert received(silent) == b""


@pytest.mark.parametrize("sent", [b"P", b"POST /v1/fuse HTTP/1.1\r\nX-A: a\r\n"])
def test_a_head_that_does_not_end_is_refused(server, cut, sent):
    with line(server) as slow:
        slow.sendall(sent)
        reply = received(slow)
    assert status_of(reply) == 408
    assert content_of(reply)["type"].endswith("request-timeout")
    assert b"connection: close" in reply
    cut("head")


def test_a_head_that_dribbles_is_refused(server):
    with line(server) as slow:
        slow.settimeout(0.05)
        slow.sendall(head(0)[:-2])
        reply = dribbled(slow, b"X-A: a\r\n")
    assert status_of(reply) == 408


@pytest.mark.parametrize("drop", [b"", b"x"])
def test_a_body_that_does_not_come_is_refused(server, cut, drop):
    gone = server.metric("snn_fusion_requests_total", route="/v1/fuse", status="499")
    with line(server) as slow:
        slow.settimeout(0.05)
        slow.sendall(head(100_000) + b"{")
        reply = dribbled(slow, drop)
    assert status_of(reply) == 408
    cut("body")
    name = "snn_fusion_requests_total"
    until(lambda: server.metric(name, route="/v1/fuse", status="499") == gone + 1)


def dribbled(connection, drop, *, always=False):
    """Send a drop at every pause, if need be until something is said; return all that is said."""
    parts = []
    with suppress(ConnectionError):
        while True:
            try:
                part = connection.recv(65536)
                if not part:
                    break
                parts.append(part)
            except TimeoutError:
                if always or not parts:
                    connection.sendall(drop)
    return b"".join(parts)


def test_a_body_that_comes_slowly_but_steadily_is_answered(server):
    content = json.dumps(body()).encode()
    with line(server) as steady:
        steady.settimeout(0.05)
        steady.sendall(head(len(content), "Connection: close"))
        reply = b""
        for start in range(0, len(content), len(content) // 40):
            steady.sendall(content[start : start + len(content) // 40])
            try:
                reply += steady.recv(65536)
            except TimeoutError:
                continue
        steady.settimeout(60)
        reply += received(steady)
    assert status_of(reply) == 200


def test_who_does_not_take_replies_is_cut_off(server, cut):
    url = server.client.base_url
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect((url.host, url.port))
        greedy.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        cut("reply")
        received_before_reset(greedy)


def test_idle_connections_end_though_they_send_line_ends(server, shelf_dir):
    settings = load_settings(models_dir=shelf_dir, keep_alive_s=0.5)
    with running(settings) as short, line(short) as idle:
        idle.settimeout(0.05)
        idle.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = dribbled(idle, b"\r\n", always=True)
    assert reply.startswith(b"HTTP/1.1 200")


def test_a_huge_body_is_refused_before_it_is_sent(server):
    with line(server) as huge:
        huge.sendall(head(10 * 2**30, "Expect: 100-continue"))
        reply = received(huge)
    assert status_of(reply) == 413
    assert b"connection: close" in reply
    assert content_of(reply)["type"].endswith("body-too-large")


@pytest.mark.parametrize("announced", [True, False])
def test_who_sends_a_huge_body_nevertheless_reads_why_not(server, announced):
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    start = head(10 * 2**30) if announced else head(None, "Transfer-Encoding: chunked")
    with line(server) as huge:
        huge.sendall(start)
        sent = 0
        with suppress(ConnectionError):
            while sent < 2**27:
                sent += huge.send(chunk)
        assert sent < 2**27, "it was not read to its end"
        reply = received_before_reset(huge)
    assert status_of(reply) == 413


def received_before_reset(connection):
    parts = []
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("route", ["/v1/fuse", "/v2/models/listening/infer"])
def test_a_bomb_is_not_inflated(server, route):
    bomb = gzip.compress(bytes(100 * 2**20))
    assert len(bomb) < 200_000
    reply = server.send(bomb, route, content_encoding="gzip")
    assert reply.status_code == 413
    assert "inflates to more than 200000 bytes" in reply.text


def test_one_connection_too_many_is_refused_at_once_and_the_next_is_served(server, cut):
    with ExitStack() as many:
        lines = [many.enter_context(line(server)) for _ in range(MOST)]
        reply = received(lines[-1])
        assert status_of(reply) == 503
        assert content_of(reply)["detail"] == "too many connections are open"
        assert b"\r\nretry-after: 1\r\n" in reply
        assert answer_of(server.fuse(body())), "who was there before is served"
    cut("connections")

    def served():
        with httpx.Client(base_url=server.client.base_url, timeout=60) as another:
            return another.get("/healthz/live").status_code == 200

    until(served)


def test_what_is_no_http_is_told_so(server):
    with line(server) as strange:
        strange.sendall(b"\x16\x03\x01 a TLS hello\r\n\r\n")
        reply = received(strange)
    assert status_of(reply) == 400


def test_a_websocket_that_nobody_serves_is_refused(server):
    upgrade = (
        b"GET /v1/nowhere HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with line(server) as strange:
        strange.sendall(upgrade)
        assert status_of(strange.recv(65536)) == 403
