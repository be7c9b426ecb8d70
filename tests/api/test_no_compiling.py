"""Nothing is compiled while a request waits."""

import pytest
from support.api_server import answer_of, running

from api.settings import load_settings

numba = pytest.importorskip("numba", reason="machine code needs Numba")
event = pytest.importorskip("numba.core.event")

COMPILING = "numba:compile"


def test_the_recorder_sees_what_is_compiled():
    with event.install_recorder(COMPILING) as recorder:
        numba.njit(lambda n: n + 1)(1)
    assert recorder.buffer


def test_first_requests_compile_nothing():
    fuse = {"sensors": {name: {"sample": "digit-7"} for name in ("audio", "vision")}}
    parts = ("times_us", "INT64"), ("channels", "INT32")
    inputs = [
        {"name": f"vision.{part}", "datatype": kind, "shape": [2], "data": [0, 1]}
        for part, kind in parts
    ]
    with running(load_settings(targets=("cpu",))) as server:
        server.wait_until_ready()
        with event.install_recorder(COMPILING) as recorder:
            answer_of(server.fuse({"model": "av_digits", **fuse}))
            answer_of(server.fuse({"model": "av_digits", "inputs": inputs}))
            answer_of(server.fuse({"model": "av_digits", "record": ["all"], **fuse}))
            reply = server.client.post("/v2/models/av_digits/infer", json={"inputs": inputs})
            assert reply.status_code == 200, reply.text
        assert recorder.buffer == []
