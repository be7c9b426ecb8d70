"""A peer that does what a test says, over real HTTP: it keeps what it was sent, byte for byte."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from support.api_server import until


@dataclass
class Peer:
    """What the peer answers to the next requests, and what it got.

    Attributes:
        url: where it is.
        got: the requests: path, headers, body.
        status: of its answers.
        headers: of its answers.
        parts: of the body of its answers.
        breaks: whether it closes the connection in the middle of the answer.
        hangs: whether it never answers what is not a probe.
        left: how many callers left before they had an answer.
    """

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    parts: Sequence[bytes] = (b"{}",)
    breaks: bool = False
    hangs: bool = False
    left: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as an ASGI application."""
        if scope["path"] == "/healthz/live":
            await _send(send, 200, {"content-length": "0"}, [b""])
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        named = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        self.got.append((f"{scope['path']}?{query}" if query else scope["path"], named, body))
        if self.hangs:
            await asyncio.wait_for(receive(), 60)
            self.left += 1
            return
        length = {"content-length": str(sum(map(len, self.parts)))}
        parts = self.parts[:1] if self.breaks else self.parts
        await _send(send, self.status, length | self.headers, parts, ends=not self.breaks)


async def _send(
    send: Any, status: int, headers: dict[str, str], parts: Sequence[bytes], ends: bool = True
) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if ends:
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def peer() -> Iterator[Peer]:
    """Serve a peer."""
    made = Peer()
    config = uvicorn.Config(made, port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield made
    finally:
        server.should_exit = True
        thread.join()
