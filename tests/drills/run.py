"""Fault drills of the Lava child: each does the worst, then looks at what is said and what is left.

    python tests/drills/run.py --times 100

Every drill ends with a run that has to give the right spikes in a fresh child, and with nothing of
the old one left: no process, no shared memory, no descriptor, no thread.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from backends import shared_memory
from backends.errors import RunFailed, RunTimeout
from backends.lava_engine import LavaEngine, lava_host, network_parts
from backends.lava_environment import lava_python
from backends.lava_float import FEED
from backends.lava_float_engine import LavaFloatEngine
from fusion.contract import make_contract
from simulators.loihi import LoihiEngine
from simulators.loihi_random import random_network
from simulators.plan import make_plan
from snn_fusion.testing_networks import NETWORKS

HERE = Path(__file__).parent
NETWORK, INPUTS = random_network(3, batch=1, steps=30)
FLOATS = make_plan(NETWORKS["feed_forward"]().graph, make_contract("lava-float", 1e-3))
EXPECTED = LoihiEngine(NETWORK).run(INPUTS, record=["all"])
SHORT_S, LONG_S = 1.0, 60.0


class Ground:
    """Where a drill takes place: an engine whose child can be told to misbehave."""

    def __init__(self, python, *, wrapper=None, open_s=60.0, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        self.mark = Path(self.folder.name, "mark")
        self.token = os.urandom(8).hex()
        self.pids, self.prefixes = set(), set()
        variables = {"PYTHONPATH": str(HERE), "DRILL_MARK": str(self.mark), "DRILL": self.token}
        self.host = lava_host(
            "drill", wrapper or python, "lava_faults:open_program", open_s=open_s,
            environment=variables | (environment or {}),
        )  # fmt: skip
        self.engine = None

    def open(self):
        self.engine = LavaEngine(NETWORK, self.host)
        self.look()

    def look(self):
        """Note the processes that run now and their prefix."""
        for pid in processes(self.token):
            self.pids.add(pid)
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            named = [v for v in variables if v.startswith(shared_memory.VARIABLE.encode())]
            self.prefixes |= {v.decode().partition("=")[2] for v in named}
        return sorted(processes(self.token))

    def check(self):
        """Run, which may start a fresh child, and compare."""
        trace = self.engine.run(INPUTS, record=["all"], deadline_s=LONG_S)
        for key, values in EXPECTED.recorded.items():
            assert np.array_equal(trace.recorded[key], values), key
        self.look()

    def run(self, deadline_s=LONG_S, **fault):
        """Run with a fault in the request."""
        x = {name: values.astype(np.int32) for name, values in INPUTS.items()}
        request = {"inputs": x, "state": None, "record": [], **fault}
        return self.host.run(self.engine._number, request, deadline_s)

    def long_run(self):
        """Run for much longer than a drill takes."""
        x = {name: np.repeat(values, 2000, axis=1) for name, values in INPUTS.items()}
        return self.engine.run(x, deadline_s=600.0)


def processes(token):
    """Return the living processes whose environment holds the token."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


@contextmanager
def nothing_left(ground):
    """Check that nothing of a ground's children is left at the end."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    try:
        yield ground
    finally:
        ground.host.close()
    wait_for(lambda: not processes(ground.token), "processes are left")
    assert not left_of(ground.prefixes), f"memory is left: {left_of(ground.prefixes)}"
    ground.folder.cleanup()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors, "descriptors are left"
    assert threading.active_count() <= threads, "threads are left"


def left_of(prefixes):
    """Return the names in the shared memory that begin like this."""
    return [path.name for one in prefixes for path in shared_memory.FOLDER.glob(f"{one}*")]


def wait_for(done, problem):
    """Wait some seconds for something to be so."""
    until = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until, problem
        time.sleep(0.01)


def fails(kind, call, *texts):
    """Check that a call raises this very error and says these texts."""
    try:
        call()
    except kind as error:
        found = error
    else:
        raise AssertionError(f"no {kind.__name__}")
    assert type(found) is kind, f"{type(found).__name__}: {found}"
    assert all(text in str(found) for text in texts), str(found)


def killed_process(python, turn):
    """One of the child's processes is killed during a run; another one every time."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()
        all_of_them = ground.look()
        victim = all_of_them[turn % len(all_of_them)]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(ground.long_run)
            time.sleep(0.3)
            os.kill(victim, signal.SIGKILL)
            # Lava needs the manager of its memory at the start and the end only: that run goes on.
            if not wait([running], timeout=3).done:
                os.kill(ground.host.pid, signal.SIGKILL)
            fails(RunFailed, running.result, "'drill' broke off")
        ground.check()


def all_killed(python, turn):
    """The whole process group is killed from outside, as by the kernel short of memory."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(ground.long_run)
            time.sleep(0.2)
            os.killpg(ground.host.pid, signal.SIGKILL)
            fails(RunFailed, running.result, "'drill' broke off")
        ground.check()


def killed_between_runs(python, turn):
    """One of Lava's processes dies while nothing runs."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()
        victims = [pid for pid in ground.look() if pid != ground.host.pid]
        os.kill(victims[-1 - turn % 3], signal.SIGKILL)
        fails(RunFailed, lambda: ground.engine.run(INPUTS, deadline_s=LONG_S), "ended with exit")
        ground.check()


