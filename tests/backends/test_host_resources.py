"""What a child-process host holds and gives back: time, programs, processes, threads, files."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.errors import RunFailed, RunTimeout
from backends.host import ChildHost
from backends.simulated import HostedProgram

TESTS = Path(__file__).parents[1]
PATHS = os.pathsep.join([str(TESTS), str(TESTS.parent)])
ENGINE = "support.child_engine:open_program"
LONG_S = 60.0


@pytest.fixture
def host() -> Iterator[ChildHost]:
    host = ChildHost("test", ENGINE, environment={"PYTHONPATH": PATHS})
    yield host
    host.close()


def living(host: ChildHost, number: int) -> int:
    """Return how many programs the child holds."""
    return int(host.run(number, {"living": 1}, LONG_S).reply["answer"]["living"])


def test_programs_that_are_dropped_or_closed_are_freed_in_the_child(host: ChildHost) -> None:
    kept = host.open({})
    dropped, closed = HostedProgram(host, {}, LONG_S), HostedProgram(host, {}, LONG_S)
    assert living(host, kept) == 3
    del dropped
    gc.collect()
    assert living(host, kept) == 2
    closed.close()
    closed.close()
    assert living(host, kept) == 1
    with pytest.raises(RunFailed, match="closed"):
        closed.run({"in": np.zeros((1, 1))})


def test_a_fresh_child_is_given_only_the_programs_that_are_called(host: ChildHost) -> None:
    numbers = [host.open({}) for _ in range(3)]
    assert living(host, numbers[0]) == 3
    host.close()
    assert living(host, numbers[1]) == 1
    assert living(host, numbers[2]) == 2


@pytest.mark.parametrize("deadline_s", [0.0, -3.0])
def test_a_deadline_that_has_passed_is_a_timeout(host: ChildHost, deadline_s: float) -> None:
    number = host.open({})
    with pytest.raises(RunTimeout):
        host.run(number, {}, deadline_s)
    assert living(host, number) == 1


def test_a_run_may_have_no_deadline(host: ChildHost) -> None:
    number = host.open({})
    large = np.zeros(1_000_000)
    reply = host.run(number, {"echo": large}, float("inf")).reply
    assert reply["answer"]["echo"].size == large.size


def test_a_child_that_takes_too_long_to_start_or_to_open_is_killed(tmp_path: Path) -> None:
    code = "import time\ndef open_program(parts): time.sleep(600)\n"
    (tmp_path / "slow_to_open.py").write_text(code)
    (tmp_path / "slow_to_start.py").write_text("import time\ntime.sleep(600)\n")
    for engine in ("slow_to_start", "slow_to_open"):
        host = ChildHost(
            "test", f"{engine}:open_program", environment={"PYTHONPATH": str(tmp_path)},
            start_s=2.0 if engine == "slow_to_start" else LONG_S, open_s=1.0,
        )  # fmt: skip
        with pytest.raises(RunTimeout, match="'test' did not answer"):
            host.open({})
        assert host.pid is None


def test_a_child_that_is_no_worker_is_a_failed_run() -> None:
    host = ChildHost("test", ENGINE, python="/bin/false")
    for _ in range(2):
        with pytest.raises(RunFailed, match="'test' broke off"):
            host.open({})
    assert host.pid is None


def test_closing_gives_back_threads_and_files(host: ChildHost) -> None:
    host.open({})
    host.close()
    before = threading.active_count(), len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        host.open({})
        host.close()
    assert (threading.active_count(), len(list(Path("/dev/fd").iterdir()))) == before


def test_a_program_that_ends_without_closing_anything_ends_quietly() -> None:
    code = (
        "from backends.host import ChildHost\n"
        "from backends.simulated import HostedProgram\n"
        f"host = ChildHost('test', {ENGINE!r})\n"
        "kept = HostedProgram(host, {}, 60.0), HostedProgram(host, {}, 60.0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
