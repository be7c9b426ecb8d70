"""An engine for tests of the child-process host: it does what a request says, good or bad."""

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from fusion.errors import InvalidInput, InvalidModel

_living: "weakref.WeakSet[Callable[[dict[str, Any]], Any]]" = weakref.WeakSet()


def open_program(parts: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Return a program; `parts` may hold a request to act on at once."""
    if "at_open" in parts:
        _act(parts["at_open"])
    runs = 0

    def run(request: dict[str, Any]) -> Any:
        nonlocal runs
        runs += 1
        answer = _act(request)
        return {"name": parts.get("name"), "runs": runs, "pid": os.getpid(), "answer": answer}

    _living.add(run)
    return run


def _act(request: dict[str, Any]) -> Any:
    return {name: _ACTIONS[name](value) for name, value in request.items()}


def _invalid(what: dict[str, str]) -> None:
    kind = {"input": InvalidInput, "model": InvalidModel}[what["kind"]]
    raise kind(what["field"], what["problem"], what.get("nearest"))


def _fail(text: str) -> None:
    raise RuntimeError(text)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


def _hang(how: str) -> None:
    if how == "ignoring SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "holding the interpreter's lock":
        sys.setswitchinterval(1e6)
    while True:
        pass


def _print(count: int) -> int:
    for number in range(count):
        print(f"line {number} " + "x" * 80)
    sys.stdout.flush()
    return count


def _grandchild(_: Any) -> int:
    """Start a process that outlives this one unless its group is killed."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    return subprocess.Popen([sys.executable, "-c", code]).pid


def _forged(text: str) -> None:
    """Write bytes that are no message to the parent."""
    os.write(int(sys.argv[2]), text.encode())
    time.sleep(600)


_ACTIONS: dict[str, Callable[[Any], Any]] = {
    "echo": lambda value: value,
    "zeros": np.zeros,
    "invalid": _invalid,
    "fail": _fail,
    "sleep": _sleep,
    "hang": _hang,
    "exit": os._exit,
    "print": _print,
    "grandchild": _grandchild,
    "forged": _forged,
    "living": lambda _: len(_living),
    "object": lambda _: np.array([None]),
}