def exception(python, turn):
    """A process model raises in a step."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()
        ground.mark.write_text("raise")
        fails(RunFailed, ground.run, "an exception in a process model")
        ground.mark.unlink()
        ground.check()


def hang(python, turn):
    """A process model never ends its step."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()
        ground.mark.write_text("hang")
        fails(RunTimeout, lambda: ground.run(SHORT_S), "did not answer within 1 s")
        ground.mark.unlink()
        ground.check()


def hang_at_opening(python, turn):
    """A process model never ends its first step."""
    with nothing_left(Ground(python, open_s=5.0)) as ground:
        ground.mark.write_text("hang")
        fails(RunTimeout, ground.open, "did not answer within 5 s")
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()


def variable(python, turn):
    """Lava is asked for a variable that it never gives: a threshold that is no integer."""
    with nothing_left(Ground(python, environment={"DRILL_SCALAR": "1"})) as ground:
        engine = LavaFloatEngine(FLOATS, ground.host)
        request = {"inputs": {FEED: np.ones((1, 5, 7))}, "state": None, "record": []}
        ground.host.run(engine._number, dict(request), LONG_S)
        ground.look()
        ask = dict(request, fault="variable")
        fails(RunTimeout, lambda: ground.host.run(engine._number, ask, SHORT_S))
    with nothing_left(Ground(python)) as ground:
        ground.open()
        ground.check()


def leave(python, turn):
    """The child leaves without stopping Lava, whose processes then keep it from ending."""
    with nothing_left(Ground(python)) as ground:
        ground.open()
        try:
            ground.run(SHORT_S, fault="leave")
        except (RunTimeout, RunFailed):
            pass
        else:
            raise AssertionError("no error")
        ground.check()


def small_shared_memory(python, turn):
    """Shared memory is too small, as containers have it: said before Lava hangs."""
    with small(python, "64k") as wrapper, nothing_left(Ground(python, wrapper=wrapper)) as ground:
        fails(RunFailed, ground.open, "Lava's channels need", "--shm-size")


def full_shared_memory(python, turn):
    """Shared memory fills up while Lava starts, after it was found large enough."""
    with small(python, "64k") as wrapper:
        ground = Ground(python, wrapper=wrapper, open_s=8.0)
        with nothing_left(ground):
            parts = {"arithmetic": "fixed", "runtime": True, "blind": True}
            try:
                ground.host.open(parts | network_parts(NETWORK))
            except RunFailed:
                pass
            else:
                raise AssertionError("no error")
            ground.look()


def read_only(python, turn):
    """The root file system is read-only, temporary files included."""
    made = wrapped(python, "mount -o remount,ro,bind /")
    with made as wrapper, nothing_left(Ground(python, wrapper=wrapper)) as ground:
        ground.open()
        ground.check()


SERVICE = """
import sys
sys.path[:0] = {paths!r}
from drills.run import Ground
ground = Ground({python!r})
ground.open()
print(ground.token, *ground.prefixes, flush=True)
ground.long_run()
"""


def service_killed(python, turn):
    """The service is killed during a run, and with it the child and all of Lava's processes."""
    paths = [str(HERE.parent), str(HERE.parents[1])]
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE.format(paths=paths, python=python)],
        stdout=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        token, *prefixes = service.stdout.readline().split()
        time.sleep(0.2)
        service.kill()
    assert prefixes, "no prefix"
    wait_for(lambda: not processes(token), "processes are left")
    with nothing_left(Ground(python)) as ground:
        ground.open()  # sweeps what was left, unless its processes were still ending
        wait_for(lambda: (shared_memory.sweep(), not left_of(prefixes))[1], "memory is left")
        ground.check()


@contextmanager
def wrapped(python, command):
    """Give an interpreter that runs in a mount namespace of its own, where `command` was run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "python")
        path.write_text(
            f'#!/bin/sh\nexec unshare -m -- sh -c \'{command} && exec "$0" "$@"\' {python} "$@"\n'
        )
        path.chmod(0o700)
        yield str(path)


def small(python, size):
    """Give an interpreter that sees shared memory of this size."""
    return wrapped(python, f"mount -t tmpfs -o size={size} tmpfs /dev/shm")


def may_unshare():
    """Whether this user may have a mount namespace of their own."""
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return done.returncode == 0


DRILLS = (
    killed_process, all_killed, killed_between_runs, exception, hang, hang_at_opening, variable,
    leave, service_killed, small_shared_memory, full_shared_memory, read_only,
)  # fmt: skip
MOUNTING = (small_shared_memory, full_shared_memory, read_only)
"""Drills that need the right to mount."""


def main():
    """Run every drill so many times and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1)
    times = parser.parse_args().times
    python = lava_python("loihi-lava")
    drills = [drill for drill in DRILLS if drill not in MOUNTING or may_unshare()]
    passed, took_s = Counter(), Counter()
    for turn in range(times):
        for drill in drills:
            begun = time.monotonic()
            try:
                drill(python, turn)
            except BaseException:
                print(f"{drill.__name__} failed in round {turn + 1} of {times}", file=sys.stderr)
                raise
            passed[drill.__name__] += 1
            took_s[drill.__name__] += time.monotonic() - begun
        print(f"round {turn + 1} of {times}: {len(drills)} drills passed", flush=True)
    for name, count in passed.items():
        print(f"{name:22}{count:5} passed, {took_s[name] / count:6.2f} s each")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    main()
