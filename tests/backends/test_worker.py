"""The child's side of a hosted engine, without its host."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.wire import BrokenWire, Wire

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
ENGINE = "support.child_engine:open_program"

Started = tuple["subprocess.Popen[bytes]", Wire]


def start(engine: str, ours: socket.socket, theirs: socket.socket, stdin: int) -> Started:
    process = subprocess.Popen(
        [sys.executable, "-m", "backends.worker", engine, str(theirs.fileno())],
        stdin=stdin, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()],
        start_new_session=True, env=ENVIRONMENT,
    )  # fmt: skip
    theirs.close()
    return process, Wire(ours)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def ask(wire: Wire, do: str, **rest: Any) -> Any:
    wire.send({"do": do, "program": 5, **rest})
    return wire.receive()


def test_it_speaks_as_documented_and_ends_with_its_connection(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    process, wire = start(ENGINE, *ends, subprocess.PIPE)
    with process:
        assert wire.receive() == {"ready": True}
        assert ask(wire, "open", parts={"name": "five"}) == {"done": None}
        reply = ask(wire, "run", request={"echo": [1, None]})
        assert set(reply) == {"done", "wall_s"}
        assert reply["wall_s"] >= 0
        assert reply["done"]["answer"] == {"echo": [1, None]}
        what = {"kind": "input", "field": "inputs.x", "problem": "is wrong", "nearest": "y"}
        (error,) = ask(wire, "run", request={"invalid": what}).values()
        assert {**error, "text": ""} == {
            "kind": "InvalidInput", "text": "", "field": "inputs.x", "problem": "is wrong",
            "nearest": "y",
        }  # fmt: skip
        (error,) = ask(wire, "run", request={"fail": "oh"}).values()
        assert error == {
            "kind": "RuntimeError", "text": "oh", "field": None, "problem": None, "nearest": None,
        }  # fmt: skip
        assert ask(wire, "close") == {"done": None}
        assert ask(wire, "close") == {"done": None}
        assert ask(wire, "run", request={})["error"]["kind"] == "KeyError"
        wire.close()
        assert process.wait(60) == 0


def test_an_engine_that_cannot_be_imported_is_answered(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    process, wire = start("support.child_engine:nothing", *ends, subprocess.PIPE)
    with process:
        assert wire.receive()["error"]["kind"] == "AttributeError"
        assert process.wait(60) == 1


def test_it_does_not_begin_without_a_parent(ends: tuple[socket.socket, socket.socket]) -> None:
    process, wire = start(ENGINE, *ends, subprocess.DEVNULL)
    with process:
        with pytest.raises(BrokenWire):
            wire.receive()
        assert process.wait(60) != 0
        assert process.stderr is not None
        assert b"parent has gone" in process.stderr.read()


def test_it_ends_at_once_when_its_parents_end_of_standard_input_closes(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    process, wire = start(ENGINE, *ends, subprocess.PIPE)
    with process:
        wire.receive()
        ask(wire, "open", parts={})
        request = {"hang": "holding the interpreter's lock"}
        wire.send({"do": "run", "program": 5, "request": request})
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) < 0  # killed by a signal


def test_it_imports_nothing_of_the_service_but_the_wire() -> None:
    code = (
        "import sys, backends.worker\n"
        "ours = {'api', 'backends', 'fusion', 'simulators', 'snn_fusion', 'nir', 'scipy'}\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ours))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['backends', 'backends.wire', 'backends.worker']"
