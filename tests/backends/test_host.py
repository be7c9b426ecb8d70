"""The child-process host with a real child that crashes, hangs, babbles and lies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.errors import RunFailed, RunTimeout
from backends.host import ChildHost
from fusion.errors import InvalidInput, InvalidModel

TESTS = Path(__file__).parents[1]
PATHS = os.pathsep.join([str(TESTS), str(TESTS.parent)])
LONG_S = 60.0


@pytest.fixture
def host() -> Iterator[ChildHost]:
    host = ChildHost("test", "support.child_engine:open_program", environment={"PYTHONPATH": PATHS})
    yield host
    host.close()


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(pid: int) -> bool:
    """Wait until a process has ended."""
    for _ in range(1000):
        if not runs(pid):
            return True
        time.sleep(0.01)
    return False


def answer(host: ChildHost, number: int, **request: Any) -> Any:
    return host.run(number, request, LONG_S).reply


def test_values_and_arrays_cross_unchanged(host: ChildHost) -> None:
    sent = {
        "double": np.array([[1.5, -0.0], [np.inf, 5e-324]]),
        "single": np.arange(6, dtype=np.float32).reshape(1, 2, 3)[:, ::-1],
        "empty": np.zeros((2, 0, 3)),
        "none": np.array(7, np.int32),
        "flags": np.array([True, False]),
        "nested": [1, "two", None, {"three": np.array([3], np.uint8), "four": 0.1}],
    }
    back = answer(host, host.open({}), echo=sent)["answer"]["echo"]
    for name in ("double", "single", "empty", "none", "flags"):
        assert back[name].dtype == sent[name].dtype
        assert back[name].shape == sent[name].shape
        assert back[name].tobytes() == sent[name].tobytes()
    assert back["nested"][:3] == [1, "two", None]
    assert back["nested"][3]["three"].tolist() == [3]
    assert back["nested"][3]["four"] == 0.1


def test_a_large_array_crosses(host: ChildHost) -> None:
    large = np.random.default_rng(0).random(3_000_000)
    back = answer(host, host.open({}), echo=large, zeros=3_000_000)["answer"]
    assert np.array_equal(back["echo"], large)
    assert back["zeros"].size == large.size


def test_several_programs_share_one_child(host: ChildHost) -> None:
    one, two = host.open({"name": "one"}), host.open({"name": "two"})
    first, second = answer(host, one), answer(host, two)
    assert (first["name"], second["name"]) == ("one", "two")
    assert first["pid"] == second["pid"] == host.pid
    assert answer(host, one)["runs"] == 2


def test_a_forgotten_program_is_dropped_and_the_others_go_on(host: ChildHost) -> None:
    one, two = host.open({"name": "one"}), host.open({"name": "two"})
    pid = answer(host, one)["pid"]
    host.forget(one)
    assert answer(host, two)["pid"] == pid


@pytest.mark.parametrize(("kind", "error"), [("input", InvalidInput), ("model", InvalidModel)])
def test_errors_of_the_domain_cross_with_their_fields_and_leave_the_child_alone(
    host: ChildHost, kind: str, error: type[InvalidInput]
) -> None:
    number = host.open({})
    pid = answer(host, number)["pid"]
    what = {"kind": kind, "field": "inputs.x", "problem": "is wrong", "nearest": "y"}
    with pytest.raises(error) as caught:
        answer(host, number, invalid=what)
    assert type(caught.value) is error
    assert (caught.value.field, caught.value.problem, caught.value.nearest) == (
        "inputs.x",
        "is wrong",
        "y",
    )
    assert answer(host, number)["pid"] == pid


def test_any_other_error_is_a_failed_run_that_shows_what_the_child_printed(
    host: ChildHost,
) -> None:
    number = host.open({})
    with pytest.raises(RunFailed, match="RuntimeError: out of luck") as caught:
        answer(host, number, print=3, fail="out of luck")
    assert "line 2 xxx" in str(caught.value)
    assert "Traceback" in str(caught.value)
    assert answer(host, number)["runs"] == 1  # in a fresh child


def test_an_error_at_opening_is_reported_and_the_host_stays_usable(host: ChildHost) -> None:
    what = {"kind": "model", "field": "nodes.a", "problem": "is wrong"}
    with pytest.raises(InvalidModel) as caught:
        host.open({"at_open": {"invalid": what}})
    assert caught.value.nearest is None
    with pytest.raises(RunFailed, match="RuntimeError: no"):
        host.open({"at_open": {"fail": "no"}})
    assert answer(host, host.open({"name": "good"}))["name"] == "good"


@pytest.mark.parametrize("engine", ["no.such.module:open", "support.child_engine:no_such_function"])
def test_an_engine_that_cannot_be_imported_is_reported(engine: str) -> None:
    host = ChildHost("test", engine, environment={"PYTHONPATH": PATHS})
    with pytest.raises(RunFailed, match=r"No module named|no_such_function"):
        host.open({})
    host.close()


def test_an_interpreter_that_does_not_exist_is_reported() -> None:
    host = ChildHost("test", "support.child_engine:open_program", python="/no/such/python")
    with pytest.raises(RunFailed, match="cannot start its child"):
        host.open({})


def test_a_child_killed_during_a_run_fails_that_run_only(host: ChildHost) -> None:
    number = host.open({"name": "kept"})
    pid = answer(host, number)["pid"]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(answer, host, number, sleep=600)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match="'test' broke off"):
            run.result()
    again = answer(host, number)
    assert again["name"] == "kept"
    assert again["pid"] != pid


def test_a_child_that_exits_in_a_run_fails_it(host: ChildHost) -> None:
    number = host.open({})
    with pytest.raises(RunFailed, match="broke off"):
        answer(host, number, print=1, exit=3)
    assert answer(host, number)["runs"] == 1


def test_a_child_killed_between_runs_is_replaced_unnoticed(host: ChildHost) -> None:
    number = host.open({})
    pid = answer(host, number)["pid"]
    os.kill(pid, signal.SIGKILL)
    while host.pid is not None:  # until its last thread has ended, it may still look alive
        time.sleep(0.01)
    assert answer(host, number)["pid"] != pid


@pytest.mark.parametrize("how", ["plainly", "ignoring SIGTERM", "holding the interpreter's lock"])
def test_a_run_past_its_deadline_is_killed(host: ChildHost, how: str) -> None:
    number = host.open({})
    pid = answer(host, number)["pid"]
    with pytest.raises(RunTimeout) as caught:
        host.run(number, {"hang": how}, 0.3)
    assert caught.value.deadline_s == 0.3
    assert not runs(pid)
    assert answer(host, number)["runs"] == 1


def test_a_child_of_the_child_does_not_outlive_it(host: ChildHost) -> None:
    number = host.open({})
    grandchild = answer(host, number, grandchild=1)["answer"]["grandchild"]
    assert runs(grandchild)
    with pytest.raises(RunTimeout):
        host.run(number, {"sleep": 600}, 0.3)
    assert ended(grandchild)


def test_a_waiting_call_gives_up_at_its_deadline_without_harm_to_the_running_one(
    host: ChildHost,
) -> None:
    number = host.open({})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(answer, host, number, sleep=2)
        while not host._lock.locked():
            time.sleep(0.01)
        with pytest.raises(RunTimeout):
            host.run(number, {}, 0.1)
        assert running.result()["runs"] == 1


def test_calls_from_several_threads_take_turns(host: ChildHost) -> None:
    number = host.open({})
    together = threading.Barrier(4)

    def call(value: int) -> Any:
        together.wait()
        return [answer(host, number, echo=np.full(1000, value)) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))
    for value, own in enumerate(answers):
        assert all(np.array_equal(a["answer"]["echo"], np.full(1000, value)) for a in own)
    assert sorted(a["runs"] for own in answers for a in own) == list(range(1, 41))


def test_a_flood_of_output_neither_blocks_the_child_nor_fills_the_message(host: ChildHost) -> None:
    number = host.open({})
    assert answer(host, number, print=50_000)["answer"]["print"] == 50_000
    with pytest.raises(RunFailed) as caught:
        answer(host, number, print=50_000, fail="at last")
    assert len(str(caught.value)) < 5_000


@pytest.mark.parametrize("forged", ["\x00\x00\x00\x02ab", "\xff\xff\xff\xff", "no message"])
def test_a_child_that_sends_no_message_is_killed(host: ChildHost, forged: str) -> None:
    number = host.open({})
    pid = answer(host, number)["pid"]
    with pytest.raises(RunFailed):
        host.run(number, {"forged": forged}, LONG_S)
    assert ended(pid)


def test_an_answer_that_cannot_be_sent_is_a_failed_run(host: ChildHost) -> None:
    number = host.open({})
    with pytest.raises(RunFailed):
        answer(host, number, object=1)
    assert answer(host, number)["runs"] == 1


def test_closing_ends_the_child_and_a_later_call_starts_another(host: ChildHost) -> None:
    number = host.open({})
    pid = answer(host, number)["pid"]
    host.close()
    host.close()
    assert not runs(pid)
    assert host.pid is None
    assert answer(host, number)["runs"] == 1


def test_a_host_that_is_dropped_takes_its_child_along() -> None:
    host = ChildHost("test", "support.child_engine:open_program", environment={"PYTHONPATH": PATHS})
    pid = answer(host, host.open({}))["pid"]
    del host
    assert ended(pid)


PARENT = """
import os, signal, sys, threading
from backends.host import ChildHost
host = ChildHost("test", "support.child_engine:open_program")
number = host.open({})
reply = host.run(number, {"grandchild": 1}, 60.0).reply
print(reply["pid"], reply["answer"]["grandchild"], flush=True)
if sys.argv[1] == "exit":
    sys.exit()
if sys.argv[1] == "killed in a run":
    request = {"hang": "holding the interpreter's lock"}
    threading.Thread(target=host.run, args=(number, request, 600.0), daemon=True).start()
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["exit", "killed", "killed in a run"])
def test_no_orphan_is_left_when_the_parent_ends(end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PATHS},
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        if end != "exit":
            assert all(runs(pid) for pid in pids)
            time.sleep(0.3)  # let a run begin
            parent.kill()
        parent.wait()
    assert all(ended(pid) for pid in pids)
