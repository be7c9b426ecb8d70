"""Faults of the machine: no descriptors, no room on the disk, a clock that jumps."""

import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest
from drills.checked_load import (
    HOST,
    READY_S,
    Line,
    Tally,
    event_questions,
    known,
    known_questions,
    service,
    wait_for,
)

CLOCK = """
import os, time

_real = time.time

def jumped():
    try:
        with open(os.environ["CLOCK_OFFSET"]) as file:
            return _real() + float(file.read() or 0)
    except (OSError, KeyError):  # a child that is told nothing, and may open nothing
        return _real()

time.time = jumped
"""
DAY_S = 86_400


def asked(line, questions):
    """Ask over a line, and hold every answer to the reference's."""
    tally = Tally()
    for question in questions:
        tally.ask(line, question)
    assert (tally.failures, tally.wrong) == ([], [])


@contextmanager
def may_open(files):
    """Let this process open so many files meanwhile, or skip."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < files:
        pytest.skip(f"a process may not have {files} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("idle", [1000, pytest.param(5000, marks=pytest.mark.full)])
def test_idle_connections_are_no_matter_to_others(idle):
    with (
        may_open(2 * idle + 1000),
        service(LINGER_S=0, HEAD_S=600) as started,
        ExitStack() as open_ones,
    ):
        questions = known_questions(started.port)
        for _ in range(idle):
            open_ones.enter_context(socket.create_connection((HOST, started.port), timeout=60))
        fresh = Line(started.port)
        asked(fresh, questions)
        fresh.close()


def test_without_descriptors_who_is_connected_is_served_and_others_are_later():
    with service(under=("sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"), LINGER_S=0) as started:
        questions = known_questions(started.port)
        (worker,) = started.workers()
        line = Line(started.port)
        asked(line, questions)
        with ExitStack() as flood:
            for _ in range(400):
                flood.enter_context(socket.create_connection((HOST, started.port), timeout=60))
            for _ in range(3):
                asked(line, questions)
        wait_for(lambda: answers(started), READY_S)
        fresh = Line(started.port)
        asked(fresh, questions)
        asked(line, questions)
        assert started.workers() == [worker]
        for one in (line, fresh):
            one.close()


def answers(started):
    try:
        return started.get("/healthz/ready")[0] == 200
    except OSError:
        return False


def test_a_clock_that_jumps_is_no_matter(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    offset = tmp_path / "offset"
    variables = {"PYTHONPATH": str(tmp_path), "CLOCK_OFFSET": str(offset)}
    with service(variables=variables, WORKERS=2, LINGER_S=0, HANG_S=30) as started:
        questions = known_questions(started.port)
        before = started.workers()
        line = Line(started.port)
        asked(line, questions)
        for jump_s in (DAY_S, -DAY_S, 0):
            offset.write_text(str(jump_s))
            asked(line, questions)
            fresh = Line(started.port)
            asked(fresh, questions)
            fresh.close()
            assert answers(started)
        assert started.workers() == before, "no worker was taken for hung"
        line.close()


def test_the_clock_of_that_test_does_jump(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    (tmp_path / "offset").write_text(str(DAY_S))
    done = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={"PYTHONPATH": str(tmp_path), "CLOCK_OFFSET": str(tmp_path / "offset")},
        capture_output=True,
        check=True,
    )
    assert float(done.stdout) > time.time() + DAY_S / 2


def may_unshare():
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.full
def test_a_full_disk_costs_the_kept_code_and_the_shared_metrics_alone(tmp_path):
    if not may_unshare():
        pytest.skip("this user may not have a mount namespace of their own")
    script = f'mount -t tmpfs -o size=16k tmpfs {tmp_path} && exec "$@"'
    with service(
        under=("unshare", "-m", "sh", "-c", script, "sh"),
        variables={"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        WORKERS=2,
        LINGER_S=0,
    ) as started:
        line = Line(started.port)
        asked(line, known_questions(started.port))
        sizes = 34 * 34 * 2, 100_000
        both = [
            event_questions("av_digits", one, "vision", sizes, 5) for one in ("brian2", "numpy")
        ]
        asked(line, known(started.port, *both))
        assert started.logged("no room for shared metrics") == 2
        assert started.get("/metrics")[0] == 200
        line.close()
