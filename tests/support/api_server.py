"""A real server on a free port, in a thread, and the bodies that its tests post."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from api.app import create_app
from api.service import Service
from api.settings import Settings
from api.worker import Server, make_config

TYPES = {"<i8": "INT64", "<i4": "INT32", "<i2": "INT16", "<f4": "FP32", "<f8": "FP64"}


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once the condition holds; fail if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@dataclass
class Running:
    """A server that runs, and a client of it."""

    app: FastAPI
    client: httpx.Client
    server: Server

    @property
    def service(self) -> Service:
        """What the application shares among requests."""
        return self.app.state.service

    def fuse(self, body: Any, **headers: str) -> httpx.Response:
        """Post a JSON body."""
        return self.client.post("/v1/fuse", json=body, headers=headers)

    def send(self, content: bytes, route: str = "/v1/fuse", **headers: str) -> httpx.Response:
        """Post bytes with headers, of which `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(route, content=content, headers=named)

    def send_binary(
        self, header: Mapping[str, Any], tail: bytes, route: str = "/v1/fuse"
    ) -> httpx.Response:
        """Post a JSON header and the raw tensors behind it."""
        text = json.dumps(header).encode()
        return self.send(
            text + tail,
            route,
            content_type="application/octet-stream",
            inference_header_content_length=str(len(text)),
        )

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return metric(self.client.get("/metrics").text, name, **labels)

    def wait_until_ready(self) -> None:
        """Return once the readiness probe says so."""
        # The first start after a change compiles the kernels.
        until(lambda: self.client.get("/healthz/ready").status_code == 200, 300)


class ThreadedServer(Server):
    """A worker's server in a thread, which no signal reaches."""

    loop: asyncio.AbstractEventLoop

    def capture_signals(self) -> Any:
        self.loop = asyncio.get_running_loop()
        return nullcontext()

    def settle(self) -> None:
        """Leave the garbage collector of the process, which runs other tests, as it is."""


@contextmanager
def running(settings: Settings, **collaborators: Any) -> Iterator[Running]:
    """Serve an application over real HTTP, as a worker does."""
    app = create_app(settings, **collaborators)
    ours, link = socket.socketpair()
    with ours, link, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = ThreadedServer(make_config(settings, app), app.state.service, link)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
                yield Running(app, client, server)
        finally:
            if thread.is_alive():
                server.loop.call_soon_threadsafe(server.stop)
            thread.join()


@contextmanager
def leaving(server: Running, body: Any) -> Iterator[None]:
    """Post a fuse request whose caller leaves at the block's end, without having read a reply."""
    url, content = server.client.base_url, json.dumps(body).encode()
    with socket.create_connection((url.host, url.port)) as caller:
        head = f"POST /v1/fuse HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        caller.sendall(head.encode() + content)
        yield


def metric(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels, from Prometheus text."""
    total = 0.0
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and all(
            f'{key}="{wanted}"' in sample for key, wanted in labels.items()
        ):
            total += float(value)
    return total


def tensor(name: str, values: Sequence[float], dtype: str, **parameters: Any) -> tuple[Any, bytes]:
    """Return a tensor's entry in the header and its raw numbers."""
    raw = np.array(values, dtype).tobytes()
    entry = {
        "name": name,
        "datatype": TYPES[dtype],
        "shape": [len(values)],
        "parameters": {"binary_data_size": len(raw), **parameters},
    }
    return entry, raw


def answer_of(reply: httpx.Response) -> dict[str, Any]:
    """Return a reply without what differs from one request to the next."""
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return {key: value for key, value in answer.items() if key not in ("request_id", "timing")}


def refused(reply: httpx.Response, status: int, *says: str) -> dict[str, Any]:
    """Return the problem in a reply, after checking its form, its status and what it says."""
    assert reply.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = reply.json()
    assert reply.status_code == problem["status"] == status, problem
    assert problem["request_id"] == reply.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["type"].startswith("urn:snn-fusion:problem:")
    for part in says:
        assert part in problem["detail"], problem["detail"]
    assert "Traceback" not in reply.text
    return problem
