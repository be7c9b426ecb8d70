"""The child's side of a hosted engine: `python -m backends.worker MODULE:FUNCTION SOCKET`.

FUNCTION takes what a program is made of and returns a function from a request to a reply, each a
tree as `backends.wire` sends it. The child answers one message after the other:

    (at the start)                                → {"ready": true}
    {"do": "open", "program": n, "parts": tree}   → {"done": null}
    {"do": "run", "program": n, "request": tree}  → {"done": reply, "wall_s": seconds}
    {"do": "close", "program": n}                 → {"done": null}

Whatever goes wrong is answered by {"error": {"kind", "text", "field", "problem", "nearest"}}; the
last three are null unless the exception has them. The child ends with the process that started it,
whose end of the child's standard input closes then, and takes its own children along.

It imports nothing of the service but `backends.wire`; FUNCTION's module may.
"""

import fcntl
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from backends.wire import BrokenWire, Wire

Opened = Callable[[dict[str, Any]], Any]
Open = Callable[[dict[str, Any]], Opened]


def main() -> None:
    """Serve one engine until the parent closes the connection or ends."""
    engine, descriptor = sys.argv[1:]
    die_with_parent()
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    wire = Wire(connection)
    try:
        module, function = engine.split(":")
        serve(wire, getattr(importlib.import_module(module), function))
    except BrokenWire:
        return
    except Exception as error:
        wire.send({"error": _described(error)})
        raise


def die_with_parent() -> None:
    """Have the kernel kill this process group when the parent's end of standard input closes.

    A thread could not do it while an engine holds the interpreter's lock, and a parent-death signal
    follows the thread that started the child, not the process.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:
        sys.exit("the parent has gone already")


def serve(wire: Wire, open_program: Open) -> None:
    """Answer the parent's messages.

    Raises:
        BrokenWire: when the parent has closed the connection.
    """
    programs: dict[int, Opened] = {}
    wire.send({"ready": True})
    while True:
        message = wire.receive()
        try:
            reply = _answer(message, programs, open_program)
        except Exception as error:
            reply = {"error": _described(error)}
            if reply["error"]["field"] is None:
                traceback.print_exc()
        wire.send(reply)


def _answer(
    message: dict[str, Any], programs: dict[int, Opened], open_program: Open
) -> dict[str, Any]:
    number = message["program"]
    if message["do"] == "open":
        programs[number] = open_program(message["parts"])
    elif message["do"] == "close":
        programs.pop(number, None)
    else:
        started = time.perf_counter()
        reply = programs[number](message["request"])
        return {"done": reply, "wall_s": time.perf_counter() - started}
    return {"done": None}


def _described(error: Exception) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    for name in ("field", "problem", "nearest"):
        value = getattr(error, name, None)
        described[name] = value if isinstance(value, str) else None
    return described


if __name__ == "__main__":
    main()
