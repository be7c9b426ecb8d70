"""The embedded server: one a folder, ended with its parent, restarted, its data kept."""

import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from support.api_server import until

from api.redis.embedded import MAX_SOCKET_BYTES, CannotRun, EmbeddedServer, answers, shared_redis
from api.settings import load_settings

PARENT = """
import sys, time
from pathlib import Path
from api.redis.embedded import EmbeddedServer
EmbeddedServer(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""


@contextmanager
def embedded(folder):
    server = EmbeddedServer(folder)
    server.start()
    try:
        until(lambda: answers(server.socket))
        yield server
    finally:
        server.stop()


def client_of(server):
    return redis.Redis(unix_socket_path=str(server.socket), protocol=2)


def pid_of(server):
    return client_of(server).info("server")["process_id"]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_its_data_outlives_it_and_is_for_its_user_alone(tmp_path):
    with embedded(tmp_path / "redis") as server:
        client_of(server).set("name", "value")
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        pid = pid_of(server)
    assert not alive(pid)
    with embedded(tmp_path / "redis") as server:
        assert client_of(server).get("name") == b"value"
        for path in server.folder.rglob("*"):
            assert not path.stat().st_mode & 0o077, path


def test_it_is_started_again_when_killed_and_has_its_data(tmp_path):
    with embedded(tmp_path / "redis") as server:
        client_of(server).set("name", "value")
        first = pid_of(server)
        os.kill(first, signal.SIGKILL)
        until(lambda: not alive(first) and answers(server.socket))
        assert client_of(server).get("name") == b"value"
        assert pid_of(server) != first


def test_two_services_with_one_folder_share_a_server_and_the_second_takes_over(tmp_path):
    with embedded(tmp_path / "redis") as first:
        pid = pid_of(first)
        with embedded(tmp_path / "redis") as second:
            assert second.url == first.url
            assert pid_of(second) == pid
            client_of(first).set("name", "value")
            first.stop()
            until(lambda: not alive(pid) and answers(second.socket))
            assert client_of(second).get("name") == b"value"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_parent_leaves_no_orphan_and_no_lock(tmp_path):
    folder = tmp_path / "redis"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert "started\n" in iter(parent.stdout.readline, "")  # its log may come first
        server = EmbeddedServer(folder)
        until(lambda: answers(server.socket))
        pid = pid_of(server)
        client_of(server).set("name", "value")
        parent.kill()
    until(lambda: not alive(pid))
    with embedded(folder) as server:
        assert client_of(server).get("name") == b"value"


def test_a_stale_socket_is_no_obstacle(tmp_path):
    with embedded(tmp_path / "redis") as server:
        os.kill(pid_of(server), signal.SIGKILL)
        server.stop()
    server.socket.touch()
    with embedded(tmp_path / "redis") as server:
        assert client_of(server).ping()


def test_a_long_path_gets_a_short_socket(tmp_path):
    folder = tmp_path / ("long" * 30) / "redis"
    with embedded(folder) as server:
        assert len(os.fsencode(server.socket)) <= MAX_SOCKET_BYTES
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert client_of(server).set("name", "value")
        short = server.socket.parent
    assert list(folder.glob("appendonlydir/*"))
    short.joinpath("redis.sock").unlink(missing_ok=True)
    short.rmdir()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotRun, match="cannot be kept"):
        EmbeddedServer(tmp_path / "file" / "redis").start()


def test_a_folder_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "mine")
    with pytest.raises(CannotRun, match="own folder"):
        EmbeddedServer(tmp_path / "redis").start()


def test_a_named_redis_is_used_as_it_is(tmp_path):
    settings = load_settings(redis_url="redis://elsewhere", data_dir=tmp_path / "data")
    with shared_redis(settings) as shared:
        assert shared is settings
    assert not (tmp_path / "data").exists()


def test_without_a_name_the_settings_get_one_and_without_a_place_none(tmp_path):
    settings = load_settings(data_dir=tmp_path / "data")
    with shared_redis(settings) as shared:
        assert shared.redis_url.get_secret_value() == f"unix://{tmp_path}/data/redis/redis.sock"
        assert (tmp_path / "data" / "redis").is_dir()
    (tmp_path / "file").touch()
    settings = load_settings(data_dir=tmp_path / "file")
    with shared_redis(settings) as shared:
        assert shared.redis_url is None
