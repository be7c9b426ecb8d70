"""The whole service, and the server that it starts for itself."""

import fcntl
import os
import signal
from contextlib import contextmanager

import pytest
import redis
from support.api_models import body
from support.api_process import process, wait_until_ready
from support.api_server import metric, until
from support.redis_load import under_load

HIT = "snn-fusion; hit"


def problem(client):
    return client.get("/healthz/ready").json().get("problems", {}).get("redis")


@contextmanager
def serving(shelf_dir, folder, **settings):
    """Run a service whose log is not read while it runs, and so has to be short."""
    with process(shelf_dir, DATA_DIR=folder, LOG_LEVEL="WARNING", **settings) as (started, client):
        wait_until_ready(started, client)
        yield started, client


def pid_of_redis(folder):
    try:
        socket = str(folder / "redis" / "redis.sock")
        with redis.Redis(unix_socket_path=socket, protocol=2) as server:
            return server.info("server")["process_id"]
    except redis.ConnectionError:
        return None


def is_locked(folder):
    """Return whether an embedded server runs on a folder."""
    with (folder / "redis" / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_killed_and_brought_back_under_load_and_ends_with_the_service(
    shelf_dir, tmp_path, workers
):
    settings = {"WORKERS": workers, "CACHE_MIN_RUN_MS": 0}
    with serving(shelf_dir, tmp_path, **settings) as (started, client):
        until(lambda: problem(client) is None)
        with under_load(client) as load:
            load.more_hits()
            pid = pid_of_redis(tmp_path)
            os.kill(pid, signal.SIGKILL)
            until(lambda: pid_of_redis(tmp_path) not in (None, pid))
            load.more_hits()
        until(lambda: problem(client) is None)
        assert is_locked(tmp_path)
        started.kill()
        until(lambda: not is_locked(tmp_path))


def test_answers_are_known_to_the_next_service_with_the_folder(shelf_dir, tmp_path):
    names = []
    for _ in range(2):
        with serving(shelf_dir, tmp_path, CACHE_MIN_RUN_MS=0) as (started, client):
            until(lambda client=client: asked(client).headers.get("Cache-Status") == HIT)
            with redis.Redis(unix_socket_path=str(tmp_path / "redis" / "redis.sock")) as server:
                names.append(server.keys("snn-fusion:answer:*"))
            started.send_signal(signal.SIGTERM)
            started.communicate()
            assert not is_locked(tmp_path)
    assert names[0] == names[1]
    assert len(names[0]) == 1


def asked(client):
    return client.post("/v1/fuse", json=body())


def test_a_place_that_cannot_be_written_leaves_the_service_without(shelf_dir, tmp_path):
    (tmp_path / "file").touch()
    with serving(shelf_dir, tmp_path / "file") as (started, client):
        assert "SNN_FUSION_REDIS_URL is not set" in problem(client)
        assert metric(client.get("/metrics").text, "snn_fusion_redis_up") == 0
        assert asked(client).status_code == 200
        started.send_signal(signal.SIGTERM)
        _, logged = started.communicate()
    assert "cannot be kept in" in logged
