"""Workers that die, hang, leave and are replaced, each a process of its own behind one socket."""

import http.client
import os
import signal
import threading
from pathlib import Path

import pytest
from drills.checked_load import (
    HABITS,
    READY_S,
    Line,
    Tally,
    known_questions,
    service,
    visitors,
    wait_for,
)
from drills.rolling import roll

from api.metrics_files import MULTIPROCESS_DIR
from snn_fusion.client import Client, ConnectionFailed, Sample


def ask(started, questions):
    """Ask every question over a connection of its own; all are answered right."""
    tally = Tally()
    for question in questions:
        line = Line(started.port)
        tally.ask(line, question)
        line.close()
    assert (tally.failures, tally.wrong) == ([], [])


def test_a_restart_of_the_only_worker_loses_nothing():
    tally = roll(1, 1, LINGER_S=1)
    assert (tally.failures, tally.wrong) == ([], [])


@pytest.mark.full
def test_three_restarts_of_two_workers_lose_nothing():
    tally = roll(3, 2)
    assert (tally.failures, tally.wrong) == ([], [])


@pytest.mark.full
def test_a_restart_is_given_up_if_the_new_worker_cannot_start(tmp_path):
    with service(HW_CONFIGS=tmp_path, LINGER_S=0) as started:
        questions = known_questions(started.port)
        before = started.workers()
        (tmp_path / "broken.yaml").write_text("name: broken\n")
        os.kill(started.process.pid, signal.SIGHUP)
        wait_for(lambda: started.logged("the restart is given up"), READY_S)
        assert started.workers() == before
        ask(started, questions)


@pytest.mark.full
def test_a_worker_that_dies_while_it_is_replaced_is_replaced_once():
    with service(LINGER_S=0) as started:
        questions = known_questions(started.port)
        (old,) = started.workers()
        os.kill(started.process.pid, signal.SIGHUP)
        wait_for(lambda: len(started.workers()) == 2, READY_S)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: started.logged(f"worker {old} died"), READY_S)
        ask(started, questions)
        wait_for(lambda: len(started.workers()) == 1, READY_S)
        ask(started, questions)


def test_draining_tells_clients_to_go_and_answers_those_who_are_there():
    with service(DRAIN_S=1, LINGER_S=60) as started:
        questions = known_questions(started.port)
        lines = [Line(started.port) for _ in range(3)]
        tally = Tally()
        for line in lines:
            tally.ask(line, questions[0])
        started.process.terminate()
        wait_for(lambda: refuses(started), READY_S)
        # It listens no more, and yet who is connected is answered, once.
        for line in lines:
            line.connection.request("GET", "/healthz/ready")
            reply = line.connection.getresponse()
            assert (reply.status, reply.headers["Connection"]) == (503, "close")
            assert b"draining" in reply.read()
        assert started.process.wait(READY_S) == 0
        assert (tally.answered, tally.failures, tally.wrong) == (3, [], [])


def refuses(started):
    try:
        started.get("/healthz/live")
    except OSError:
        return True
    except http.client.HTTPException:
        return False
    return False


def test_a_killed_worker_costs_what_it_ran_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    with service(WORKERS=2, LINGER_S=0) as started:
        questions = known_questions(started.port)
        with visitors(started.port, questions, HABITS[:4]) as tally:
            for _ in range(2):
                before = started.workers()
                os.kill(before[0], signal.SIGKILL)
                wait_for(lambda: restored(started, before), READY_S)  # noqa: B023
        assert len(tally.failures) <= 2 * 4, "one at most for each visitor that was under way"
        for failure in tally.failures:
            assert "Reset" in failure or "Disconnected" in failure, failure
        assert tally.wrong == []
        ask(started, questions)
        counted = requests_counted(started)
        # Some that were counted may not have reached their caller before the kill.
        assert tally.answered + 2 * len(questions) <= counted
        assert counted <= tally.answered + 2 * len(questions) + len(tally.failures)


def restored(started, before):
    now = started.workers()
    return len(now) == len(before) and before[0] not in now


def requests_counted(started):
    _, text = started.get("/metrics")
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.decode().splitlines()
        if line.startswith("snn_fusion_requests_total{")
        and ('route="/v1/fuse"' in line or "infer" in line)
    )


@pytest.mark.full
def test_the_client_says_that_a_worker_was_killed_under_it_and_may_ask_again():
    with (
        service(LINGER_S=0) as started,
        Client(f"http://127.0.0.1:{started.port}", timeout_s=READY_S) as client,
    ):
        sensors = {"vision": Sample("digit-4")}
        answer = client.fuse(sensors, model="av_digits")
        (worker,) = started.workers()
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(ConnectionFailed) as failed:
            killed_meanwhile(client, worker, sensors)
        assert failed.value.sent
        again = client.fuse(sensors, model="av_digits")
        assert again.windows == answer.windows


def killed_meanwhile(client, worker, sensors):
    threading.Timer(0.3, os.kill, (worker, signal.SIGKILL)).start()
    client.fuse(sensors, model="av_digits")


def test_a_worker_that_hangs_is_replaced():
    with service(WORKERS=2, LINGER_S=0, HANG_S=2) as started:
        questions = known_questions(started.port)
        stopped, other = started.workers()
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: stopped not in started.workers(), READY_S)
        assert started.logged(f"worker {stopped} hangs and is killed") == 1
        wait_for(lambda: len(started.workers()) == 2, READY_S)
        assert other in started.workers()
        ask(started, questions)


@pytest.mark.full
def test_workers_do_not_outlive_their_supervisor():
    with service(WORKERS=2, LINGER_S=0) as started:
        workers = started.workers()
        started.process.kill()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), READY_S)
        assert refuses(started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_connection_holds_nobody_up_who_is_in_a_hurry(number):
    with service(LINGER_S=3600, SHUTDOWN_S=3600) as started:
        line = Line(started.port)
        tally = Tally()
        tally.ask(line, known_questions(started.port)[0])
        started.process.send_signal(number)
        if number == signal.SIGTERM:
            wait_for(lambda: refuses(started), READY_S)
            assert started.process.poll() is None, "it lingers"
            started.process.send_signal(number)
        assert started.process.wait(READY_S) == 0
        line.close()
        assert tally.answered == 1
